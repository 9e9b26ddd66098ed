// The bulk tensor copy engine: boxes of a matrix in device memory into shared memory.
#pragma once

#include <cuda.h>

#include "barrier.cuh"

namespace spire_dsu::cuda::ptx {

__device__ inline void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/// The box of `map` at column `x`, row `y` -> `to`; the bytes count towards the barrier's phase.
__device__ inline void load_box(const CUtensorMap* map, Barrier* barrier, void* to, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
}

/// The same into every block of the cluster whose bit is set in `blocks`, at the place of `to` and
/// with the barrier at the place of `barrier` in each.
__device__ inline void load_box_to(const CUtensorMap* map, Barrier* barrier, void* to, int x, int y,
                                   std::uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::"
      "cluster"
      " [%0], [%1, {%4, %5}], [%2], %3;" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(x), "r"(y)
      : "memory");
}

}  // namespace spire_dsu::cuda::ptx
