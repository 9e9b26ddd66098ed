// The screen for compute capability 9.0. A persistent block of three warpgroups: one thread of the
// last keeps the copy engine ahead by kStages stages, the first two multiply 64 rows each by 256
// centroids.
//
// A stage holds 64 dimensions of the block's 128 rows and of one tile of centroids. Two barriers
// pass it to and fro:
//   full   one arrival, by the producer, which also announces kStageBytes; the copies bring the
//   bytes. empty  one arrival by each of the 8 consumer warps, of every block that reads the stage.
// A warp arrives at `empty` only once its products have read the stage (wait_products), the
// producer refills it only then. Uses of a stage are counted through all tiles and items on both
// sides alike, so the n-th use waits for phase n of `full`, and its refill for phase n - 1 of
// `empty`.
//
// In a cluster of two, each block fetches half of a tile of centroids into both, so that both read
// all of it while the L2 cache sends it once. The copies of the peer may land before this block's
// producer has announced them: the barrier counts bytes in either order, and cannot complete before
// the announcement. They never land in a stage still read, since the peer's `empty` waits for the
// warps of both blocks. No block leaves before both are done.
#include "detail/plan.h"
#include "detail/row_bests.cuh"
#include "detail/screen.h"
#include "detail/swizzle.h"
#include "detail/tensor_map.h"

#include <ptx/barrier.cuh>
#include <ptx/tma.cuh>
#include <ptx/wgmma.cuh>

namespace spire_dsu::cuda {

namespace {

constexpr int kStages = 4;
constexpr int kConsumers = 2;  // warpgroups
constexpr int kConsumerThreads = 128 * kConsumers;
constexpr int kThreads = kConsumerThreads + 128;
constexpr int kRowsBytes = kTileRows * kDimsUnit * 2;
constexpr int kCentroidsBytes = kHopperTile * kDimsUnit * 2;
constexpr int kStageBytes = kRowsBytes + kCentroidsBytes;

using Bests = RowBests<1, 32, kConsumerThreads>;

struct Shared {
  unsigned char rows[kStages][kRowsBytes];
  unsigned char centroids[kStages][kCentroidsBytes];
  Bests::Lists candidates;
  ptx::Barrier full[kStages], empty[kStages];
};
static_assert(sizeof(Shared) <= 227 * 1024, "a block can have no more");

/// The stage in use and the parity of its phase.
struct Turn {
  int stage = 0;
  std::uint32_t parity = 0;

  __device__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

struct Items {
  std::int64_t first, step, count;
  int tiles;

