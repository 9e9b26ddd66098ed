#include <array>
#include <limits>

#include "check.h"
#include "spire_dsu/exact.h"

using spire_dsu::compare_distances;
using spire_dsu::ExactSum;

static constexpr float kMax = std::numeric_limits<float>::max();
static constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

static int sign_of_sum(const std::vector<std::array<float, 2>>& products) {
  ExactSum sum;
  for (const auto& [a, b] : products) sum.add_product(a, b, 1, 0);
  return sum.sign();
}

TEST(exact_sum_of_nothing_is_zero) {
  CHECK_EQ(sign_of_sum({}), 0);
  CHECK_EQ(sign_of_sum({{0.0F, 5.0F}, {-0.0F, 3.0F}}), 0);
}

TEST(exact_sum_keeps_the_smallest_product_beside_the_largest) {
  CHECK_EQ(sign_of_sum({{kMax, kMax}, {kDenormal, kDenormal}, {-kMax, kMax}}), 1);
  CHECK_EQ(sign_of_sum({{kMax, kMax}, {kDenormal, -kDenormal}, {-kMax, kMax}}), -1);
  CHECK_EQ(sign_of_sum({{kMax, kMax}, {-kMax, kMax}}), 0);
  CHECK_EQ(sign_of_sum({{-kMax, kMax}, {-kMax, kMax}, {-kDenormal, kDenormal}}), -1);
}

TEST(exact_sum_carries_over_many_products) {
  ExactSum sum;
  for (int i = 0; i < 40000; ++i) sum.add_product(kMax, kMax, 1, 1);
  for (int i = 0; i < 80000; ++i) sum.add_product(kMax, -kMax, 1, 0);
  CHECK_EQ(sum.sign(), 0);
  sum.add_product(kDenormal, kDenormal, -1, 0);
  CHECK_EQ(sum.sign(), -1);
}

TEST(exact_sum_agrees_with_integers) {
  std::mt19937 generator(7);
  std::uniform_int_distribution<int> draw(-1000, 1000);
  for (int round = 0; round < 2000; ++round) {
    ExactSum sum;
    std::int64_t truth = 0;
    for (int i = 0; i < 4; ++i) {
      const int a = draw(generator), b = draw(generator), sign = draw(generator) < 0 ? -1 : 1,
                power = i % 2;
      sum.add_product(static_cast<float>(a), static_cast<float>(b), sign, power);
      truth += static_cast<std::int64_t>(sign) * a * b * (1 << power);
    }
    CHECK_EQ(sum.sign(), truth > 0 ? 1 : (truth < 0 ? -1 : 0));
  }
}

TEST(compare_distances_literally) {
  const float x[] = {0.0F, 0.0F}, a[] = {1.0F, 0.0F}, b[] = {0.0F, 1.0F}, c[] = {1.0F, kDenormal};
  CHECK_EQ(compare_distances(x, a, b, 2), 0);
  CHECK_EQ(compare_distances(x, a, c, 2), -1);
  CHECK_EQ(compare_distances(x, c, a, 2), 1);
  const float far[] = {kMax, -kMax}, near_a[] = {kMax, 1.0F}, near_b[] = {kMax, 2.0F};
  CHECK_EQ(compare_distances(far, near_a, near_b, 2), -1);
  CHECK_EQ(compare_distances(far, far, near_b, 2), -1);
  CHECK_EQ(compare_distances(far, far, far, 2), 0);
}
