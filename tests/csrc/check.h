// As much of a test framework as these tests need: TEST registers, CHECK reports and goes on.
#pragma once

#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace spire_dsu::test {

struct Test {
  const char* name;
  void (*run)();
};

std::vector<Test>& tests();
void report(const char* file, int line, const std::string& what);

struct Register {
  Register(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

/// SPIRE_TEST_MULTIPLIER: 1 on a developer's machine, more for a long run.
int multiplier();

/// float32 values from a seed that says which test they belong to.
inline std::vector<float> normal(std::size_t size, unsigned seed, float scale = 1.0F,
                                 float offset = 0.0F) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> draw;
  std::vector<float> values(size);
  for (float& value : values) value = offset + scale * draw(generator);
  return values;
}

}  // namespace spire_dsu::test

#define TEST(name)                                                     \
  static void name();                                                  \
  static const spire_dsu::test::Register register_##name{#name, name}; \
  static void name()

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) spire_dsu::test::report(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_EQ(a, b)                                                           \
  do {                                                                           \
    const auto a_ = (a);                                                         \
    const auto b_ = (b);                                                         \
    if (!(a_ == b_))                                                             \
      spire_dsu::test::report(                                                   \
          __FILE__, __LINE__,                                                    \
          #a " is " + std::to_string(a_) + ", " #b " is " + std::to_string(b_)); \
  } while (false)