  /// Those of this cluster.
  __device__ Items(const ScreenJob& job, int cluster)
      : first(blockIdx.x / cluster),
        step(gridDim.x / cluster),
        count(divide_up<std::int64_t>(job.num_rows, kTileRows * cluster) * job.splits),
        tiles(divide_up(job.num_centroids, kHopperTile)) {}
};

template <int kCluster>
__device__ void produce(const CUtensorMap* rows, const CUtensorMap* centroids, const ScreenJob& job,
                        Shared& shared, int rank) {
  Turn turn;
  const Items items(job, kCluster);
  ptx::prefetch_map(rows);
  ptx::prefetch_map(centroids);
  for (std::int64_t i = items.first; i < items.count; i += items.step) {
    const WorkItem item = work_item(i, job.splits, items.tiles);
    const int row = static_cast<int>(item.row_tile * kCluster + rank) * kTileRows;
    for (int tile = item.begin; tile < item.end; ++tile) {
      for (int dim = 0; dim < job.padded_dims; dim += kDimsUnit, turn.next()) {
        ptx::Barrier* full = &shared.full[turn.stage];
        unsigned char* to = shared.centroids[turn.stage];
        ptx::wait_barrier(&shared.empty[turn.stage], turn.parity ^ 1);
        ptx::arrive_and_expect(full, kStageBytes);
        ptx::load_box(rows, full, shared.rows[turn.stage], dim, row);
        const int centroid = tile * kHopperTile;
        if constexpr (kCluster == 1) {
          ptx::load_box(centroids, full, to, dim, centroid);
          ptx::load_box(centroids, full, to + kCentroidsBytes / 2, dim, centroid + kHopperTile / 2);
        } else {
          ptx::load_box_to(centroids, full, to + rank * (kCentroidsBytes / 2), dim,
                           centroid + rank * (kHopperTile / 2), 0b11);
        }
      }
    }
  }
}

/// One arrival per warp at the `empty` of each block that fills this stage.
template <int kCluster>
__device__ void release(Shared& shared, int stage, int lane) {
  if (lane < kCluster) ptx::arrive_at(&shared.empty[stage], static_cast<std::uint32_t>(lane));
}

/// All dimensions of one tile: sums[j][i] of 64 rows by 256 centroids.
template <int kCluster>
__device__ void multiply_tile(ptx::Accumulators& sums, Shared& shared, Turn& turn, int padded_dims,
                              int group, int lane) {
  int last = 0;
  __syncwarp();  // the search for candidates may have parted the lanes
  for (int dim = 0; dim < padded_dims; dim += kDimsUnit, turn.next()) {
    ptx::wait_barrier(&shared.full[turn.stage], turn.parity);
    const std::uint64_t rows = tile_descriptor(
        ptx::shared_address(shared.rows[turn.stage] + group * (kRowsBytes / kConsumers)));
    const std::uint64_t centroids =
        tile_descriptor(ptx::shared_address(shared.centroids[turn.stage]));
    ptx::begin_products(sums);
#pragma unroll
    for (int step = 0; step < kDimsUnit / 16; ++step)
      ptx::multiply(sums, rows + step * kDescriptorStep, centroids + step * kDescriptorStep,
                    dim > 0 || step > 0);
    ptx::commit_products();
    ptx::wait_products<1>(sums);
    if (dim > 0) release<kCluster>(shared, last, lane);
    last = turn.stage;
  }
  ptx::wait_products<0>(sums);
  release<kCluster>(shared, last, lane);
}

template <int kCluster>
__device__ void consume(const ScreenJob& job, Shared& shared, int rank) {
  const int thread = static_cast<int>(threadIdx.x), group = thread / 128, lane = thread % 32;
  const int place = thread / 32 * 16 + lane / 4, quad = lane % 4;
  Bests bests(shared.candidates, thread);
  Bests::Sums sums;
  Turn turn;
  const Items items(job, kCluster);
  for (std::int64_t i = items.first; i < items.count; i += items.step) {
    const WorkItem item = work_item(i, job.splits, items.tiles);
    const std::int64_t base = (item.row_tile * kCluster + rank) * kTileRows + place;
    bests.begin(job, base);
    for (int tile = item.begin; tile < item.end; ++tile) {
      multiply_tile<kCluster>(sums[0], shared, turn, job.padded_dims, group, lane);
      bests.consider(sums, job.heights, tile * kHopperTile, quad);
    }
    bests.finish(job, base, item.split, quad);
  }
}

template <int kCluster>
__global__ void __launch_bounds__(kThreads, 1)
    screen_kernel(const __grid_constant__ CUtensorMap rows,
                  const __grid_constant__ CUtensorMap centroids,
                  const __grid_constant__ ScreenJob job) {
  Shared& shared = *static_cast<Shared*>(ptx::dynamic_shared());
  const int rank = kCluster == 1 ? 0 : static_cast<int>(ptx::cluster_rank());
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      ptx::init_barrier(&shared.full[stage], 1);
      ptx::init_barrier(&shared.empty[stage], kCluster * kConsumerThreads / 32);
    }
    ptx::fence_barrier_init();
  }
  __syncthreads();
  if constexpr (kCluster > 1) ptx::cluster_sync();
  if (threadIdx.x >= kConsumerThreads) {
    ptx::give_registers<40>();
    if (threadIdx.x == kConsumerThreads) produce<kCluster>(&rows, &centroids, job, shared, rank);
  } else {
    ptx::take_registers<232>();
    consume<kCluster>(job, shared, rank);
  }
  if constexpr (kCluster > 1) ptx::cluster_sync();
}

template <int kCluster>
cudaError_t launch(const ScreenJob& job, int workers, cudaStream_t stream) {
  CUtensorMap rows, centroids;
  cudaError_t error = encode_matrix(&rows, job.rows, job.num_rows, job.dims, job.row_stride);
  if (error != cudaSuccess) return error;
  error = encode_matrix(&centroids, job.centroids, job.padded_centroids, job.padded_dims,
                        job.padded_dims);
  if (error != cudaSuccess) return error;
  error = cudaFuncSetAttribute(reinterpret_cast<const void*>(&screen_kernel<kCluster>),
                               cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared));
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = kCluster;
  cluster.val.clusterDim.y = 1;
  cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(workers / kCluster * kCluster));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = sizeof(Shared);
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, &screen_kernel<kCluster>, rows, centroids, job);
}

}  // namespace

cudaError_t screen_hopper(const ScreenJob& job, int cluster, int workers, cudaStream_t stream) {
  return cluster == 2 ? launch<2>(job, workers, stream) : launch<1>(job, workers, stream);
}

}  // namespace spire_dsu::cuda
