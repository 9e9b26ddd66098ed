// Stands in for CUDA's float16: the bits, and conversions that round once, to the nearest even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

struct __half {
  std::uint16_t bits;
};

inline __half __double2half(double value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::fabs(value);
  if (std::isnan(value)) return {0x7FFF};
  if (size >= 65520.0) return {static_cast<std::uint16_t>(sign | 0x7C00)};
  int exponent = 0;
  std::frexp(size, &exponent);  // size in [2^(exponent - 1), 2^exponent)
  if (exponent < -13) exponent = -13;
  const double steps = std::nearbyint(std::ldexp(size, 11 - exponent));  // of 2^(exponent - 11)
  const int whole = static_cast<int>(steps) + (exponent + 13) * 1024;
  return {static_cast<std::uint16_t>(sign | whole)};
}
inline __half __float2half_rn(float value) { return __double2half(static_cast<double>(value)); }

inline float __half2float(__half half) {
  const int exponent = half.bits >> 10 & 31, fraction = half.bits & 1023;
  const float sign = (half.bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}
