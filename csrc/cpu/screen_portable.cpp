// float32 screen with nothing but the compiler's own four-lane vectors.
#include "detail/screen_impl.h"

namespace spire_dsu::cpu {
namespace {

struct PortableLanes {
  typedef float Float __attribute__((vector_size(16)));
  static constexpr int kCount = 4;

  static Float broadcast(float value) { return Float{value, value, value, value}; }
  static Float multiply_add(Float sum, Float a, Float b) { return sum + a * b; }
  static std::uint32_t at_most(Float values, float limit) {
    std::uint32_t mask = 0;
    for (int lane = 0; lane < kCount; ++lane)
      mask |= static_cast<std::uint32_t>(values[lane] <= limit) << lane;
    return mask;
  }
};

}  // namespace

const Screen kFloat32Portable =
    make_screen<Float32Format<PortableLanes, 2>>("float32, portable", 0);

}  // namespace spire_dsu::cpu
