// A screen: the product of rows and centroids in a low precision, with a proven bound around every
// score, so that nearly all centroids of a row are ruled out without ever being wrong.
// csrc/README.md derives the bounds.
//
// With m the common shift, y = x - m and a_k = c_k - m, the score S_k = |a_k|^2 / 2 - y.a_k orders
// the centroids as their distances from x do. A screen computes low_k and high_k with low_k <= S_k
// <= high_k and keeps, as candidates of the row, every k with low_k <= min high; the nearest
// centroid, and all that tie with it, are always among them.
#pragma once

#include <cstdint>

#include "detail/aligned.h"

namespace spire_dsu::cpu {

constexpr int kNumScreens = 5;
constexpr int kTileRows = 6;  // rows that a tile takes at once
constexpr int kMaxWide = 8;   // dims that a coarse screen keeps in float32
constexpr int kMaxExtras = kMaxWide + 2;
constexpr int kMaxCandidates = 192;  // of one row; with more, the row goes to the next screen
constexpr float kMaxNorm = 0x1p60F;  // a shifted vector longer than that is left to float64

/// The shift that rows and centroids have in common, and the dims along which centroids differ
/// most. Any values give right answers; good ones give few candidates.
struct Centring {
  std::int64_t dims = 0;
  const float* mean = nullptr;         // [dims]
  const std::int32_t* wide = nullptr;  // [num_wide]
  int num_wide = 0;
};

/// Centroids as a screen reads them: panels of `columns` centroids.
struct PackedCodebook {
  std::int64_t count = 0, panels = 0, steps = 0;
  int columns = 0, num_extras = 0;
  bool usable = true;                 // no centroid is longer than kMaxNorm
  AlignedArray<std::uint32_t> codes;  // [panels, steps, columns], 4, 2 or 1 values in each
  AlignedArray<float>
      constants;  // [panels, 2 + num_extras, columns]: base, scale, then extras as in RowBlock
};

/// Rows as a screen reads them, and what is left of the centroids for each.
struct RowBlock {
  static constexpr std::int32_t kOverflow = -1;

  /// Room for `rows` rows of `dims` values in any screen.
  RowBlock(std::int64_t rows, std::int64_t dims)
      : codes(rows * dims),
        scale(rows),
        bias(rows),
        extras(rows * kMaxExtras),
        threshold(rows),
        num_candidates(rows),
        low(rows * kMaxCandidates),
        candidates(rows * kMaxCandidates),
        scratch(scratch_size(dims)) {}

  /// Shifted values go through a buffer that is zero from dims on, up to the last code.
  static constexpr std::int64_t scratch_size(std::int64_t dims) { return (dims + 31) / 16 * 16; }

  std::int64_t steps = 0;
  AlignedArray<std::uint32_t> codes;  // [rows, steps]
  AlignedArray<float> scale;          // [rows]
  AlignedArray<std::int32_t> bias;    // [rows], taken from the integer product
  AlignedArray<float> extras;         // [rows, kMaxExtras]: |y - y^|, |y|, then the wide dims
  AlignedArray<float> threshold;      // [rows], the lowest high_k so far
  AlignedArray<std::int32_t> num_candidates;  // [rows], or kOverflow
  AlignedArray<float> low;                    // [rows, kMaxCandidates]
  AlignedArray<std::int32_t> candidates;      // [rows, kMaxCandidates], ascending
  AlignedArray<float> scratch;                // [scratch_size(dims)]
};

struct Screen {
  const char* name;
  int slot;     // its place in a codebook, below kNumScreens
  int columns;  // centroids in a panel
  int values_per_code;
  bool keeps_wide;  // leaves the wide dims out of its product

  /// Fills panel `panel` of `packed` from centroids [count, dims]; false when one is too long.
  /// scratch: scratch_size(dims).
  bool (*pack_panel)(const float* centroids, const Centring& centring, std::int64_t panel,
                     float* scratch, PackedCodebook& packed);
  /// Makes row `row` of the block from x [dims]; false when it is too long, or not finite.
  bool (*encode_row)(const float* x, const Centring& centring, std::int64_t row, RowBlock& block);
  /// Fills the candidates of rows [0, num_rows), all encoded before.
  void (*scan)(const PackedCodebook& packed, std::int64_t num_rows, RowBlock& block);
  /// Sum of (x_d - c_d)^2 in float64, in any order.
  double (*distance)(const float* x, const float* c, std::int64_t dims);
};

extern const Screen kFloat32Portable;
#if defined(SPIRE_X86)
extern const Screen kFloat32Avx2;
extern const Screen kFloat32Avx512;
extern const Screen kBFloat16Avx512;
extern const Screen kInt8Avx512;
#endif

}  // namespace spire_dsu::cpu
