// run_length: a frame is a head if it starts a row or differs from the frame before it. The p-th
// head of all writes unit p, and the duration of unit p - 1, which ends where it stands; so a run
// may cross any number of tiles, and rows never merge.
//
// A block takes a tile of frames. Of the tiles before it, it needs the number of heads and the last
// head; three launches (count, sum up, emit) give them without blocks waiting for each other. An
// input of one tile needs only the last.
#include <climits>

#include "detail/convert.cuh"
#include "detail/device.h"
#include "detail/ops.h"
#include "detail/plan.h"
#include "detail/runs.h"

namespace spire_dsu::cuda {

namespace {

constexpr int kThreads = 1024;

struct RunJob {
  const std::int32_t* ids;
  std::int64_t num_frames;
  RowSplits rows;
  std::int32_t* units;
  std::int32_t* durations;
  std::int64_t* unit_splits;
  Runs* tiles;  // heads of each tile, then of all tiles before it; null for a single tile
  Faults* faults;
};

/// A tile of frames, one bit each.
struct Tile {
  std::uint32_t starts[kTileWords];  // first of a row
  std::uint32_t heads[kTileWords];
  TileRuns before[kTileWords];  // heads of the tile before each word
  TileRuns all;
};

/// Fills all but the row splits; returns the range of their entries that point into the tile.
__device__ void find_heads(const RunJob& job, std::int64_t begin, std::int64_t end, Tile& tile,
                           std::int64_t (&entries)[2]) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  if (thread < kTileWords) tile.starts[thread] = 0;
  entries[0] = lower_bound(job.rows.data, job.rows.num_rows + 1, begin);
  entries[1] = lower_bound(job.rows.data, job.rows.num_rows + 1, end);
  __syncthreads();
  for (std::int64_t r = entries[0] + thread; r < entries[1]; r += kThreads) {
    const std::int64_t place = job.rows.data[r] - begin;
    if (place < 0 || place >= end - begin) continue;  // row splits out of order: reported elsewhere
    atomicOr(&tile.starts[place / 32], 1U << place % 32);
  }
  __syncthreads();
  for (int i = thread; i < kTileFrames; i += kThreads) {
    const std::int64_t t = begin + i;
    const bool head = t < end && (t == 0 || (tile.starts[i / 32] >> lane & 1U) != 0 ||
                                  job.ids[t] != job.ids[t - 1]);
    const unsigned word = __ballot_sync(kAllLanes, head);
    if (lane == 0) tile.heads[i / 32] = word;
  }
  __syncthreads();
  if (thread >= 32) return;
  constexpr int kWords = kTileWords / 32;
  TileRuns own;
  for (int w = lane * kWords; w < (lane + 1) * kWords; ++w)
    own = then(own, runs_of_word(tile.heads[w], w));
  TileRuns sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const TileRuns earlier = {__shfl_up_sync(kAllLanes, sum.heads, step),
                              __shfl_up_sync(kAllLanes, sum.last, step)};
    if (lane >= step) sum = then(earlier, sum);
  }
  if (lane == 31) tile.all = sum;
  TileRuns before = {__shfl_up_sync(kAllLanes, sum.heads, 1),
                     __shfl_up_sync(kAllLanes, sum.last, 1)};
  if (lane == 0) before = TileRuns{};
  for (int w = lane * kWords; w < (lane + 1) * kWords; ++w) {
    tile.before[w] = before;
    before = then(before, runs_of_word(tile.heads[w], w));
  }
}

__device__ std::int64_t tile_end(const RunJob& job, std::int64_t begin) {
  const std::int64_t end = begin + kTileFrames;
  return end < job.num_frames ? end : job.num_frames;
}

__global__ void __launch_bounds__(kThreads) count_heads(const RunJob job) {
  __shared__ Tile tile;
  const std::int64_t begin = std::int64_t{blockIdx.x} * kTileFrames;
  std::int64_t entries[2];
  find_heads(job, begin, tile_end(job, begin), tile, entries);
  __syncthreads();
  if (threadIdx.x == 0) job.tiles[blockIdx.x] = runs_from(tile.all, begin);
}

