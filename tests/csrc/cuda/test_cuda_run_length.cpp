#include <algorithm>
#include <numeric>

#include "on_device.h"
#include "spire_dsu/quantize.h"
#include "spire_dsu/run_length.h"

using namespace spire_dsu;
using test::OnDevice;

namespace {

struct Units {
  std::vector<std::int32_t> units, durations;
  std::vector<std::int64_t> splits;
  bool operator==(const Units&) const = default;
};

/// What lies behind the last unit is not part of the answer.
Units trimmed(std::vector<std::int32_t> units, std::vector<std::int32_t> durations,
              std::vector<std::int64_t> splits) {
  units.resize(static_cast<std::size_t>(splits.back()));
  durations.resize(units.size());
  return {units, durations, splits};
}

Units on_cpu(const std::vector<std::int32_t>& ids, const std::vector<std::int64_t>& splits) {
  std::vector<std::int32_t> units(ids.size()), durations(ids.size());
  std::vector<std::int64_t> unit_splits(splits.size());
  const RowSplits rows{splits.data(), static_cast<std::int64_t>(splits.size()) - 1};
  CHECK(cpu::run_length(ids.data(), rows, units.data(), durations.data(), unit_splits.data()).ok());
  return trimmed(units, durations, unit_splits);
}

Status run(const std::vector<std::int32_t>& ids, const std::vector<std::int64_t>& splits,
           Units* result) {
  const OnDevice<std::int32_t> from(ids), units(ids.size()), durations(ids.size());
  const OnDevice<std::int64_t> row_splits(splits), unit_splits(splits.size());
  const OnDevice<cuda::Faults> faults(1);
  const RowSplits rows{row_splits.get(), static_cast<std::int64_t>(splits.size()) - 1};
  CHECK(cuda::run_length(from.get(), static_cast<std::int64_t>(ids.size()), rows, units.get(),
                         durations.get(), unit_splits.get(), faults.get(), nullptr)
            .ok());
  const Status status = cuda::status_of(faults.values()[0]);
  if (status.ok()) *result = trimmed(units.values(), durations.values(), unit_splits.values());
  return status;
}

void check(const std::vector<std::int32_t>& ids, const std::vector<std::int64_t>& splits) {
  Units result;
  CHECK(run(ids, splits, &result).ok());
  CHECK(result == on_cpu(ids, splits));
}

std::vector<std::int64_t> random_splits(std::int64_t frames, int rows, std::mt19937& generator) {
  std::vector<std::int64_t> splits(static_cast<std::size_t>(rows) + 1);
  for (std::int64_t& split : splits)
    split = std::uniform_int_distribution<std::int64_t>(0, frames)(generator);
  splits.front() = 0;
  splits.back() = frames;
  std::sort(splits.begin(), splits.end());
  return splits;
}

}  // namespace

TEST(cuda_run_length_at_the_borders_of_tiles) {
  std::mt19937 generator(test::seed());
  for (const std::int64_t frames : {0, 1, 31, 32, 33, 500, 4095, 4096, 4097, 8192, 12289}) {
    for (const int values : {1, 2, 50}) {  // 1: runs across whole tiles
      std::vector<std::int32_t> ids(static_cast<std::size_t>(frames));
      for (std::int32_t& id : ids)
        id = static_cast<std::int32_t>(generator() % static_cast<unsigned>(values));
      check(ids, {0, frames});
      check(ids, random_splits(frames, 7, generator));
      check(ids, {0, 0, 0, frames, frames, frames});  // rows of no frames
    }
  }
}

