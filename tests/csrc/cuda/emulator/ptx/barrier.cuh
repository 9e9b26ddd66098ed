// mbarriers and clusters as the PTX manual describes them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace spire_dsu::cuda::ptx {

struct Barrier {
  std::int32_t expected, pending;  // arrivals
  std::int32_t bytes;              // announced and not yet come; below 0 while they come first
  std::uint32_t phase;
};

inline void* dynamic_shared() { return simt::block().shared; }

inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const unsigned char*>(pointer) -
                                    simt::block().shared) +
         simt::kSharedBase;
}

/// The same place in a block of the cluster, which must not have left.
template <class T>
T* in_block(T* pointer, std::uint32_t rank) {
  if (simt::cluster().blocks.at(rank).left == simt::block().threads)
    simt::fail("a block is reached that has left");
  const auto offset = reinterpret_cast<unsigned char*>(pointer) - simt::block().shared;
  return reinterpret_cast<T*>(simt::cluster().blocks.at(rank).shared + offset);
}

inline void advance(Barrier* barrier) {
  if (barrier->pending < 0) simt::fail("more arrivals at a barrier than it expects");
  if (barrier->pending != 0 || barrier->bytes != 0) return;
  barrier->phase ^= 1;
  barrier->pending = barrier->expected;
}

inline void init_barrier(Barrier* barrier, std::uint32_t arrivals) {
  *barrier = {static_cast<std::int32_t>(arrivals), static_cast<std::int32_t>(arrivals), 0, 0};
}
inline void fence_barrier_init() {}

inline void arrive_and_expect(Barrier* barrier, std::uint32_t bytes) {
  barrier->bytes += static_cast<std::int32_t>(bytes);
  --barrier->pending;
  advance(barrier);
}
inline void arrive_at(Barrier* barrier, std::uint32_t rank) {
  Barrier* remote = in_block(barrier, rank);
  --remote->pending;
  advance(remote);
}
inline void wait_barrier(Barrier* barrier, std::uint32_t parity) {
  simt::wait_until([=] { return barrier->phase != parity; });
}

inline std::uint32_t cluster_rank() { return static_cast<std::uint32_t>(simt::block().rank); }
inline void cluster_sync() { simt::sync_cluster(); }

template <int kRegisters>
void take_registers() {
  static_assert(kRegisters % 8 == 0 && kRegisters <= 256);
}
template <int kRegisters>
void give_registers() {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24);
}

}  // namespace spire_dsu::cuda::ptx
