// Uninitialised memory on cache-line borders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace spire_dsu::cpu {

struct AlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{64}); }
};

template <class T>
using AlignedArray = std::unique_ptr<T[], AlignedDelete>;

template <class T>
AlignedArray<T> aligned_array(std::int64_t size) {
  const auto bytes = static_cast<std::size_t>(size) * sizeof(T);
  return AlignedArray<T>(static_cast<T*>(::operator new(bytes, std::align_val_t{64})));
}

}  // namespace spire_dsu::cpu
