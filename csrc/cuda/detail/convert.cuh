// Feature types as float32, exactly; sums, extremes and exact comparisons over a warp.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "spire_dsu/exact.h"

namespace spire_dsu::cuda {

constexpr unsigned kAllLanes = 0xFFFFFFFFU;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ inline T warp_sum(T value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int step = 16; step > 0; step /= 2)
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

__device__ inline float warp_min(float value) {
  for (int step = 16; step > 0; step /= 2)
    value = fminf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

/// The least index wins, whatever the order of the threads.
__device__ inline void report(std::int64_t* least, std::int64_t index) {
  atomicMin(reinterpret_cast<long long*>(least), static_cast<long long>(index));
}

/// |x - c|^2 in float64, within the slack of exact.h.
template <class T>
__device__ inline double warp_distance(const T* x, const float* c, int dims, int lane) {
  double sum = 0.0;
#pragma unroll 8
  for (int d = lane; d < dims; d += 32) {
    const double difference = static_cast<double>(to_float(x[d])) - static_cast<double>(c[d]);
    sum = fma(difference, difference, sum);
  }
  return warp_sum(sum);
}

/// Sign of |x - a|^2 - |x - b|^2, without rounding.
template <class T>
__device__ inline int warp_compare(const T* x, const float* a, const float* b, int dims, int lane) {
  ExactSum sum;
  for (int d = lane; d < dims; d += 32) sum.add_difference(to_float(x[d]), a[d], b[d]);
  for (int i = 0; i < ExactSum::kLimbs; ++i)
    sum.limb(i) = warp_sum(static_cast<long long>(sum.limb(i)));
  return sum.sign();
}

}  // namespace spire_dsu::cuda
