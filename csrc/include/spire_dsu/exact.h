// Which of two centroids is nearer, in real-number arithmetic: what every screen, CPU and GPU,
// comes down to in the end.
//
// The inputs are float32, that is integers times a power of two, so |x - a|^2 - |x - b|^2 is an
// integer times 2^-298 and is summed here as one long integer. Nothing is rounded: answers are the
// same on every machine, for every order of work.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define SPIRE_HOST_DEVICE __host__ __device__
#else
#define SPIRE_HOST_DEVICE
#endif

namespace spire_dsu {

/// Relative slack within which two float64 sums of `dims` squared differences may be in the wrong
/// order. Each sum is within (dims + 3) 2^-53 of the truth whatever the order of its additions; two
/// sides, and doubled.
SPIRE_HOST_DEVICE inline double distance_slack(std::int64_t dims) {
  return 4.0 * static_cast<double>(dims + 4) * 0x1p-53;
}

/// A sum of up to 2^30 products of two float32, times 1 or 2, without any rounding.
class ExactSum {
 public:
  /// Adds `sign` * 2^`power` * a * b, with sign 1 or -1 and power 0 or 1.
  SPIRE_HOST_DEVICE void add_product(float a, float b, int sign, int power) {
    const Parts pa = split(a), pb = split(b);
    const std::uint64_t mantissa = pa.mantissa * pb.mantissa;  // under 2^48
    const unsigned position = pa.exponent + pb.exponent - 2U + static_cast<unsigned>(power);
    const unsigned limb = position / 32U, shift = position % 32U;
    const std::uint64_t low = (mantissa & kMask) << shift, high = (mantissa >> 32U) << shift;
    const std::int64_t s = pa.sign * pb.sign * sign;
    limbs_[limb] += s * static_cast<std::int64_t>(low & kMask);
    limbs_[limb + 1] += s * static_cast<std::int64_t>((low >> 32U) + (high & kMask));
    limbs_[limb + 2] += s * static_cast<std::int64_t>(high >> 32U);
  }

  /// Adds (x - a)^2 - (x - b)^2.
  SPIRE_HOST_DEVICE void add_difference(float x, float a, float b) {
    if (a == b) return;
    add_product(a, a, 1, 0);
    add_product(b, b, -1, 0);
    add_product(x, a, -1, 1);
    add_product(x, b, 1, 1);
  }

  /// Digit i counts 2^(32 i): sums made by several threads are added digit by digit.
  static constexpr int kLimbs = 18;  // exponents up to 254 + 254 - 2 + 1 = 507: limbs 15, 16 and 17
  SPIRE_HOST_DEVICE std::int64_t& limb(int i) { return limbs_[i]; }

  /// -1, 0 or 1.
  SPIRE_HOST_DEVICE int sign() const {
    std::int64_t carry = 0;
    bool any = false;
    for (int i = 0; i < kLimbs; ++i) {
      carry += limbs_[i];
      if (i + 1 == kLimbs) break;
      const std::int64_t digit = carry & static_cast<std::int64_t>(kMask);
      any = any || digit != 0;
      carry = (carry - digit) / (std::int64_t{1} << 32);
    }
    if (carry != 0) return carry > 0 ? 1 : -1;
    return any ? 1 : 0;  // the digits below the top are not negative
  }

 private:
  struct Parts {
    std::uint64_t mantissa;
    unsigned exponent;  // from 1, in steps of 2^-149
    std::int64_t sign;
  };

  SPIRE_HOST_DEVICE static Parts split(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const unsigned exponent = (bits >> 23U) & 0xFFU;
    const std::uint32_t fraction = bits & 0x7FFFFFU;
    const std::int64_t sign = (bits >> 31U) != 0U ? -1 : 1;
    if (exponent == 0U) return {fraction, 1U, sign};
    return {fraction | 0x800000U, exponent, sign};
  }

  static constexpr std::uint64_t kMask = 0xFFFFFFFFU;
  std::int64_t limbs_[kLimbs] = {};  // 32 bits each, the rest is room for carries
};

/// Sign of |x - a|^2 - |x - b|^2: negative when a is nearer to x, positive when b is, 0 for an
/// exact tie. All of x, a, b: float32 [dims], finite.
SPIRE_HOST_DEVICE inline int compare_distances(const float* x, const float* a, const float* b,
                                               std::int64_t dims) {
  ExactSum sum;
  for (std::int64_t d = 0; d < dims; ++d) sum.add_difference(x[d], a[d], b[d]);
  return sum.sign();
}

}  // namespace spire_dsu
