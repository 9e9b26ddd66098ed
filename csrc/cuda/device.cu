#include "detail/device.h"

#include <array>
#include <limits>
#include <mutex>

namespace spire_dsu::cuda {

cudaError_t current_device(Device* device) {
  int number = 0;
  if (const cudaError_t error = cudaGetDevice(&number); error != cudaSuccess) return error;
  const struct {
    cudaDeviceAttr attribute;
    int* to;
  } wanted[] = {{cudaDevAttrMultiProcessorCount, &device->multiprocessors},
                {cudaDevAttrComputeCapabilityMajor, &device->major},
                {cudaDevAttrComputeCapabilityMinor, &device->minor}};
  for (const auto& each : wanted)
    if (const cudaError_t error = cudaDeviceGetAttribute(each.to, each.attribute, number);
        error != cudaSuccess)
      return error;
  return cudaSuccess;
}

cudaError_t memory_pool(cudaMemPool_t* pool) {
  constexpr int kDevices = 64;
  static std::mutex mutex;
  static std::array<cudaMemPool_t, kDevices> pools{};
  int number = 0;
  if (const cudaError_t error = cudaGetDevice(&number); error != cudaSuccess) return error;
  if (number >= kDevices) return cudaErrorInvalidDevice;
  const std::lock_guard<std::mutex> lock(mutex);
  cudaMemPool_t& made = pools[static_cast<std::size_t>(number)];
  if (made == nullptr) {
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = number;
    cudaMemPool_t fresh;
    if (const cudaError_t error = cudaMemPoolCreate(&fresh, &properties); error != cudaSuccess)
      return error;
    std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
    if (const cudaError_t error =
            cudaMemPoolSetAttribute(fresh, cudaMemPoolAttrReleaseThreshold, &keep);
        error != cudaSuccess)
      return error;
    made = fresh;
  }
  *pool = made;
  return cudaSuccess;
}

}  // namespace spire_dsu::cuda
