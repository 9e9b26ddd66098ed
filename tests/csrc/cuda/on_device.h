// What the tests of the kernels share. They are compiled twice: for a GPU, and for the emulator.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <memory>
#include <vector>

#include "../check.h"
#include "spire_dsu/cuda.h"

namespace spire_dsu::test {

#if defined(SPIRE_EMULATED)
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

/// Whether large inputs would take too long: in the emulator, and under a sanitizer, for which
/// SPIRE_TEST_SMALL is set.
bool small();

/// Another one for every run on a GPU; always the same in the emulator.
unsigned seed();

void check_cuda(cudaError_t error, const char* file, int line);
#define CUDA_OK(call) spire_dsu::test::check_cuda((call), __FILE__, __LINE__)

/// An array in device memory.
template <class T>
class OnDevice {
 public:
  /// Poisoned: what is never written reads as large negative numbers or NaN.
  explicit OnDevice(std::size_t size) : size_(size) {
    CUDA_OK(cudaMalloc(reinterpret_cast<void**>(&data_), bytes() + 1));
    CUDA_OK(cudaMemsetAsync(data_, 0xFF, bytes() + 1, nullptr));
  }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
    CUDA_OK(cudaMemcpyAsync(data_, values.data(), bytes(), cudaMemcpyHostToDevice, nullptr));
    CUDA_OK(cudaStreamSynchronize(nullptr));
  }
  ~OnDevice() { cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* get() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> host(size_);
    CUDA_OK(cudaMemcpyAsync(host.data(), data_, bytes(), cudaMemcpyDeviceToHost, nullptr));
    CUDA_OK(cudaStreamSynchronize(nullptr));
    return host;
  }

 private:
  std::size_t bytes() const { return size_ * sizeof(T); }
  std::size_t size_;
  T* data_ = nullptr;
};

/// Features as numbers and as bits, in host memory.
struct Frames {
  std::vector<float> values;  // what the bits mean, [rows, dims]
  std::vector<unsigned char> bits;
  Features features;  // into `bits`

  /// `from` rounded to `dtype`; rows `stride` elements apart (0: dense), from element `offset` on.
  static Frames of(const std::vector<float>& from, std::int64_t dims, DType dtype,
                   std::int64_t stride = 0, std::int64_t offset = 0);
};

/// The screens that this machine has.
std::vector<cuda::Screen> screens();

/// ids by the device; CHECKs that nothing fails.
std::vector<std::int32_t> device_assign(const Frames& frames, const Centroids& centroids,
                                        const cuda::AssignOptions& options);

/// CHECKs the device against the CPU, on every screen.
void check_assign(const Frames& frames, const std::vector<float>& centroids,
                  cuda::AssignOptions options = {});

}  // namespace spire_dsu::test
