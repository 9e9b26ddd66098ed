// What a tensor core adds: exactly, or with the worst error that the kernels allow for.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <bit>
#include <cmath>

namespace simt {

/// sum + a . b over `count` products. At worst, all terms are cut off 23 bits below the leading bit
/// of the largest, towards zero, and the result to 24 bits.
inline float add_products(float sum, const float* a, const float* b, int count) {
  if (!machine().truncate) {
    double exact = static_cast<double>(sum);
    for (int i = 0; i < count; ++i) exact += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return static_cast<float>(exact);
  }
  float largest = std::fabs(sum);
  for (int i = 0; i < count; ++i) {
    const float size = std::fabs(a[i] * b[i]);
    if (!(size <= largest)) largest = size;
  }
  if (!(largest < INFINITY)) return NAN;
  if (largest == 0.0F) return 0.0F;
  int exponent = std::ilogb(largest) + 1;
  const double step = std::bit_cast<double>(static_cast<std::uint64_t>(1023 + 24 - exponent) << 52);
  std::int64_t total =
      static_cast<std::int64_t>(static_cast<double>(sum) * step);  // 23 bits are kept
  for (int i = 0; i < count; ++i)
    total += static_cast<std::int64_t>(static_cast<double>(a[i] * b[i]) * step);
  while (std::llabs(total) >= std::int64_t{1}
                                  << 24) {  // 24 bits are left, the lower ones are cut off
    total = total / 2;
    ++exponent;
  }
  return static_cast<float>(
      static_cast<double>(total) *
      std::bit_cast<double>(static_cast<std::uint64_t>(1023 + exponent - 24) << 52));
}

}  // namespace simt
