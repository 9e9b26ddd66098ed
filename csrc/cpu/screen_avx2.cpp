// float32 screen with AVX2 and FMA.
#include <immintrin.h>

#include "detail/screen_impl.h"

namespace spire_dsu::cpu {
namespace {

struct Avx2Lanes {
  using Float = __m256;
  static constexpr int kCount = 8;

  static Float broadcast(float value) { return _mm256_set1_ps(value); }
  static Float multiply_add(Float sum, Float a, Float b) { return _mm256_fmadd_ps(a, b, sum); }
  static std::uint32_t at_most(Float values, float limit) {
    return static_cast<std::uint32_t>(
        _mm256_movemask_ps(_mm256_cmp_ps(values, _mm256_set1_ps(limit), _CMP_LE_OQ)));
  }
};

}  // namespace

const Screen kFloat32Avx2 = make_screen<Float32Format<Avx2Lanes, 2>>("float32, AVX2", 1);

}  // namespace spire_dsu::cpu
