// The bound of the README against what the kernels compute: no score is further from the truth than
// the slack allows, on rows made to round badly. On a GPU this is the test of what is assumed of
// its tensor cores; the emulator's are as bad as the assumption admits.
#include <cmath>
#include <string>

#include "detail/codebook.h"
#include "detail/plan.h"
#include "detail/prepare.cuh"
#include "on_device.h"

using namespace spire_dsu;
using test::normal;
using test::OnDevice;

namespace {

constexpr int kCentroids = cuda::kRecord;  // so few that all are written

/// Sums that only grow, that cancel, and of terms of all sizes: what truncation hates.
std::vector<float> hard(std::size_t count, std::size_t dims, unsigned seed) {
  std::vector<float> values = normal(count * dims, seed);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t row = i / dims, d = i % dims;
    if (row % 4 == 1) values[i] = std::fabs(values[i]);
    if (row % 4 == 2) values[i] = std::fabs(values[i]) * (d % 2 == 0 ? 1.0F : -1.0F);
    if (row % 4 == 3) values[i] *= std::ldexp(1.0F, static_cast<int>(d % 17) - 8);
  }
  return values;
}

/// Centroids that float16 holds exactly, in pairs about a mean of 0: what remains is the error of
/// sums.
std::vector<float> even_centroids(std::size_t dims) {
  std::vector<float> values = normal(kCentroids * dims, test::seed() + 2, 8.0F);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t k = i / dims;
    values[i] =
        k % 2 == 0 ? __half2float(__float2half_rn(std::fabs(values[i]))) : -values[i - dims];
  }
  return values;
}

/// What a screen makes of all pairs of rows and centroids.
struct Screened {
  std::vector<cuda::RowBound> bounds;
  std::vector<cuda::RowHead> heads;
  std::vector<cuda::Candidate> candidates;
};

template <class T, bool kConvert>
Screened run(cuda::Screen screen, const T* rows, int num_rows, const cuda::Codebook::Data& data) {
  const auto size = static_cast<std::size_t>(num_rows);
  const OnDevice<__half> converted(size * static_cast<std::size_t>(data.padded_dims));
  const OnDevice<cuda::RowBound> bounds(size);
  const OnDevice<cuda::Faults> faults(1);
  const cuda::PrepareJob<T> prepare = {rows,      data.dims,        num_rows,     0,
                                       data.dims, data.padded_dims, data.mean,    data.bounds,
                                       true,      converted.get(),  bounds.get(), faults.get()};
  CUDA_OK(cuda::launch(&cuda::prepare_rows<T, 1, kConvert>,
                       cuda::divide_up(num_rows, cuda::kRowWarps), dim3(32 * cuda::kRowWarps),
                       nullptr, prepare));
  Screened result;
  result.bounds = bounds.values();
  std::vector<cuda::RowBound> open = result.bounds;
  for (cuda::RowBound& bound : open) bound.slack = 1e36F;  // lets every centroid in
  const OnDevice<cuda::RowBound> open_bounds(open);
  const OnDevice<cuda::RowHead> heads(size);
  const OnDevice<cuda::Candidate> candidates(size * cuda::kRecord);
  cuda::ScreenJob job = {};
  if constexpr (kConvert)
    job.rows = converted.get();
  else
    job.rows = rows;
  job.row_stride = job.dims = kConvert ? data.padded_dims : data.dims;
  job.num_rows = num_rows;
  job.padded_dims = data.padded_dims;
  job.centroids = data.packed;
  job.num_centroids = data.count;
  job.padded_centroids = data.padded_count;
  job.heights = data.heights[kConvert ? 0 : 1];
  job.bounds = open_bounds.get();
  job.splits = 1;
  job.heads = heads.get();
  job.candidates = candidates.get();
  CUDA_OK(screen == cuda::Screen::portable
              ? cuda::screen_portable(job, 2, nullptr)
              : cuda::screen_hopper(job, screen == cuda::Screen::hopper_pair ? 2 : 1, 2, nullptr));
  result.heads = heads.values();
  result.candidates = candidates.values();
  return result;
}

