// Last pass over the rows, in three steps of a block: a thread per row takes a single candidate as
// the label; a warp per row compares several in float64, and without rounding where float64 cannot
// tell; the block together compares rows without a bound, or with too many candidates, with all
// centroids. Ties go to the lowest index.
#pragma once

#include "convert.cuh"
#include "screen.h"
#include "spire_dsu/cuda.h"

namespace spire_dsu::cuda {

constexpr int kSettleWarps = 8;
constexpr int kSettleThreads = 32 * kSettleWarps;

/// Labels of rows that have none yet.
constexpr int kBad = -1;   // the row holds NaN or infinity
constexpr int kOpen = -2;  // its candidates must be compared
constexpr int kLost = -3;  // its candidates do not hold the nearest for sure

template <class T>
struct SettleJob {
  const T* rows;  // the originals
  std::int64_t row_stride;
  std::int64_t num_rows;
  int dims;
  const float* centroids;  // the originals, [num_centroids, dims]
  int num_centroids;
  const RowBound* bounds;
  int splits;
  const RowHead* heads;
  const Candidate* candidates;
  std::int32_t* ids;
  Counts* counts;  // or null
};

/// The nearest of the centroids offered so far, in any order. All lanes of a warp do the same.
template <class T>
class Nearest {
 public:
  __device__ Nearest(const SettleJob<T>& job, const T* x, int lane)
      : job_(job), x_(x), lane_(lane) {}

  __device__ void offer(int k) {
    if (label_ < 0) {
      label_ = k;  // not measured until there is another
      return;
    }
    if (measured_ == 0) measure(label_, best_);
    double distance;
    measure(k, distance);
    const double slack = distance_slack(job_.dims);
    if (distance > best_ * (1.0 + slack)) return;
    if (distance >= best_ * (1.0 - slack)) {
      const int sign = warp_compare(x_, centroid(k), centroid(label_), job_.dims, lane_);
      if (sign > 0 || (sign == 0 && k > label_)) return;
    }
    best_ = distance;
    label_ = k;
  }

  __device__ int label() const { return label_; }
  __device__ int measured() const { return measured_; }

 private:
  __device__ const float* centroid(int k) const {
    return job_.centroids + static_cast<std::int64_t>(k) * job_.dims;
  }
  __device__ void measure(int k, double& distance) {
    distance = warp_distance(x_, centroid(k), job_.dims, lane_);
    ++measured_;
  }

  const SettleJob<T>& job_;
  const T* x_;
  int lane_;
  int label_ = -1, measured_ = 0;
  double best_ = 0.0;
};

/// What a candidate of this row may score at most; infinite or NaN if there is no bound.
__device__ inline float row_limit(const RowHead* heads, int splits, float slack) {
  float best = INFINITY;
  for (int split = 0; split < splits; ++split) best = fminf(best, heads[split].best);
  return best + slack;
}

/// One thread: the label, where one candidate is left.
template <class T>
__device__ inline int decide_row(const SettleJob<T>& job, std::int64_t row) {
  const float slack = job.bounds[row].slack;
  if (slack < 0.0F) return kBad;
  const RowHead* heads = job.heads + row * job.splits;
  const float limit = row_limit(heads, job.splits, slack);
  if (!(limit < INFINITY)) return kLost;
  int label = kLost;
  for (int split = 0; split < job.splits; ++split) {
    if (heads[split].best > limit) continue;
    if (heads[split].count > kRecord) return kLost;
    const Candidate* candidates = job.candidates + (row * job.splits + split) * kRecord;
    for (int i = 0; i < heads[split].count; ++i) {
      if (candidates[i].score > limit) continue;
      if (label >= 0) return kOpen;
      label = static_cast<int>(candidates[i].centroid);
    }
  }
  return label;
}

/// One warp: the label by comparing the candidates.
template <class T>
__device__ inline int settle_row(const SettleJob<T>& job, std::int64_t row, int lane) {
  const RowHead* heads = job.heads + row * job.splits;
  const float limit = row_limit(heads, job.splits, job.bounds[row].slack);
  Nearest<T> nearest(job, job.rows + row * job.row_stride, lane);
  for (int split = 0; split < job.splits; ++split) {
    if (heads[split].best > limit) continue;
    const Candidate* candidates = job.candidates + (row * job.splits + split) * kRecord;
    for (int i = 0; i < heads[split].count; ++i)
      if (candidates[i].score <= limit) nearest.offer(static_cast<int>(candidates[i].centroid));
  }
  if (lane == 0 && job.counts != nullptr) {
    atomicAdd(&job.counts->rescored, 1ULL);
    atomicAdd(&job.counts->candidates, static_cast<unsigned long long>(nearest.measured()));
  }
  return nearest.label();
}

/// The whole block: the label by comparing all centroids.
template <class T>
__device__ inline int scan_row(const SettleJob<T>& job, std::int64_t row, int warp, int lane) {
  __shared__ int winners[kSettleWarps];
  const T* x = job.rows + row * job.row_stride;
  Nearest<T> nearest(job, x, lane);
  for (int k = warp; k < job.num_centroids; k += kSettleWarps) nearest.offer(k);
  if (lane == 0) winners[warp] = nearest.label();
  __syncthreads();
  Nearest<T> last(job, x, lane);
  for (int w = 0; w < kSettleWarps && warp == 0; ++w)
    if (winners[w] >= 0) last.offer(winners[w]);
  if (threadIdx.x == 0 && job.counts != nullptr) atomicAdd(&job.counts->scanned, 1ULL);
  __syncthreads();  // winners may be overwritten
  return last.label();
}

/// The grid has a block for every `rows_per_block` <= kSettleThreads rows.
template <class T>
__global__ void __launch_bounds__(kSettleThreads)
    settle_rows(const SettleJob<T> job, const int rows_per_block) {
  __shared__ int open[kSettleThreads], lost[kSettleThreads];  // rows, from the first of the block
  __shared__ int num_open, num_lost;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const std::int64_t first = std::int64_t{blockIdx.x} * rows_per_block;
  if (thread == 0) num_open = num_lost = 0;
  __syncthreads();
  if (thread < rows_per_block && first + thread < job.num_rows) {
    const int label = decide_row(job, first + thread);
    job.ids[first + thread] = label;
    if (label == kOpen) open[atomicAdd(&num_open, 1)] = thread;
    if (label == kLost) lost[atomicAdd(&num_lost, 1)] = thread;
  }
  __syncthreads();
  for (int i = warp; i < num_open; i += kSettleWarps) {
    const int label = settle_row(job, first + open[i], lane);
    if (lane == 0) job.ids[first + open[i]] = label;
  }
  for (int i = 0; i < num_lost; ++i) {
    const int label = scan_row(job, first + lost[i], warp, lane);
    if (thread == 0) job.ids[first + lost[i]] = label;
  }
}

}  // namespace spire_dsu::cuda
