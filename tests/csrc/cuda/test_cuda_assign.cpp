#include <algorithm>
#include <cmath>
#include <limits>

#include "on_device.h"

using namespace spire_dsu;
using test::check_assign;
using test::Frames;
using test::normal;

namespace {

constexpr DType kTypes[] = {DType::float32, DType::float16, DType::bfloat16};

/// Rows around the mean of the centroids, with no centroid of their own: small margins.
void check_shape(std::size_t rows, std::size_t count, std::size_t dims, DType dtype,
                 cuda::AssignOptions options = {}) {
  const unsigned s = test::seed();
  check_assign(
      Frames::of(normal(rows * dims, s, 1.0F, 0.5F), static_cast<std::int64_t>(dims), dtype),
      normal(count * dims, s + 1, 1.0F, 0.5F), options);
}

void check_values(const std::vector<float>& x, const std::vector<float>& c, std::int64_t dims,
                  DType dtype = DType::float32) {
  check_assign(Frames::of(x, dims, dtype), c);
}

}  // namespace

TEST(cuda_assign_at_the_borders_of_tiles) {
  for (const std::size_t rows : {1U, 31U, 127U, 128U, 129U, 257U})
    check_shape(rows, 40, 24, DType::float16);
  for (const std::size_t count : {1U, 2U, 127U, 128U, 129U, 255U, 256U, 257U, 520U})
    check_shape(40, count, 40, DType::float32);
  for (const std::size_t dims : {1U, 3U, 8U, 31U, 63U, 64U, 65U, 100U, 129U, 300U})
    for (const DType dtype : kTypes) check_shape(30, 40, dims, dtype);
  check_shape(0, 5, 8, DType::float32);
}

