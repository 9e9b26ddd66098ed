#include <cstdlib>

#include "check.h"

namespace spire_dsu::test {

static int failures = 0;

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

void report(const char* file, int line, const std::string& what) {
  if (++failures <= 20) std::cerr << file << ":" << line << ": " << what << "\n";
}

int multiplier() {
  const char* text = std::getenv("SPIRE_TEST_MULTIPLIER");
  return text == nullptr ? 1 : std::atoi(text);
}

}  // namespace spire_dsu::test

int main() {
  using namespace spire_dsu::test;
  for (const Test& test : tests()) {
    const int before = failures;
    test.run();
    std::cout << (failures == before ? "ok      " : "FAILED  ") << test.name << "\n";
  }
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
