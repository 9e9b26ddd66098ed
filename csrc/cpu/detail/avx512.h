// The lanes of AVX-512F, for the three files that are compiled for it.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace spire_dsu::cpu {
namespace {

struct Avx512Lanes {
  using Float = __m512;
  static constexpr int kCount = 16;

  static Float broadcast(float value) { return _mm512_set1_ps(value); }
  static Float multiply_add(Float sum, Float a, Float b) { return _mm512_fmadd_ps(a, b, sum); }
  static std::uint32_t at_most(Float values, float limit) {
    return _mm512_cmp_ps_mask(values, _mm512_set1_ps(limit), _CMP_LE_OQ);
  }
};

}  // namespace
}  // namespace spire_dsu::cpu
