// First pass over the rows: are they finite, how far off may their scores be, and, unless the
// screen can read them where they lie, their centred and scaled float16 form.
#pragma once

#include "convert.cuh"
#include "screen.h"
#include "spire_dsu/cuda.h"

namespace spire_dsu::cuda {

constexpr int kRowWarps = 8;  // a warp per row

template <class T>
struct PrepareJob {
  const T* rows;
  std::int64_t row_stride;
  std::int64_t num_rows;
  std::int64_t first_row;  // of the whole input, for the faults
  int dims;
  int padded_dims;
  const float* mean;  // [padded_dims]
  const CodebookBounds* codebook;
  bool exact;
  __half* converted;  // [num_rows, padded_dims]
  RowBound* bounds;
  Faults* faults;
};

/// kVector values at once: one, or 16 bytes, which must then be aligned and divide the row.
template <int kVector, class T>
__device__ inline void load_values(const T* from, float (&values)[kVector]) {
  T loaded[kVector];
  if constexpr (kVector == 1) {
    loaded[0] = *from;
  } else {
    static_assert(kVector * sizeof(T) == sizeof(uint4));
    const uint4 raw = *reinterpret_cast<const uint4*>(from);
    memcpy(loaded, &raw, sizeof raw);
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) values[i] = to_float(loaded[i]);
}

template <int kVector>
__device__ inline void store_values(__half* to, const __half (&values)[kVector]) {
  if constexpr (kVector == 1) {
    *to = values[0];
  } else if constexpr (kVector == 4) {
    uint2 raw;
    memcpy(&raw, values, sizeof raw);
    *reinterpret_cast<uint2*>(to) = raw;
  } else {
    uint4 raw;
    memcpy(&raw, values, sizeof raw);
    *reinterpret_cast<uint4*>(to) = raw;
  }
}

/// Writes 2^e (x - mean) as float16 and returns the norms.
template <class T, int kVector>
__device__ inline RowNorms convert_row(const PrepareJob<T>& job, const T* x, __half* to,
                                       float scale, int lane) {
  float spread = 0.0F, residual = 0.0F, length = 0.0F;
  for (int d = lane * kVector; d < job.padded_dims; d += 32 * kVector) {
    float values[kVector] = {};
    if (d < job.dims) load_values<kVector>(x + d, values);
    __half halves[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float centred = d < job.dims ? (values[i] - job.mean[d + i]) * scale : 0.0F;
      halves[i] = __float2half_rn(centred);
      const float rounded = __half2float(halves[i]);
      spread = fmaf(centred, centred, spread);
      residual = fmaf(rounded - centred, rounded - centred, residual);
      length = fmaf(rounded, rounded, length);
    }
    store_values<kVector>(to + d, halves);
  }
  const float norm = sqrtf(warp_sum(spread));
  // The subtraction of the mean was rounded too.
  return {norm, sqrtf(warp_sum(residual)) + 0x1p-23F * norm, sqrtf(warp_sum(length))};
}

template <class T, int kVector, bool kConvert>
__global__ void __launch_bounds__(32 * kRowWarps) prepare_rows(const PrepareJob<T> job) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowWarps + threadIdx.x / 32;
  if (row >= job.num_rows) return;
  const T* x = job.rows + row * job.row_stride;
  bool finite = true;
  float largest = 0.0F, spread = 0.0F, length = 0.0F;
  for (int d = lane * kVector; d < job.dims; d += 32 * kVector) {
    float values[kVector];
    load_values<kVector>(x + d, values);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float centred = values[i] - job.mean[d + i];
      finite = finite && fabsf(values[i]) < INFINITY;  // false for NaN
      largest = fmaxf(largest, fabsf(centred));
      spread = fmaf(centred, centred, spread);
      length = fmaf(values[i], values[i], length);
    }
  }
  RowNorms norms;
  float scale = 1.0F;
  if constexpr (kConvert) {
    scale = power_of_two(row_exponent(warp_max(largest), centroid_exponent(job.codebook->spread)));
    norms = convert_row<T, kVector>(job, x, job.converted + row * job.padded_dims, scale, lane);
  } else {
    norms = {sqrtf(warp_sum(spread)), 0.0F, sqrtf(warp_sum(length))};
  }
  RowBound bound = row_bound(norms, *job.codebook, scale, job.padded_dims, kConvert ? 0 : 1);
  if (!job.exact && bound.slack > 0.0F) bound.slack = 0.0F;
  if (__any_sync(kAllLanes, !finite)) {
    bound = {1.0F, kBadRow};
    if (lane == 0) report(&job.faults->feature_row, job.first_row + row);
  }
  if (lane == 0) job.bounds[row] = bound;
}

}  // namespace spire_dsu::cuda
