// Warpgroup matrix products from shared memory (sm_90a). The accumulators of a product in flight
// must not be touched: every call that starts or ends a flight takes them, so that the compiler
// knows.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace spire_dsu::cuda::ptx {

/// One warpgroup's 64 x 256 tile. Of lane l in warp w, [j][2 s + b] is row 16 w + l / 4 + 8 s,
/// column 8 j + 2 (l % 4) + b.
using Accumulators = float[32][4];

/// Keeps the compiler from moving uses of the accumulators across this point.
__device__ inline void pin(Accumulators& sums) {
#pragma unroll
  for (int j = 0; j < 32; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(sums[j][i])::"memory");
  }
}

/// Before the first product of a group.
__device__ inline void begin_products(Accumulators& sums) {
  pin(sums);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/// Waits until at most `kPending` committed groups are in flight.
template <int kPending>
__device__ inline void wait_products(Accumulators& sums) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
  if constexpr (kPending == 0) pin(sums);
}

#define SPIRE_SUM(i) "+f"(sums[(i) / 4][(i) % 4])
#define SPIRE_SUMS4(i) SPIRE_SUM(i), SPIRE_SUM(i + 1), SPIRE_SUM(i + 2), SPIRE_SUM(i + 3)
#define SPIRE_SUMS16(i) SPIRE_SUMS4(i), SPIRE_SUMS4(i + 4), SPIRE_SUMS4(i + 8), SPIRE_SUMS4(i + 12)
#define SPIRE_SUMS64(i) \
  SPIRE_SUMS16(i), SPIRE_SUMS16(i + 16), SPIRE_SUMS16(i + 32), SPIRE_SUMS16(i + 48)

/// sums = a b^T, plus the former sums if `add`: 64 x 16 by 256 x 16 float16, float32 sums. a and b
/// are shared-memory descriptors (swizzle.h).
__device__ inline void multiply(Accumulators& sums, std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{\n\t"
      ".reg .pred add;\n\t"
      "setp.ne.b32 add, %130, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "
      "%127}, "
      "%128, %129, add, 1, 1, 0, 0;\n\t"
      "}"
      : SPIRE_SUMS64(0), SPIRE_SUMS64(64)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

#undef SPIRE_SUMS64
#undef SPIRE_SUMS16
#undef SPIRE_SUMS4
#undef SPIRE_SUM

}  // namespace spire_dsu::cuda::ptx
