// Uninitialised memory on cache-line borders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace spire_dsu::cpu {

template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(std::int64_t size)
      : data_(static_cast<T*>(
            ::operator new(static_cast<std::size_t>(size) * sizeof(T), std::align_val_t{64}))) {}

  T* get() const { return data_.get(); }
  T& operator[](std::int64_t i) const { return data_.get()[i]; }

 private:
  struct Delete {
    void operator()(T* memory) const { ::operator delete(memory, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Delete> data_;
};

}  // namespace spire_dsu::cpu
