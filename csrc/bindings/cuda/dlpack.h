// The part of the DLPack protocol (version 0, stable) that reading a tensor takes.
#pragma once

#include <cstdint>
#include <string>

namespace spire_dsu::bindings::dlpack {

constexpr std::int32_t kCuda = 2, kCudaManaged = 13;

struct Device {
  std::int32_t type, id;
};

struct DataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: contiguous
  std::uint64_t byte_offset;
};

struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

inline std::string dtype_name(DataType type) {
  constexpr const char* kNames[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  const std::string kind = type.code < 7 ? kNames[type.code] : "kind" + std::to_string(type.code);
  return kind + std::to_string(type.bits) +
         (type.lanes == 1 ? "" : "x" + std::to_string(type.lanes));
}

}  // namespace spire_dsu::bindings::dlpack