TEST(cuda_assign_over_the_grid) {
  if (test::small()) return;  // sizes for a device
  for (const std::size_t rows : {1U, 2U, 33U, 500U, 513U, 65'537U})
    for (const std::size_t count : {1U, 32U, 257U, 500U, 5'000U})
      for (const std::size_t dims : {8U, 100U, 768U, 1'024U, 1'280U})
        if (rows * count * dims < 40'000'000'000U)
          check_shape(rows, count, dims, kTypes[(rows + count + dims) % 3]);
  for (const std::size_t rows : {65'535U, 65'536U}) check_shape(rows, 257, 100, DType::bfloat16);
  check_shape((1U << 20U) + 1, 500, 64, DType::float16);
  check_shape((1U << 20U) + 1, 33, 100, DType::float32);
  check_shape(257, 65'535, 64, DType::bfloat16);
  check_shape(129, 33, 8'192, DType::float16);
  check_shape(129, 300, 8'191, DType::float32);
}

TEST(cuda_assign_splits_the_centroids_of_few_rows) {
  check_shape(5, 1500, 64, DType::float16);  // more ranges than one
  check_shape(600, 1100, 32, DType::float32);
}

TEST(cuda_assign_works_through_chunks) {
  cuda::AssignOptions options;
  options.workspace = 1;  // one wave at a time
  check_shape(test::small() ? 1000 : 100'000, 60, 16, DType::float32, options);
  check_shape(test::small() ? 1700 : 100'000, 60, 16, DType::float16, options);
}

TEST(cuda_assign_takes_strides_and_any_alignment) {
  const std::vector<float> x = normal(150 * 24, test::seed()),
                           c = normal(70 * 24, test::seed() + 1);
  for (const DType dtype : kTypes)
    for (const std::int64_t stride : {24, 25, 40})
      for (const std::int64_t offset : {0, 1})
        check_assign(Frames::of(x, 24, dtype, stride, offset), c);
  Frames repeated = Frames::of(std::vector<float>(x.begin(), x.begin() + 24), 24, DType::float16);
  repeated.features.num_frames = 20;  // a stride of 0: one row many times
  repeated.features.stride = 0;
  for (int i = 1; i < 20; ++i)
    repeated.values.insert(repeated.values.end(), repeated.values.begin(),
                           repeated.values.begin() + 24);
  check_assign(repeated, c);
}

TEST(cuda_assign_where_the_screen_cannot_decide) {
  constexpr std::int64_t kDims = 24;
  const std::vector<float> c = normal(150 * kDims, test::seed()),
                           x = normal(24 * kDims, test::seed() + 1);
  check_values(x, std::vector<float>(60 * kDims, 0.5F), kDims);  // all centroids the same
  check_values(std::vector<float>(24 * kDims, 0.0F), std::vector<float>(kDims, 0.0F), kDims);
  std::vector<float> twins = c;  // every centroid twice: the first of them
  std::copy_n(c.begin(), 75 * kDims, twins.begin() + 75 * kDims);
  check_values(x, twins, kDims);
  check_values(std::vector<float>(twins.begin() + 60 * kDims, twins.begin() + 84 * kDims), twins,
               kDims);
  std::vector<float> steps = c;  // pairs one float32 step apart in one dimension
  for (std::size_t k = 0; k + 1 < 150; k += 2) {
    std::copy_n(steps.begin() + static_cast<std::ptrdiff_t>(k * kDims), kDims,
                steps.begin() + static_cast<std::ptrdiff_t>((k + 1) * kDims));
    float& value = steps[(k + 1) * kDims];
    value = std::nextafter(value, INFINITY);
  }
  check_values(x, steps, kDims);
  std::vector<float> whole_x, whole_c;  // small integers: exact ties between different centroids
  for (const float value : x) whole_x.push_back(std::nearbyint(value));
  for (const float value : c) whole_c.push_back(std::nearbyint(value));
  check_values(whole_x, whole_c, kDims);
  check_values(whole_x, whole_c, kDims, DType::float16);
}

TEST(cuda_assign_over_all_magnitudes) {
  constexpr std::int64_t kDims = 24;
  const unsigned s = test::seed();
  for (const float scale : {1e37F, 1e30F, 1e18F, 1e5F, 1e-5F, 1e-22F, 1e-30F, 1e-41F})
    check_values(normal(40 * kDims, s, scale), normal(150 * kDims, s + 1, scale), kDims);
  for (const float offset : {1e2F, 1e5F})  // a common mean far larger than the spread
    for (const DType dtype : {DType::float32, DType::float16})
      check_values(normal(40 * kDims, s, 1.0F, offset / 10.0F),
                   normal(150 * kDims, s + 1, 1.0F, offset / 10.0F), kDims, dtype);
  check_values(normal(40 * kDims, s, 1e-3F), normal(150 * kDims, s + 1, 1e4F), kDims);
  check_values(normal(40 * kDims, s, 1e4F), normal(150 * kDims, s + 1, 1e-3F), kDims,
               DType::float16);
  std::vector<float> spiked = normal(150 * kDims, s), x = normal(40 * kDims, s + 1);
  check_values(spiked, std::vector<float>(spiked.begin(), spiked.begin() + 60 * kDims), kDims);
  spiked[100] = std::numeric_limits<float>::max();
  x[5] = -std::numeric_limits<float>::max();
  check_values(x, spiked, kDims);
  check_values(std::vector<float>(40 * kDims, 65504.0F), normal(150 * kDims, s, 3e4F), kDims,
               DType::float16);
}

TEST(cuda_assign_names_the_first_bad_row) {
  constexpr std::int64_t kDims = 20;
  const std::vector<float> c = normal(30 * kDims, test::seed());
  std::unique_ptr<cuda::Codebook> codebook;
  CHECK(cuda::Codebook::create({c.data(), 30, kDims}, nullptr, &codebook).ok());
  for (const cuda::Screen screen : test::screens()) {
    for (const DType dtype : kTypes) {
      for (const float bad : {NAN, -INFINITY}) {
        std::vector<float> x = normal(180 * kDims, test::seed() + 1);
        const std::vector<std::int32_t> good = test::device_assign(
            Frames::of(x, kDims, dtype), {c.data(), 30, kDims}, {.screen = screen});
        x[140 * kDims + 19] = x[179 * kDims] = bad;
        const Frames frames = Frames::of(x, kDims, dtype);
        const test::OnDevice<unsigned char> bits(frames.bits);
        const test::OnDevice<std::int32_t> ids(180);
        const test::OnDevice<cuda::Faults> faults(1);
        Features features = frames.features;
        features.data = bits.get();
        CHECK(
            cuda::assign(features, *codebook, ids.get(), faults.get(), {.screen = screen}, nullptr)
                .ok());
        const Status status = cuda::status_of(faults.values()[0]);
        CHECK(status.code == StatusCode::non_finite_feature && status.index == 140);
        std::vector<std::int32_t> expected = good;
        expected[140] = expected[179] = -1;
        CHECK(ids.values() == expected);
      }
    }
  }
}

TEST(cuda_assign_names_a_bad_row_of_a_later_chunk) {
  const std::size_t rows = test::small() ? 900 : 300'000;
  std::vector<float> x = normal(rows * 4, test::seed());
  x[(rows - 50) * 4 + 1] = x[(rows - 10) * 4] = INFINITY;
  const std::vector<float> c = normal(3 * 4, test::seed() + 1);
  std::unique_ptr<cuda::Codebook> codebook;
  CHECK(cuda::Codebook::create({c.data(), 3, 4}, nullptr, &codebook).ok());
  const test::OnDevice<float> on_device(x);
  const test::OnDevice<std::int32_t> ids(rows);
  const test::OnDevice<cuda::Faults> faults(1);
  const Features features{on_device.get(), DType::float32, static_cast<std::int64_t>(rows), 4, 4};
  cuda::AssignOptions options;
  options.workspace = 1;
  CHECK(cuda::assign(features, *codebook, ids.get(), faults.get(), options, nullptr).ok());
  CHECK_EQ(faults.values()[0].feature_row, static_cast<std::int64_t>(rows) - 50);
}

TEST(cuda_codebook_names_the_first_bad_centroid) {
  std::vector<float> c = normal(40 * 7, test::seed());
  c[7 * 9 + 3] = NAN;
  c[7 * 30] = INFINITY;
  std::unique_ptr<cuda::Codebook> codebook;
  const Status status = cuda::Codebook::create({c.data(), 40, 7}, nullptr, &codebook);
  CHECK(status.code == StatusCode::non_finite_centroid && status.index == 9);
  CHECK(codebook == nullptr);
}

TEST(cuda_assign_fast_is_close) {
  const std::size_t dims = 64;
  const std::vector<float> x = normal(500 * dims, test::seed()),
                           c = normal(300 * dims, test::seed() + 1);
  const Frames frames = Frames::of(x, static_cast<std::int64_t>(dims), DType::float32);
  const Centroids view{c.data(), 300, static_cast<std::int64_t>(dims)};
  for (const cuda::Screen screen : test::screens()) {
    const std::vector<std::int32_t> exact = test::device_assign(frames, view, {.screen = screen});
    const std::vector<std::int32_t> fast =
        test::device_assign(frames, view, {.exact = false, .screen = screen});
    int same = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) same += exact[i] == fast[i] ? 1 : 0;
    CHECK(same >= 480);
  }
}

TEST(cuda_assign_refuses_another_width) {
  const std::vector<float> c = normal(8, test::seed());
  std::unique_ptr<cuda::Codebook> codebook;
  CHECK(cuda::Codebook::create({c.data(), 2, 4}, nullptr, &codebook).ok());
  const test::OnDevice<cuda::Faults> faults(1);
  const Features features{nullptr, DType::float32, 3, 5, 5};
  CHECK(cuda::assign(features, *codebook, nullptr, faults.get(), {}, nullptr).code ==
        StatusCode::bad_shape);
}
