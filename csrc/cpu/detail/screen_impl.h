// The body of every screen, instantiated in the file of each instruction set with a Format that
// lives in that file alone: nothing here may have external linkage, or the linker could hand
// AVX-512 code to a machine without it. That also rules out the standard library, whose inline
// functions are shared between files.
//
// A Format gives Lanes, Accumulator, kVectors per tile and row, kValuesPerCode, kMaxSteps,
// kKeepsWide; roundings() of a sum of products, encode(), centroid_code(), broadcast(),
// multiply_add() and to_float(). Float32Format, at the end, is the plainest.
#pragma once

#include <cstdint>

#include "detail/screen.h"
#include "spire_dsu/assign.h"

namespace spire_dsu::cpu {

// The bounds: relative slack of norms and of their products, an absolute one for underflow, and the
// number of roundings between the product and low_k (see csrc/README.md).
constexpr float kSlack = 1.0F + 0x1p-9F;
constexpr float kTinyNorm = 0x1p-60F, kTinyScore = 0x1p-110F;
constexpr float kUnit = 0x1p-24F;
constexpr float kEpilogueRoundings = 32.0F;
constexpr float kHuge = 0x1.FFFFFEp127F;

static inline float square_root(float value) { return __builtin_sqrtf(value); }

/// What encoding made of a vector v: v^ = scale * codes.
struct Encoded {
  float scale = 1.0F;
  float norm = 0.0F;      // |v|, wide dims included
  float residual = 0.0F;  // |v - v^|
  std::int32_t code_sum = 0;
};

/// Value d of a vector of codes.
template <class T>
static inline void store_code(std::uint32_t* codes, std::int64_t d, T value) {
  __builtin_memcpy(reinterpret_cast<char*>(codes) + d * static_cast<std::int64_t>(sizeof value),
                   &value, sizeof value);
}

/// Shifts, sets the wide dims apart, and encodes. scratch: zero from dims on, see RowBlock.
template <class Format>
static inline Encoded encode_vector(const float* x, const Centring& centring, float* scratch,
                                    float* wide, std::int64_t steps, std::uint32_t* codes) {
  const std::int64_t dims = centring.dims;
  const float* mean = centring.mean;
  float norm2 = 0.0F;
#pragma omp simd reduction(+ : norm2)
  for (std::int64_t d = 0; d < dims; ++d) {
    const float v = x[d] - mean[d];
    scratch[d] = v;
    norm2 += v * v;
  }
  for (std::int64_t d = dims; d < RowBlock::scratch_size(dims); ++d) scratch[d] = 0.0F;
  if constexpr (Format::kKeepsWide) {
    for (int w = 0; w < centring.num_wide; ++w) {
      wide[w] = scratch[centring.wide[w]];
      scratch[centring.wide[w]] = 0.0F;
    }
  }
  const float norm = square_root(norm2);
  if (!(norm <= kMaxNorm)) return {.norm = norm};
  Encoded encoded = Format::encode(scratch, steps * Format::kValuesPerCode, codes);
  encoded.norm = norm;
  return encoded;
}

template <class Format>
static bool encode_row(const float* x, const Centring& centring, std::int64_t row,
                       RowBlock& block) {
  float* extras = block.extras.get() + row * kMaxExtras;
  const Encoded e = encode_vector<Format>(x, centring, block.scratch.get(), extras + 2, block.steps,
                                          block.codes.get() + row * block.steps);
  if (!(e.norm <= kMaxNorm)) return false;
  extras[0] = (e.residual + 2.0F * kUnit * e.norm) * kSlack + kTinyNorm;
  extras[1] = (e.residual + e.norm) * kSlack + kTinyNorm;
  block.scale[row] = e.scale;
  block.bias[row] = 128 * e.code_sum;
  block.threshold[row] = kHuge;
  block.num_candidates[row] = 0;
  return true;
}

template <class Format>
static bool pack_panel(const float* centroids, const Centring& centring, std::int64_t panel,
                       float* scratch, PackedCodebook& packed) {
  constexpr int kColumns = Format::kVectors * Format::Lanes::kCount;
  std::uint32_t* codes = packed.codes.get() + panel * packed.steps * kColumns;
  float* constants = packed.constants.get() + panel * (2 + packed.num_extras) * kColumns;
  for (int column = 0; column < kColumns; ++column) {
    const std::int64_t k = panel * kColumns + column;
    float* constant = constants + column;
    if (k >= packed.count) {  // never a candidate: every threshold is finite
      for (std::int64_t s = 0; s < packed.steps; ++s) codes[s * kColumns + column] = 0;
      for (int row = 0; row < 2 + packed.num_extras; ++row) constant[row * kColumns] = 0.0F;
      constant[0] = __builtin_inff();
      continue;
    }
    float wide[kMaxWide] = {};
    std::uint32_t code[Format::kMaxSteps];
    const float* c = centroids + k * centring.dims;
    const Encoded e = encode_vector<Format>(c, centring, scratch, wide, packed.steps, code);
    if (!(e.norm <= kMaxNorm)) return false;
    for (std::int64_t s = 0; s < packed.steps; ++s)
      codes[s * kColumns + column] = Format::centroid_code(code[s]);
    double norm2 = 0.0;
#pragma omp simd reduction(+ : norm2)
    for (std::int64_t d = 0; d < centring.dims; ++d) {
      const double a = static_cast<double>(c[d]) - static_cast<double>(centring.mean[d]);
      norm2 += a * a;
    }
    const float half = static_cast<float>(norm2 / 2);
    const float length = (e.norm + e.residual) * kSlack + kTinyNorm;
    const float roundings = Format::roundings(centring.dims) + kEpilogueRoundings;
    constant[0] = half - (half * kEpilogueRoundings * kUnit + kTinyScore);
    constant[kColumns] = e.scale;
    constant[2 * kColumns] = length;
    constant[3 * kColumns] =
        (e.residual + 2.0F * kUnit * e.norm + roundings * kUnit * length) * kSlack + kTinyNorm;
    for (int w = 0; w + 2 < packed.num_extras; ++w) constant[(4 + w) * kColumns] = wide[w];
  }
  return true;
}

/// The product of kTileRows rows and one panel. Apart, so that all the sums stay in registers:
/// inlined, GCC spills them.
template <class Format>
[[gnu::noinline]] static void multiply(const std::uint32_t* rows, std::int64_t steps,
                                       const std::uint32_t* panel,
                                       typename Format::Accumulator* products) {
  using Accumulator = typename Format::Accumulator;
  constexpr int kLanes = Format::Lanes::kCount;
  Accumulator sums[kTileRows][Format::kVectors] = {};
  for (std::int64_t s = 0; s < steps; ++s) {
    Accumulator centroids[Format::kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < Format::kVectors; ++v)
      __builtin_memcpy(&centroids[v], panel + (s * Format::kVectors + v) * kLanes,
                       sizeof(Accumulator));
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
      const Accumulator row = Format::broadcast(rows[r * steps + s]);
#pragma GCC unroll 8
      for (int v = 0; v < Format::kVectors; ++v)
        sums[r][v] = Format::multiply_add(sums[r][v], centroids[v], row);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Format::kVectors; ++v) products[r * Format::kVectors + v] = sums[r][v];
}

/// Drops the candidates that the threshold has since ruled out.
static inline std::int32_t prune(float* low, std::int32_t* candidates, std::int32_t count,
                                 float threshold) {
  std::int32_t kept = 0;
  for (std::int32_t i = 0; i < count; ++i) {
    if (low[i] > threshold) continue;
    low[kept] = low[i];
    candidates[kept++] = candidates[i];
  }
  return kept;
}

/// Takes the columns of one row whose low_k is at or under its threshold.
template <int kColumns>
static void push(std::int64_t row, std::int64_t panel, std::uint64_t below, const float* lows,
                 const float* constants, RowBlock& block) {
  const float *extras = block.extras.get() + row * kMaxExtras, *base = constants,
              *p = constants + 2 * kColumns;
  float threshold = block.threshold[row];
  for (std::uint64_t rest = below; rest != 0; rest &= rest - 1) {
    const int j = __builtin_ctzll(rest);
    const float error = extras[0] * p[j] + extras[1] * p[kColumns + j] +
                        (base[j] * kEpilogueRoundings * kUnit + kTinyScore) * kSlack;
    const float high = lows[j] + 2.0F * error;
    threshold = high < threshold ? high : threshold;
  }
  block.threshold[row] = threshold;
  float* low = block.low.get() + row * kMaxCandidates;
  std::int32_t* candidates = block.candidates.get() + row * kMaxCandidates;
  std::int32_t count = block.num_candidates[row];
  for (std::uint64_t rest = below; rest != 0; rest &= rest - 1) {
    const int j = __builtin_ctzll(rest);
    if (lows[j] > threshold) continue;
    if (count == kMaxCandidates) count = prune(low, candidates, count, threshold);
    if (count == kMaxCandidates) {
      block.threshold[row] = -kHuge;  // nothing more is pushed
      block.num_candidates[row] = RowBlock::kOverflow;
      return;
    }
    low[count] = lows[j];
    candidates[count++] = static_cast<std::int32_t>(panel * kColumns + j);
  }
  block.num_candidates[row] = count;
}

/// A row that fills up a tile and takes no candidate.
static inline void clear_row(std::int64_t row, RowBlock& block) {
  for (std::int64_t s = 0; s < block.steps; ++s) block.codes[row * block.steps + s] = 0;
  for (int e = 0; e < kMaxExtras; ++e) block.extras[row * kMaxExtras + e] = 0.0F;
  block.scale[row] = 0.0F;
  block.bias[row] = 0;
  block.threshold[row] = -kHuge;
}

template <class Format>
static void scan(const PackedCodebook& packed, std::int64_t num_rows, RowBlock& block) {
  using Lanes = typename Format::Lanes;
  using Float = typename Lanes::Float;
  constexpr int kVectors = Format::kVectors, kColumns = kVectors * Lanes::kCount;
  const int num_extras = packed.num_extras;
  alignas(64) typename Format::Accumulator products[kTileRows * kVectors];
  alignas(64) Float lows[kVectors];
  const std::int64_t padded = (num_rows + kTileRows - 1) / kTileRows * kTileRows;
  for (std::int64_t row = num_rows; row < padded; ++row) clear_row(row, block);
  for (std::int64_t panel = 0; panel < packed.panels; ++panel) {
    const std::uint32_t* codes = packed.codes.get() + panel * packed.steps * kColumns;
    const float* constants = packed.constants.get() + panel * (2 + num_extras) * kColumns;
    const Float* vectors = reinterpret_cast<const Float*>(constants);
    for (std::int64_t first = 0; first < padded; first += kTileRows) {
      multiply<Format>(block.codes.get() + first * packed.steps, packed.steps, codes, products);
      for (int r = 0; r < kTileRows; ++r) {
        const std::int64_t row = first + r;
        const float* extras = block.extras.get() + row * kMaxExtras;
        Float low[kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v)
          low[v] = vectors[v] - Format::to_float(products[r * kVectors + v], block.bias[row]) *
                                    (vectors[kVectors + v] * block.scale[row]);
        for (int e = 0; e < num_extras; ++e)
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) low[v] -= vectors[(2 + e) * kVectors + v] * extras[e];
        std::uint64_t below = 0;
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) {
          lows[v] = low[v];
          below |= static_cast<std::uint64_t>(Lanes::at_most(low[v], block.threshold[row]))
                   << (v * Lanes::kCount);
        }
        if (__builtin_expect(below != 0, 0))
          push<kColumns>(row, panel, below, reinterpret_cast<const float*>(lows), constants, block);
      }
    }
  }
}

