// How far the float16 screen may be from the truth. README.md derives it; the tests check it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "spire_dsu/exact.h"

namespace spire_dsu::cuda {

/// What the error of a score depends on besides the row, over all centroids; in device memory. All
/// but the last are maxima of numbers >= 0, so that their bits compare as integers.
struct CodebookBounds {
  float spread;           // largest coordinate of |c - mean|
  float residual;         // largest norm of packed - 2^g (c - mean)
  float norm;             // largest norm of packed
  float height[2];        // largest |height|: [0] for centred rows, [1] for rows as they are
  float height_error[2];  // largest error of a height
  long long non_finite;   // the first centroid that holds NaN or infinity
};

/// Norms of one row as multiplied, x~, against the true 2^e (x - mean).
struct RowNorms {
  float spread;    // |2^e (x - mean)|
  float residual;  // |x~ - 2^e (x - mean)|, or 0 for a row that is not converted
  float length;    // |x~|
};

/// What the screen knows of a row: score = scale * height - product; every centroid that may be the
/// nearest scores at most `slack` above the best.
struct RowBound {
  float scale;
  float slack;  // NaN: no bound, compare with all centroids; negative: the row is not finite
};

constexpr float kBadRow = -1.0F;

/// A tensor core adds 16 products to a sum by cutting all terms off 23 or more bits below the
/// largest, and the result to 24 bits; at worst in two steps of 8 products. Of the largest
/// magnitude, that is 2 (9 + 1) 2^-23.
constexpr float kStepError = 20 * 0x1p-23F;

SPIRE_HOST_DEVICE inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// 2^exponent for -126 <= exponent <= 127.
SPIRE_HOST_DEVICE inline float power_of_two(int exponent) {
  const std::uint32_t bits = static_cast<std::uint32_t>(exponent + 127) << 23U;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// The power that takes `largest` into [2^14, 2^15), well inside float16; 0 for 0.
SPIRE_HOST_DEVICE inline int exponent_to_float16(float largest) {
  if (!(largest > 0.0F)) return 0;
  return 14 - (static_cast<int>(bits_of(largest) >> 23U & 0xFFU) - 127);
}

/// g: packed centroids are 2^g (c - mean).
SPIRE_HOST_DEVICE inline int centroid_exponent(float spread) {
  const int g = exponent_to_float16(spread);
  return g > 100 ? 100 : g;
}

/// e: converted rows are 2^e (x - mean). Rows far smaller than the centroids gain nothing from
/// being scaled up to them.
SPIRE_HOST_DEVICE inline int row_exponent(float largest, int g) {
  const int e = exponent_to_float16(largest);
  return e > g + 10 ? g + 10 : e;
}

/// `raw`: the row is multiplied as it is, not centred. `dims`: after zero-filling.
SPIRE_HOST_DEVICE inline RowBound row_bound(const RowNorms& row, const CodebookBounds& codebook,
                                            float scale, int dims, int raw) {
  const float product = row.length * codebook.norm;
  const float reach = scale * codebook.height[raw] + product;
  const float steps = static_cast<float>(dims / 16);
  const float error = row.spread * codebook.residual + row.residual * codebook.norm +
                      steps * kStepError * product + scale * codebook.height_error[raw] +
                      0x1p-22F * reach + 0x1p-40F;
  // Two scores may be wrong by `error` each; 1.002 covers the rounding of the norms and of this.
  return {scale, reach < 1e37F ? 2.0F * 1.002F * error : NAN};
}

}  // namespace spire_dsu::cuda
