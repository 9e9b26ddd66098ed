// The device at hand: errors as Status, its size, memory that lives as long as a call.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "spire_dsu/status.h"

#define SPIRE_TRY(call)                                                 \
  do {                                                                  \
    if (const cudaError_t error_ = (call); error_ != cudaSuccess)       \
      return ::spire_dsu::Status{::spire_dsu::StatusCode::device_error, \
                                 static_cast<std::int64_t>(error_)};    \
  } while (false)

namespace spire_dsu::cuda {

struct Device {
  int multiprocessors;
  int major, minor;  // compute capability
};

/// The current one.
cudaError_t current_device(Device* device);

/// The library's own memory pool of the current device. It keeps what is freed, so that a call
/// finds again what the last one used, and is ordered by stream: two streams never share a block in
/// use.
cudaError_t memory_pool(cudaMemPool_t* pool);

/// Memory taken and given back in the order of a stream.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  cudaError_t allocate(std::int64_t count, cudaStream_t stream) {
    cudaMemPool_t pool;
    const cudaError_t error = memory_pool(&pool);
    if (error != cudaSuccess) return error;
    stream_ = stream;
    void* data = nullptr;
    const cudaError_t made =
        cudaMallocFromPoolAsync(&data, static_cast<std::size_t>(count) * sizeof(T), pool, stream);
    data_ = static_cast<T*>(data);
    return made;
  }
  T* get() const { return data_; }

 private:
  T* data_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

/// Memory of the current device, and page-locked memory of the host, of any lifetime.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  ~DeviceMemory() { cudaFree(data_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  cudaError_t allocate(std::size_t bytes) {
    cudaFree(data_);
    data_ = nullptr;
    return cudaMalloc(&data_, bytes);
  }
  unsigned char* get() const { return static_cast<unsigned char*>(data_); }

 private:
  void* data_ = nullptr;
};

class HostMemory {
 public:
  HostMemory() = default;
  ~HostMemory() { cudaFreeHost(data_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  cudaError_t allocate(std::size_t bytes) {
    cudaFreeHost(data_);
    data_ = nullptr;
    return cudaMallocHost(&data_, bytes);
  }
  unsigned char* get() const { return static_cast<unsigned char*>(data_); }

 private:
  void* data_ = nullptr;
};

/// Places one array after another in a block of memory, each at a multiple of 256 bytes.
struct Layout {
  std::size_t size = 0;

  template <class T>
  std::size_t take(std::int64_t count) {
    const std::size_t place = size;
    size += (static_cast<std::size_t>(count) * sizeof(T) + 255) / 256 * 256;
    return place;
  }
};

/// Launches `threads` a block on a grid of `blocks`.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), std::int64_t blocks, dim3 threads,
                   cudaStream_t stream, const Arguments&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = threads;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
}

}  // namespace spire_dsu::cuda
