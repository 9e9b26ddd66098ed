#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "detail/codebook.h"
#include "detail/screen.h"
#include "spire_dsu/assign.h"

namespace spire_dsu::cpu {

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512f:
      return "avx512f";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::avx512_vnni:
      return "avx512_vnni";
  }
  return "unknown";
}

static bool is_available([[maybe_unused]] Isa isa) {
#if defined(SPIRE_X86)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::portable:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512f:
      return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
    case Isa::avx512_vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
  }
#endif
  return isa == Isa::portable;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas = {Isa::portable, Isa::avx2, Isa::avx512f, Isa::avx512_bf16,
                           Isa::avx512_vnni};
  std::erase_if(isas, [](Isa isa) { return !is_available(isa); });
  return isas;
}

std::vector<const Screen*> screens_of([[maybe_unused]] Isa isa) {
#if defined(SPIRE_X86)
  const bool has_bf16 = is_available(Isa::avx512_bf16);
  switch (isa) {
    case Isa::portable:
      break;
    case Isa::avx2:
      return {&kFloat32Avx2};
    case Isa::avx512f:
      return {&kFloat32Avx512};
    case Isa::avx512_bf16:
      return {&kBFloat16Avx512, &kFloat32Avx512};
    case Isa::avx512_vnni:
      if (has_bf16) return {&kInt8Avx512, &kBFloat16Avx512, &kFloat32Avx512};
      return {&kInt8Avx512, &kFloat32Avx512};
  }
#endif
  return {&kFloat32Portable};
}

int default_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text != nullptr)
    if (const int number = std::atoi(text); number > 0) return number;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

}  // namespace spire_dsu::cpu
