// Warp matrix products and asynchronous copies, from compute capability 8.0 on.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "barrier.cuh"

namespace spire_dsu::cuda::ptx {

/// Copies `bytes` (0 to 16) to shared memory and fills up to 16 with zeros.
__device__ inline void copy_16_bytes(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(bytes)
               : "memory");
}

__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most `kPending` of this thread's committed groups are in flight.
template <int kPending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// Four 8 x 8 float16 matrices: lane l gives the address of row l % 8 of matrix l / 8 and gets, of
/// each matrix, columns 2 (l % 4) and + 1 of row l / 4.
__device__ inline void load_matrices(std::uint32_t (&matrices)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(shared_address(row))
               : "memory");
}

/// sums += a b^T: 16 x 16 by 8 x 16 float16. Of lane l, sums[2 s + b] is row l / 4 + 8 s, column
/// 2 (l % 4) + b.
__device__ inline void multiply(float (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace spire_dsu::cuda::ptx
