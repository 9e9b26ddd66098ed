// bfloat16 screen with AVX-512-BF16: two values to a code, products exact, sums in float32.
#include "detail/avx512.h"
#include "detail/screen_impl.h"

namespace spire_dsu::cpu {
namespace {

struct BFloat16Format {
  using Lanes = Avx512Lanes;
  using Accumulator = __m512;
  static constexpr int kVectors = 4, kValuesPerCode = 2, kMaxSteps = kMaxDims / 2;
  static constexpr bool kKeepsWide = false;

  /// VDPBF16PS adds two products to each sum and its roundings are not IEEE's: two units for each
  /// product cover them.
  static float roundings(std::int64_t dims) { return 2.0F * static_cast<float>(dims + 1); }

  static Encoded encode(const float* v, std::int64_t count, std::uint32_t* codes) {
    float residual2 = 0.0F;
#pragma omp simd reduction(+ : residual2)
    for (std::int64_t d = 0; d < count; ++d) {
      std::uint32_t bits;
      __builtin_memcpy(&bits, &v[d], sizeof bits);
      const std::uint32_t half =
          (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;  // to nearest, ties to even
      const std::uint32_t rounded_bits = half << 16U;
      float rounded;
      __builtin_memcpy(&rounded, &rounded_bits, sizeof rounded);
      residual2 += (v[d] - rounded) * (v[d] - rounded);
      store_code(codes, d, static_cast<std::uint16_t>(half));
    }
    return {.scale = 1.0F, .residual = square_root(residual2)};
  }

  static std::uint32_t centroid_code(std::uint32_t code) { return code; }
  static Accumulator broadcast(std::uint32_t code) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(code)));
  }
  static Accumulator multiply_add(Accumulator sum, Accumulator centroids, Accumulator row) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(centroids),
                            reinterpret_cast<__m512bh>(row));
  }
  static Accumulator to_float(Accumulator product, std::int32_t) { return product; }
};

}  // namespace

const Screen kBFloat16Avx512 = make_screen<BFloat16Format>("bfloat16, AVX-512", 3);

}  // namespace spire_dsu::cpu
