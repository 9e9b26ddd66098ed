#include "check.h"
#include "spire_dsu/quantize.h"
#include "spire_dsu/run_length.h"

using namespace spire_dsu;

TEST(quantize_is_assign_then_run_length) {
  constexpr std::int64_t kFrames = 500, kDims = 5, kCentroids = 3;
  const std::vector<float> x = test::normal(kFrames * kDims, 1),
                           c = test::normal(kCentroids * kDims, 2);
  const Features features{x.data(), DType::float32, kFrames, kDims, kDims};
  const cpu::Codebook codebook({c.data(), kCentroids, kDims}, 2);
  const cpu::AssignOptions options{
      .threads = 2, .isa = cpu::available_isas().back(), .stats = nullptr};
  const std::vector<std::int64_t> splits = {0, 100, 100, 499, kFrames};
  const RowSplits rows{splits.data(), 4};

  std::vector<std::int32_t> ids(kFrames), units(kFrames), durations(kFrames), units_two(kFrames),
      durations_two(kFrames);
  std::vector<std::int64_t> out(5), out_two(5);
  CHECK(cpu::assign(features, codebook, ids.data(), options).ok());
  CHECK(cpu::run_length(ids.data(), rows, units.data(), durations.data(), out.data()).ok());
  CHECK(cpu::quantize(features, rows, codebook, units_two.data(), durations_two.data(),
                      out_two.data(), options)
            .ok());
  CHECK(out == out_two);
  CHECK(out.back() > 4 && out.back() < kFrames);
  for (std::size_t u = 0; u < static_cast<std::size_t>(out.back()); ++u) {
    CHECK_EQ(units[u], units_two[u]);
    CHECK_EQ(durations[u], durations_two[u]);
  }
}