TEST(cuda_run_length_of_many_frames) {
  std::mt19937 generator(test::seed());
  const std::int64_t frames = test::small() ? 40'000 : 5'000'000;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(frames));
  std::int32_t unit = 0;
  for (std::int32_t& id : ids)
    id = unit = generator() % 3 == 0 ? static_cast<std::int32_t>(generator() % 5000) : unit;
  check(ids, random_splits(frames, test::small() ? 300 : 20'000, generator));
  std::iota(ids.begin(), ids.end(), 0);  // no runs at all
  check(ids, random_splits(frames, 9, generator));
  std::vector<std::int64_t> single(static_cast<std::size_t>(frames) + 1);
  std::iota(single.begin(), single.end(), 0);
  check(std::vector<std::int32_t>(ids.size(), 3), single);  // rows of one frame
}

TEST(cuda_run_length_names_the_first_bad_split) {
  const std::vector<std::int32_t> ids(10'000, 1);
  Units result;
  const auto bad = [&](const std::vector<std::int64_t>& splits) {
    const Status status = run(ids, splits, &result);
    CHECK(status.code == StatusCode::bad_row_splits);
    return status.index;
  };
  CHECK_EQ(bad({1, 10'000}), 0);
  CHECK_EQ(bad({0, 9'999}), 1);
  CHECK_EQ(bad({0, 600, 500, 10'000}), 2);
  CHECK_EQ(bad({0, 20'000, 10'000}), 1);
  CHECK_EQ(bad({0, 5, -3, 10'000}), 2);
}

TEST(cuda_quantize_is_the_one_of_the_cpu) {
  std::mt19937 generator(test::seed());
  const std::size_t dims = 16, count = 5;
  const std::vector<float> c = test::normal(count * dims, test::seed());
  const std::int64_t frames = test::small() ? 5000 : 100'000;
  std::vector<float> x;  // frames near few centroids: runs
  for (std::int64_t i = 0; i < frames; ++i) {
    const std::size_t k =
        generator() % 4 == 0 || i == 0 ? generator() % count : x.size() / dims % count;
    for (std::size_t d = 0; d < dims; ++d) x.push_back(c[k * dims + d] * 0.9F);
  }
  const std::vector<std::int64_t> splits = random_splits(frames, 40, generator);
  const test::Frames host = test::Frames::of(x, dims, DType::float32);
  const Centroids view{c.data(), count, dims};
  const std::vector<std::int32_t> ids = test::device_assign(host, view, {});
  const Units expected = on_cpu(ids, splits);
  std::unique_ptr<cuda::Codebook> codebook;
  CHECK(cuda::Codebook::create(view, nullptr, &codebook).ok());
  const OnDevice<unsigned char> bits(host.bits);
  Features features = host.features;
  features.data = bits.get();
  const OnDevice<std::int32_t> units(ids.size()), durations(ids.size());
  const OnDevice<std::int64_t> row_splits(splits), unit_splits(splits.size());
  const OnDevice<cuda::Faults> faults(1);
  const RowSplits rows{row_splits.get(), static_cast<std::int64_t>(splits.size()) - 1};
  CHECK(cuda::quantize(features, rows, *codebook, units.get(), durations.get(), unit_splits.get(),
                       faults.get(), {}, nullptr)
            .ok());
  CHECK(cuda::status_of(faults.values()[0]).ok());
  CHECK(trimmed(units.values(), durations.values(), unit_splits.values()) == expected);
}

TEST(cuda_streaming_returns_every_block) {
  const std::size_t dims = 8;
  const std::vector<float> c = test::normal(9 * dims, test::seed());
  const Centroids view{c.data(), 9, dims};
  std::unique_ptr<cuda::Codebook> codebook;
  CHECK(cuda::Codebook::create(view, nullptr, &codebook).ok());
  cuda::StreamingQuantizer stream(*codebook);
  std::vector<Units> expected, found;
  std::vector<std::unique_ptr<OnDevice<unsigned char>>> alive;
  const auto take = [&](int age) {
    cuda::StreamingQuantizer::Block block = {};
    CHECK(stream.wait(age, &block).ok());
    const std::int64_t size = block.unit_splits[block.num_rows];
    found.push_back({{block.units, block.units + size},
                     {block.durations, block.durations + size},
                     {block.unit_splits, block.unit_splits + block.num_rows + 1}});
  };
  for (unsigned i = 0; i < 7; ++i) {
    const std::int64_t frames = std::int64_t{1}
                                << (2 * i % 11);  // also shorter than the one before
    const std::vector<float> x =
        test::normal(static_cast<std::size_t>(frames) * dims, test::seed() + i);
    const std::vector<std::int64_t> splits = {0, frames / 3, frames / 3, frames};
    const test::Frames host = test::Frames::of(x, dims, DType::float32);
    expected.push_back(on_cpu(test::device_assign(host, view, {}), splits));
    alive.push_back(std::make_unique<OnDevice<unsigned char>>(host.bits));
    Features features = host.features;
    features.data = alive.back()->get();
    CHECK(stream.push(features, {splits.data(), 3}, {}, nullptr).ok());
    if (i > 0) take(1);  // the former block, while this one is computed
  }
  take(0);
  CHECK(found == expected);
  cuda::StreamingQuantizer::Block block = {};
  CHECK(!stream.wait(2, &block).ok());
}

TEST(cuda_streaming_reports_the_faults_of_its_block) {
  const std::vector<float> c = {0.0F, 1.0F};
  std::unique_ptr<cuda::Codebook> codebook;
  CHECK(cuda::Codebook::create({c.data(), 2, 1}, nullptr, &codebook).ok());
  cuda::StreamingQuantizer stream(*codebook);
  const OnDevice<float> x(std::vector<float>{0.0F, NAN, 1.0F});
  const std::vector<std::int64_t> splits = {0, 3};
  const Features features{x.get(), DType::float32, 3, 1, 1};
  CHECK(stream.push(features, {splits.data(), 1}, {}, nullptr).ok());
  cuda::StreamingQuantizer::Block block = {};
  const Status status = stream.wait(0, &block);
  CHECK(status.code == StatusCode::non_finite_feature && status.index == 1);
}
