#include <cfenv>
#include <cstring>
#include <limits>
#include <thread>

#include "check.h"
#include "spire_dsu/assign.h"
#include "spire_dsu/exact.h"

using namespace spire_dsu;

/// The definition, without any screen: the nearest in exact arithmetic, the lowest on a tie.
static std::vector<std::int32_t> nearest(const std::vector<float>& x, const std::vector<float>& c,
                                         std::int64_t dims) {
  std::vector<std::int32_t> ids;
  const auto count = static_cast<std::int32_t>(static_cast<std::int64_t>(c.size()) / dims);
  for (const float* row = x.data(); row < x.data() + x.size(); row += dims) {
    std::int32_t best = 0;
    for (std::int32_t k = 1; k < count; ++k)
      if (compare_distances(row, c.data() + k * dims, c.data() + best * dims, dims) < 0) best = k;
    ids.push_back(best);
  }
  return ids;
}

static std::vector<std::int32_t> assign(const Features& f, const Centroids& c, cpu::Isa isa,
                                        int threads) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(f.num_frames), -1);
  const cpu::Codebook codebook(c, threads);
  CHECK(cpu::assign(f, codebook, ids.data(), {.threads = threads, .isa = isa, .stats = nullptr})
            .ok());
  return ids;
}

static void check_all(const std::vector<float>& x, const std::vector<float>& c, std::int64_t dims) {
  const std::vector<std::int32_t> truth = nearest(x, c, dims);
  const auto rows = static_cast<std::int64_t>(x.size()) / dims;
  const Features features{x.data(), DType::float32, rows, dims, dims};
  const Centroids centroids{c.data(), static_cast<std::int64_t>(c.size()) / dims, dims};
  for (const cpu::Isa isa : cpu::available_isas())
    for (const int threads : {1, 3}) CHECK(assign(features, centroids, isa, threads) == truth);
}

TEST(assign_at_the_borders_of_tiles) {
  for (const std::size_t rows : {1U, 5U, 6U, 7U, 193U})
    for (const std::size_t count : {1U, 7U, 8U, 9U, 63U, 64U, 65U, 130U})
      for (const std::size_t dims : {1U, 2U, 3U, 5U, 33U})
        check_all(test::normal(rows * dims, 1), test::normal(count * dims, 2),
                  static_cast<std::int64_t>(dims));
}

TEST(assign_where_screens_cannot_decide) {
  constexpr std::size_t kDims = 24;
  const std::vector<float> c = test::normal(250 * kDims, 3), x = test::normal(40 * kDims, 4);
  check_all(x, std::vector<float>(250 * kDims, 0.5F), kDims);  // all centroids the same
  check_all(test::normal(40 * kDims, 4, 1e18F), test::normal(250 * kDims, 3, 1e18F),
            kDims);  // too long
  check_all(test::normal(40 * kDims, 4, 1e-22F), test::normal(250 * kDims, 3, 1e-22F),
            kDims);  // squares vanish
  check_all(test::normal(40 * kDims, 4, 1e-43F), test::normal(250 * kDims, 3, 1e-43F),
            kDims);  // denormal
  check_all(test::normal(40 * kDims, 4, 1.0F, 1e5F), test::normal(250 * kDims, 3, 1.0F, 1e5F),
            kDims);
  std::vector<float> spiked = c;
  spiked[100] = std::numeric_limits<float>::max();
  check_all(x, spiked, kDims);
  check_all(spiked, c, kDims);
}

TEST(assign_ignores_the_float_environment_of_its_caller) {
  const std::vector<float> x = test::normal(50 * 16, 5, 1e-41F),
                           c = test::normal(20 * 16, 6, 1e-41F);
  std::fesetround(FE_UPWARD);
  check_all(x, c, 16);
  CHECK_EQ(std::fegetround(), FE_UPWARD);
  std::fesetround(FE_TONEAREST);
}

TEST(assign_takes_half_precision_and_strides) {
  constexpr std::int64_t kRows = 30, kDims = 10, kStride = 13;
  const std::vector<float> values = test::normal(kRows * kStride, 7),
                           c = test::normal(40 * kDims, 8);
  std::vector<std::uint16_t> bfloats(values.size());
  std::vector<float> exact;
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, &values[i], 4);
    bfloats[i] = static_cast<std::uint16_t>(bits >> 16U);
    bits &= 0xFFFF0000U;
    float kept;
    std::memcpy(&kept, &bits, 4);
    if (static_cast<std::int64_t>(i) % kStride < kDims) exact.push_back(kept);
  }
  const std::vector<std::int32_t> truth = nearest(exact, c, kDims);
  const std::vector<std::int32_t> reversed(truth.rbegin(), truth.rend());
  const Centroids centroids{c.data(), 40, kDims};
  const std::uint16_t* last = bfloats.data() + (kRows - 1) * kStride;
  for (const cpu::Isa isa : cpu::available_isas()) {
    CHECK(assign({bfloats.data(), DType::bfloat16, kRows, kDims, kStride}, centroids, isa, 2) ==
          truth);
    CHECK(assign({last, DType::bfloat16, kRows, kDims, -kStride}, centroids, isa, 2) == reversed);
  }
}

TEST(assign_names_the_first_bad_row) {
  constexpr std::int64_t kRows = 1000, kDims = 8;
  const std::vector<float> c = test::normal(20 * kDims, 9);
  const cpu::Codebook codebook({c.data(), 20, kDims}, 4);
  std::vector<std::int32_t> ids(kRows);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const std::int64_t row : {0, 417, 999}) {
      std::vector<float> x = test::normal(kRows * kDims, 10);
      for (std::int64_t r = row; r < kRows; r += 100)
        x[static_cast<std::size_t>(r * kDims + 3)] = bad;
      for (const cpu::Isa isa : cpu::available_isas()) {
        const Features features{x.data(), DType::float32, kRows, kDims, kDims};
        const Status status = cpu::assign(features, codebook, ids.data(),
                                          {.threads = 4, .isa = isa, .stats = nullptr});
        CHECK(status.code == StatusCode::non_finite_feature);
        CHECK_EQ(status.index, row);
      }
    }
  }
  std::vector<float> bad = c;
  bad[7 * kDims] = -std::numeric_limits<float>::infinity();
  const cpu::Codebook refused({bad.data(), 20, kDims}, 2);
  CHECK(refused.status().code == StatusCode::non_finite_centroid);
  CHECK_EQ(refused.status().index, 7);
}

TEST(assign_from_many_threads_on_one_codebook) {
  constexpr std::int64_t kRows = 60, kDims = 40;
  const std::vector<float> x = test::normal(kRows * kDims, 11), c = test::normal(300 * kDims, 12);
  const std::vector<std::int32_t> truth = nearest(x, c, kDims);
  const cpu::Codebook codebook({c.data(), 300, kDims}, 1);
  const std::vector<cpu::Isa> isas = cpu::available_isas();
  std::vector<std::thread> threads;
  std::vector<std::vector<std::int32_t>> ids(16, std::vector<std::int32_t>(kRows));
  for (std::size_t t = 0; t < ids.size(); ++t) {
    threads.emplace_back([&, t] {
      const cpu::AssignOptions options{
          .threads = 2, .isa = isas[t % isas.size()], .stats = nullptr};
      (void)cpu::assign({x.data(), DType::float32, kRows, kDims, kDims}, codebook, ids[t].data(),
                        options);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<std::int32_t>& each : ids) CHECK(each == truth);
}
