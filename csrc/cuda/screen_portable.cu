// The screen for any device from compute capability 8.0: four warps multiply 32 rows each by 128
// centroids, 32 dimensions at a time, while the next kStages - 1 stages are copied.
#include "detail/plan.h"
#include "detail/row_bests.cuh"
#include "detail/screen.h"
#include "detail/swizzle.h"

#include <ptx/mma.cuh>

namespace spire_dsu::cuda {

namespace {

constexpr int kStages = 3;
constexpr int kThreads = 128;
constexpr int kDims = 32;  // of a stage
constexpr int kRowBytes = kDims * 2;
constexpr int kBlocks = kPortableTile / 8;

using Bests = RowBests<2, kBlocks, kThreads>;

struct Shared {
  unsigned char rows[kStages][kTileRows * kRowBytes];
  unsigned char centroids[kStages][kPortableTile * kRowBytes];
  Bests::Lists candidates;
};
static_assert(sizeof(Shared) <= 99 * 1024, "a block can have no more on 8.6 and 8.9");

/// Queues the copies of 32 dimensions of a tile of rows and a tile of centroids; zeros past the
/// ends.
__device__ void fetch(const ScreenJob& job, Shared& shared, int stage, std::int64_t first_row,
                      int first_centroid, int first_dim) {
#pragma unroll 2
  for (int i = 0; i < kTileRows * 4 / kThreads; ++i) {
    const int number = i * kThreads + static_cast<int>(threadIdx.x), row = number / 4,
              chunk = number % 4;
    const int dim = first_dim + chunk * 8;
    const std::uint32_t place = swizzle_64(row, chunk);
    const bool inside = first_row + row < job.num_rows && dim < job.dims;
    const int dims = !inside ? 0 : job.dims - dim < 8 ? job.dims - dim : 8;
    ptx::copy_16_bytes(shared.rows[stage] + place,
                       inside ? job.rows + (first_row + row) * job.row_stride + dim : job.rows,
                       2 * dims);
    ptx::copy_16_bytes(
        shared.centroids[stage] + place,
        job.centroids + static_cast<std::int64_t>(first_centroid + row) * job.padded_dims + dim,
        16);
  }
}

/// Adds the products of one stage.
__device__ void multiply_stage(Bests::Sums& sums, const Shared& shared, int stage, int warp,
                               int lane) {
  const BlockPlace a = place_a(lane), b = place_b(lane);
#pragma unroll
  for (int step = 0; step < kDims / 16; ++step) {
    std::uint32_t rows[2][4];
#pragma unroll
    for (int f = 0; f < 2; ++f)
      ptx::load_matrices(
          rows[f], shared.rows[stage] + swizzle_64(warp * 32 + f * 16 + a.row, step * 2 + a.chunk));
#pragma unroll
    for (int j = 0; j < kBlocks; j += 2) {
      std::uint32_t centroids[4];
      ptx::load_matrices(centroids,
                         shared.centroids[stage] + swizzle_64(j * 8 + b.row, step * 2 + b.chunk));
#pragma unroll
      for (int f = 0; f < 2; ++f) {
        ptx::multiply(sums[f][j], rows[f], centroids[0], centroids[1]);
        ptx::multiply(sums[f][j + 1], rows[f], centroids[2], centroids[3]);
      }
    }
  }
}

__device__ void clear(Bests::Sums& sums) {
#pragma unroll
  for (int f = 0; f < 2; ++f)
#pragma unroll
    for (int j = 0; j < kBlocks; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[f][j][i] = 0.0F;
}

__global__ void __launch_bounds__(kThreads) screen_kernel(const __grid_constant__ ScreenJob job) {
  Shared& shared = *static_cast<Shared*>(ptx::dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int tiles = divide_up(job.num_centroids, kPortableTile), stages = job.padded_dims / kDims;
  const std::int64_t items = divide_up<std::int64_t>(job.num_rows, kTileRows) * job.splits;
  Bests bests(shared.candidates, thread);
  Bests::Sums sums;
  for (std::int64_t i = blockIdx.x; i < items; i += gridDim.x) {
    const WorkItem item = work_item(i, job.splits, tiles);
    const std::int64_t first_row = item.row_tile * kTileRows;
    const std::int64_t base = first_row + warp * 32 + lane / 4;
    const int steps = (item.end - item.begin) * stages;
    const auto fetch_step = [&](int step) {
      if (step < steps)
        fetch(job, shared, step % kStages, first_row, (item.begin + step / stages) * kPortableTile,
              step % stages * kDims);
      ptx::commit_copies();  // also when empty: the waits count groups
    };
    bests.begin(job, base);
    clear(sums);
    for (int step = 0; step < kStages - 1; ++step) fetch_step(step);
    for (int step = 0; step < steps; ++step) {
      ptx::wait_copies<kStages - 2>();
      __syncthreads();  // this stage has come for all; all are done with the one before
      fetch_step(step + kStages - 1);
      multiply_stage(sums, shared, step % kStages, warp, lane);
      if (step % stages == stages - 1) {
        bests.consider(sums, job.heights, (item.begin + step / stages) * kPortableTile, lane % 4);
        clear(sums);
      }
    }
    ptx::wait_copies<0>();
    __syncthreads();
    bests.finish(job, base, item.split, lane % 4);
  }
}

}  // namespace

cudaError_t screen_portable(const ScreenJob& job, int workers, cudaStream_t stream) {
  const cudaError_t error =
      cudaFuncSetAttribute(reinterpret_cast<const void*>(&screen_kernel),
                           cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared));
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(workers));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = sizeof(Shared);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, &screen_kernel, job);
}

}  // namespace spire_dsu::cuda