template <class Lanes>
static double distance(const float* x, const float* c, std::int64_t dims) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t d = 0; d < dims; ++d) {
    const double difference = static_cast<double>(x[d]) - static_cast<double>(c[d]);
    sum += difference * difference;
  }
  return sum;
}

template <class Format>
constexpr Screen make_screen(const char* name, int slot) {
  return {.name = name,
          .slot = slot,
          .columns = Format::kVectors * Format::Lanes::kCount,
          .values_per_code = Format::kValuesPerCode,
          .keeps_wide = Format::kKeepsWide,
          .pack_panel = pack_panel<Format>,
          .encode_row = encode_row<Format>,
          .scan = scan<Format>,
          .distance = distance<typename Format::Lanes>};
}

/// The product in float32, for the Lanes of any instruction set.
template <class L, int kVectorsPerTile>
struct Float32Format {
  using Lanes = L;
  using Accumulator = typename L::Float;
  static constexpr int kVectors = kVectorsPerTile, kValuesPerCode = 1, kMaxSteps = kMaxDims;
  static constexpr bool kKeepsWide = false;

  static float roundings(std::int64_t dims) { return static_cast<float>(dims); }

  static Encoded encode(const float* v, std::int64_t count, std::uint32_t* codes) {
    __builtin_memcpy(codes, v, static_cast<std::size_t>(count) * sizeof(float));
    return {};
  }

  static std::uint32_t centroid_code(std::uint32_t code) { return code; }

  static Accumulator broadcast(std::uint32_t code) {
    float value;
    __builtin_memcpy(&value, &code, sizeof value);
    return L::broadcast(value);
  }

  static Accumulator multiply_add(Accumulator sum, Accumulator centroids, Accumulator row) {
    return L::multiply_add(sum, centroids, row);
  }

  static Accumulator to_float(Accumulator product, std::int32_t) { return product; }
};

}  // namespace spire_dsu::cpu
