// A row of features as float32, exactly. Included by the files of every instruction set, so all of
// it is inlined.
#pragma once

#include <cstdint>
#include <cstring>

#include "spire_dsu/assign.h"

namespace spire_dsu::cpu {

static inline float float_from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float from_bfloat16(std::uint16_t half) {
  return float_from_bits(static_cast<std::uint32_t>(half) << 16U);
}

/// The exponent is re-biased by a multiplication, which also gets denormal numbers right; infinity
/// and NaN are put back.
static inline float from_float16(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7FFFU, sign = static_cast<std::uint32_t>(half & 0x8000U)
                                                         << 16U;
  const float scaled = float_from_bits(magnitude << 13U) * 0x1p112F;
  std::uint32_t bits;
  std::memcpy(&bits, &scaled, sizeof bits);
  bits |= magnitude >= 0x7C00U ? 0x7F800000U : 0U;
  return float_from_bits(bits | sign);
}

static inline bool all_finite(const float* x, std::int64_t dims) {
  std::uint32_t overflow =
      0;  // the highest bit: some exponent is all ones, and one more carries out of it
  for (std::int64_t d = 0; d < dims; ++d) {
    std::uint32_t bits;
    std::memcpy(&bits, &x[d], sizeof bits);
    overflow |= (bits & 0x7F800000U) + 0x00800000U;
  }
  return (overflow >> 31U) == 0;
}

/// Row i as float32 [dims]: where it lies, or converted into `buffer`.
static inline const float* load_row(const Features& f, std::int64_t i, float* buffer) {
  if (f.dtype == DType::float32) return static_cast<const float*>(f.data) + i * f.stride;
  const std::uint16_t* row = static_cast<const std::uint16_t*>(f.data) + i * f.stride;
  if (f.dtype == DType::float16) {
    for (std::int64_t d = 0; d < f.dims; ++d) buffer[d] = from_float16(row[d]);
  } else {
    for (std::int64_t d = 0; d < f.dims; ++d) buffer[d] = from_bfloat16(row[d]);
  }
  return buffer;
}

}  // namespace spire_dsu::cpu
