#include "spire_dsu/distances.h"

#include <algorithm>
#include <array>
#include <vector>

#include "detail/aligned.h"
#include "detail/load.h"
#include "detail/parallel.h"

namespace spire_dsu::cpu {
namespace {

constexpr std::int64_t kBlockRows = 64;
constexpr std::int64_t kSums = 8;  // independent, so that the compiler may keep them in one vector

double squared_distance(const float* x, const float* c, std::int64_t dims) {
  std::array<double, kSums> sums{};
  std::int64_t d = 0;
  for (; d + kSums <= dims; d += kSums) {
    for (std::int64_t lane = 0; lane < kSums; ++lane) {
      const double gap = static_cast<double>(x[d + lane]) - static_cast<double>(c[d + lane]);
      sums[static_cast<std::size_t>(lane)] += gap * gap;
    }
  }
  for (; d < dims; ++d) {
    const double gap = static_cast<double>(x[d]) - static_cast<double>(c[d]);
    sums[0] += gap * gap;
  }
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

}  // namespace

Status distances(const Features& f, const std::int32_t* labels, const Centroids& centroids,
                 double* out, int threads) {
  if (f.dims != centroids.dims) return {StatusCode::bad_shape, f.dims};
  for (std::int64_t i = 0; i < f.num_frames; ++i)
    if (labels[i] < 0 || labels[i] >= centroids.count) return {StatusCode::bad_shape, i};
  const int workers = threads > 0 ? threads : default_threads();
  std::vector<AlignedArray<float>> buffers;
  for (int worker = 0; worker < workers; ++worker) buffers.emplace_back(f.dims);
  const std::int64_t blocks = (f.num_frames + kBlockRows - 1) / kBlockRows;
  parallel_for(workers, blocks, [&](int worker, std::int64_t block) {
    const std::int64_t first = block * kBlockRows;
    const std::int64_t last = std::min(first + kBlockRows, f.num_frames);
    float* buffer = buffers[static_cast<std::size_t>(worker)].get();
    for (std::int64_t i = first; i < last; ++i)
      out[i] =
          squared_distance(load_row(f, i, buffer), centroids.data + labels[i] * f.dims, f.dims);
  });
  return {};
}

}  // namespace spire_dsu::cpu
