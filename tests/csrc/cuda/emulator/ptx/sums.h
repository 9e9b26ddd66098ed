// What a tensor core adds: exactly, or with the worst error that the kernels allow for.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

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
  for (int i = 0; i < count; ++i) largest = std::fmax(largest, std::fabs(a[i] * b[i]));
  if (!(largest < INFINITY)) return NAN;
  if (largest == 0.0F) return 0.0F;
  int exponent = 0;
  std::frexp(largest, &exponent);
  const double step = std::ldexp(1.0, 24 - exponent);  // 23 bits below the leading one
  std::int64_t total = static_cast<std::int64_t>(static_cast<double>(sum) * step);
  for (int i = 0; i < count; ++i)
    total +=
        static_cast<std::int64_t>(static_cast<double>(a[i]) * static_cast<double>(b[i]) * step);
  while (std::llabs(total) >= std::int64_t{1}
                                  << 24) {  // 24 bits are left, the lower ones are cut off
    total = total / 2;
    ++exponent;
  }
  return static_cast<float>(std::ldexp(static_cast<double>(total), exponent - 24));
}

}  // namespace simt