/// One block: heads of each tile -> heads of all tiles before it. Each thread takes neighbours.
__global__ void __launch_bounds__(kThreads) sum_up(Runs* tiles, std::int64_t count) {
  __shared__ Runs sums[2][kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t share = divide_up<std::int64_t>(count, kThreads);
  const std::int64_t begin = thread * share < count ? thread * share : count;
  const std::int64_t end = begin + share < count ? begin + share : count;
  Runs sum;
  for (std::int64_t i = begin; i < end; ++i) sum = then(sum, tiles[i]);
  int now = 0;
  sums[now][thread] = sum;
  for (int step = 1; step < kThreads; step *= 2, now ^= 1) {
    __syncthreads();
    sums[now ^ 1][thread] =
        thread >= step ? then(sums[now][thread - step], sums[now][thread]) : sums[now][thread];
  }
  __syncthreads();
  Runs before = thread > 0 ? sums[now][thread - 1] : Runs{};
  for (std::int64_t i = begin; i < end; ++i) {
    const Runs own = tiles[i];
    tiles[i] = before;
    before = then(before, own);
  }
}

/// Unit `p` began at `from` and ends at `to`.
__device__ void end_run(const RunJob& job, std::int64_t p, std::int64_t from, std::int64_t to) {
  if (to - from > INT_MAX)
    report(&job.faults->run_row, lower_bound(job.rows.data, job.rows.num_rows + 1, from + 1) - 1);
  job.durations[p] = static_cast<std::int32_t>(to - from);
}

/// Every entry r of the row splits is looked at by one thread of the grid.
__device__ void check_splits(const RunJob& job) {
  const std::int64_t threads = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t r = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; r <= job.rows.num_rows;
       r += threads) {
    const std::int64_t split = job.rows.data[r], before = r > 0 ? job.rows.data[r - 1] : 0;
    if (split < before || split > job.num_frames || (r == 0 && split != 0) ||
        (r == job.rows.num_rows && split != job.num_frames))
      report(&job.faults->split_entry, r);
  }
}

__global__ void __launch_bounds__(kThreads) emit(const RunJob job) {
  __shared__ Tile tile;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t begin = std::int64_t{blockIdx.x} * kTileFrames, end = tile_end(job, begin);
  std::int64_t entries[2];
  check_splits(job);
  find_heads(job, begin, end, tile, entries);
  __syncthreads();
  const Runs before = job.tiles != nullptr ? job.tiles[blockIdx.x] : Runs{};
  for (int i = thread; begin + i < end; i += kThreads) {
    const std::uint32_t word = tile.heads[i / 32];
    if ((word >> i % 32 & 1U) == 0) continue;
    const TileRuns here = runs_before(word, tile.before[i / 32], i);
    const std::int64_t p = before.heads + here.heads;
    const std::int64_t last = here.last >= 0 ? begin + here.last : before.last;
    job.units[p] = job.ids[begin + i];
    if (last >= 0) end_run(job, p - 1, last, begin + i);
  }
  for (std::int64_t r = entries[0] + thread; r < entries[1]; r += kThreads) {
    const std::int64_t place = job.rows.data[r] - begin;
    if (place < 0 || place >= end - begin) continue;
    const int i = static_cast<int>(place);
    job.unit_splits[r] =
        before.heads + runs_before(tile.heads[i / 32], tile.before[i / 32], i).heads;
  }
  if (end < job.num_frames) return;
  const Runs all = then(before, runs_from(tile.all, begin));
  if (thread == 0 && all.heads > 0) end_run(job, all.heads - 1, all.last, end);
  for (std::int64_t r = entries[1] + thread; r <= job.rows.num_rows; r += kThreads)
    job.unit_splits[r] = all.heads;
}

}  // namespace

Status queue_run_length(const std::int32_t* ids, std::int64_t num_frames, RowSplits rows,
                        std::int32_t* units, std::int32_t* durations, std::int64_t* unit_splits,
                        Faults* faults, cudaStream_t stream) {
  const std::int64_t tiles = num_frames > 0 ? divide_up<std::int64_t>(num_frames, kTileFrames) : 1;
  RunJob job = {ids, num_frames, rows, units, durations, unit_splits, nullptr, faults};
  Buffer<Runs> sums;
  if (tiles > 1) {
    SPIRE_TRY(sums.allocate(tiles, stream));
    job.tiles = sums.get();
    SPIRE_TRY(launch(&count_heads, tiles, dim3(kThreads), stream, job));
    SPIRE_TRY(launch(&sum_up, 1, dim3(kThreads), stream, sums.get(), tiles));
  }
  SPIRE_TRY(launch(&emit, tiles, dim3(kThreads), stream, job));
  return {};
}

Status run_length(const std::int32_t* ids, std::int64_t num_frames, RowSplits rows,
                  std::int32_t* units, std::int32_t* durations, std::int64_t* unit_splits,
                  Faults* faults, Stream stream) {
  SPIRE_TRY(clear_faults(faults, stream));
  return queue_run_length(ids, num_frames, rows, units, durations, unit_splits, faults, stream);
}

}  // namespace spire_dsu::cuda
