// float32 screen with AVX-512F.
#include "detail/avx512.h"
#include "detail/screen_impl.h"

namespace spire_dsu::cpu {

const Screen kFloat32Avx512 = make_screen<Float32Format<Avx512Lanes, 4>>("float32, AVX-512", 2);

}  // namespace spire_dsu::cpu
