// Last pass over the rows: one candidate is the label; several are compared in float64, and without
// rounding where float64 cannot tell; rows without a bound, or with too many candidates, are compared
// with all centroids. Ties go to the lowest index.
#pragma once

#include "convert.cuh"
#include "prepare.cuh"

namespace spire_dsu::cuda {

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
  __device__ Nearest(const SettleJob<T>& job, const T* x, int lane) : job_(job), x_(x), lane_(lane) {}

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

/// One warp: the label by the candidates, or -1 if they do not decide.
template <class T>
__device__ inline int settle_row(const SettleJob<T>& job, std::int64_t row, int lane) {
  const std::int64_t first = row * job.splits;
  float best = INFINITY;
  for (int split = lane; split < job.splits; split += 32)
    best = fminf(best, job.heads[first + split].best);
  best = warp_min(best);
  const float limit = best + job.bounds[row].slack;
  if (!(limit < INFINITY)) return -1;
  Nearest<T> nearest(job, job.rows + row * job.row_stride, lane);
  for (std::int64_t record = first; record < first + job.splits; ++record) {
    const RowHead head = job.heads[record];
    if (head.best > limit) continue;
    if (head.count > kRecord) return -1;
    Candidate candidate = {INFINITY, 0};
    if (lane < head.count) candidate = job.candidates[record * kRecord + lane];
    unsigned left = __ballot_sync(kAllLanes, candidate.score <= limit);
    for (; left != 0; left &= left - 1) {
      const int k = static_cast<int>(__shfl_sync(kAllLanes, candidate.centroid, __ffs(left) - 1));
      nearest.offer(k);
    }
  }
  if (lane == 0 && job.counts != nullptr && nearest.measured() > 0) {
    atomicAdd(&job.counts->rescored, 1ULL);
    atomicAdd(&job.counts->candidates, static_cast<unsigned long long>(nearest.measured()));
  }
  return nearest.label();
}

/// The whole block: the label by all centroids.
template <class T>
__device__ inline void scan_row(const SettleJob<T>& job, std::int64_t row, int warp, int lane) {
  __shared__ int winners[kRowWarps];
  const T* x = job.rows + row * job.row_stride;
  Nearest<T> nearest(job, x, lane);
  for (int k = warp; k < job.num_centroids; k += kRowWarps) nearest.offer(k);
  if (lane == 0) winners[warp] = nearest.label();
  __syncthreads();
  if (warp == 0) {
    Nearest<T> last(job, x, lane);
    for (int w = 0; w < kRowWarps; ++w)
      if (winners[w] >= 0) last.offer(winners[w]);
    if (lane == 0) {
      job.ids[row] = last.label();
      if (job.counts != nullptr) atomicAdd(&job.counts->scanned, 1ULL);
    }
  }
  __syncthreads();
}

template <class T>
__global__ void __launch_bounds__(32 * kRowWarps) settle_rows(const SettleJob<T> job) {
  __shared__ bool open[kRowWarps];
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t first = std::int64_t{blockIdx.x} * kRowWarps, row = first + warp;
  int label = -1;
  bool bad = true;
  if (row < job.num_rows) {
    bad = job.bounds[row].slack < 0.0F;
    if (!bad) label = settle_row(job, row, lane);
    if (lane == 0) job.ids[row] = label;
  }
  if (lane == 0) open[warp] = !bad && label < 0;
  __syncthreads();
  for (int w = 0; w < kRowWarps; ++w)
    if (open[w]) scan_row(job, first + w, warp, lane);
}

}  // namespace spire_dsu::cuda
