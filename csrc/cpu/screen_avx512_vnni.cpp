// int8 screen with AVX-512-VNNI: four values to a code, one scale per vector, sums exact. Dims that
// are much wider than the others would take all of the scale, so a few of them stay in float32.
#include "detail/avx512.h"
#include "detail/screen_impl.h"

namespace spire_dsu::cpu {
namespace {

struct Int8Format {
  using Lanes = Avx512Lanes;
  typedef int Accumulator
      __attribute__((vector_size(64)));  // as __m512i, GCC 12 spills the sums in every step
  static constexpr int kVectors = 4, kValuesPerCode = 4, kMaxSteps = kMaxDims / 4;
  static constexpr bool kKeepsWide = true;

  static float roundings(std::int64_t) { return 0.0F; }

  static Encoded encode(const float* v, std::int64_t count, std::uint32_t* codes) {
    constexpr float kToInteger =
        0x1.8p23F;                  // x + this - this is x rounded to nearest, for |x| < 2^22
    std::int32_t largest_bits = 0;  // of numbers that are not negative: ordered as the numbers are
#pragma omp simd reduction(max : largest_bits)
    for (std::int64_t d = 0; d < count; ++d) {
      std::int32_t bits;
      __builtin_memcpy(&bits, &v[d], sizeof bits);
      bits &= 0x7FFFFFFF;
      largest_bits = bits > largest_bits ? bits : largest_bits;
    }
    float largest;
    __builtin_memcpy(&largest, &largest_bits, sizeof largest);
    const bool vanishes = !(largest > 0x1p-100F);
    const float scale = vanishes ? 0.0F : largest / 127.0F,
                inverse = vanishes ? 0.0F : 127.0F / largest;
    float residual2 = 0.0F;
    std::int32_t code_sum = 0;
#pragma omp simd reduction(+ : residual2, code_sum)
    for (std::int64_t d = 0; d < count; ++d) {
      const float rounded = (v[d] * inverse + kToInteger) - kToInteger;
      const float residual = v[d] - rounded * scale;
      const auto code = static_cast<std::int32_t>(rounded);
      residual2 += residual * residual;
      code_sum += code;
      store_code(codes, d, static_cast<std::int8_t>(code));
    }
    return {.scale = scale, .residual = square_root(residual2), .code_sum = code_sum};
  }

  /// VPDPBUSD takes one unsigned side: centroids + 128, and 128 times the sum of the row is taken
  /// off again.
  static std::uint32_t centroid_code(std::uint32_t code) { return code ^ 0x80808080U; }
  static Accumulator broadcast(std::uint32_t code) {
    return reinterpret_cast<Accumulator>(_mm512_set1_epi32(static_cast<int>(code)));
  }
  static Accumulator multiply_add(Accumulator sum, Accumulator centroids, Accumulator row) {
    return reinterpret_cast<Accumulator>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum),
                                                             reinterpret_cast<__m512i>(centroids),
                                                             reinterpret_cast<__m512i>(row)));
  }
  static Lanes::Float to_float(Accumulator product, std::int32_t bias) {
    return __builtin_convertvector(product - bias, Lanes::Float);
  }
};

}  // namespace

const Screen kInt8Avx512 = make_screen<Int8Format>("int8, AVX-512", 4);

}  // namespace spire_dsu::cpu