/// Largest error of a score as a share of what is allowed.
template <class T, bool kConvert>
double worst_share(cuda::Screen screen, DType dtype, int num_rows, std::size_t dims,
                   const std::vector<float>& c) {
  const test::Frames frames =
      test::Frames::of(hard(static_cast<std::size_t>(num_rows), dims, test::seed() + 1),
                       static_cast<std::int64_t>(dims), dtype);
  std::unique_ptr<cuda::Codebook> codebook;
  CHECK(cuda::Codebook::create({c.data(), kCentroids, static_cast<std::int64_t>(dims)}, nullptr,
                               &codebook)
            .ok());
  const cuda::Codebook::Data& data = codebook->data();
  const OnDevice<unsigned char> bits(frames.bits);
  const Screened screened =
      run<T, kConvert>(screen, reinterpret_cast<const T*>(bits.get()), num_rows, data);
  std::vector<float> mean(dims);
  cuda::CodebookBounds bounds = {};
  CUDA_OK(cudaMemcpyAsync(mean.data(), data.mean, dims * sizeof(float), cudaMemcpyDeviceToHost,
                          nullptr));
  CUDA_OK(cudaMemcpyAsync(&bounds, data.bounds, sizeof bounds, cudaMemcpyDeviceToHost, nullptr));
  CUDA_OK(cudaStreamSynchronize(nullptr));
  const int g = cuda::centroid_exponent(bounds.spread);
  double worst = 0.0;
  for (std::size_t row = 0; row < static_cast<std::size_t>(num_rows); ++row) {
    const double scale = static_cast<double>(screened.bounds[row].scale);
    CHECK_EQ(screened.heads[row].count, kCentroids);
    for (std::size_t i = 0; i < kCentroids; ++i) {
      const cuda::Candidate candidate = screened.candidates[row * cuda::kRecord + i];
      long double height = 0.0L, product = 0.0L;
      for (std::size_t d = 0; d < dims; ++d) {
        const long double v =
            std::ldexp(static_cast<long double>(c[candidate.centroid * dims + d]) - mean[d], g);
        height += v * v;
        product += (static_cast<long double>(frames.values[row * dims + d]) - mean[d]) * v;
      }
      const auto truth = static_cast<double>(scale * (std::ldexp(height, -g - 1) - product));
      const double error = std::fabs(static_cast<double>(candidate.score) - truth);
      worst = std::fmax(worst, error / (0.5 * static_cast<double>(screened.bounds[row].slack)));
    }
  }
  return worst;
}

}  // namespace

TEST(cuda_scores_are_within_the_bound) {
  const int rows = test::small() ? 24 : 8192;
  for (const cuda::Screen screen : test::screens()) {
    double worst = 0.0, sums = 0.0;
    for (const std::size_t dims : {8U, 200U, 1024U}) {
      const std::vector<float> c = hard(kCentroids, dims, test::seed()),
                               even = even_centroids(dims);
      worst = std::fmax(worst, worst_share<float, true>(screen, DType::float32, rows, dims, c));
      worst = std::fmax(worst, worst_share<__half, true>(screen, DType::float16, rows, dims, c));
      worst = std::fmax(worst, worst_share<__half, false>(screen, DType::float16, rows, dims, c));
      worst = std::fmax(worst,
                        worst_share<__nv_bfloat16, true>(screen, DType::bfloat16, rows, dims, c));
      sums = std::fmax(sums, worst_share<__half, false>(screen, DType::float16, rows, dims, even));
    }
    std::cout << "screen " << static_cast<int>(screen) << ": largest error / allowed = " << worst
              << ", of sums alone " << sums << "\n";
    CHECK(worst < 1.0);
    CHECK(sums < 1.0);
    CHECK(worst > 1e-3);  // a bound a thousand times too wide would send everything to be settled
  }
}
