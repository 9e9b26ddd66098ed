// Stands in for the CUDA runtime: one device, on which everything queued is done at once.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "simt.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)

using dim3 = simt::Dim3;
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

struct CUstream_st {};
using cudaStream_t = CUstream_st*;
struct CUevent_st {};
using cudaEvent_t = CUevent_st*;
using cudaMemPool_t = void*;

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue,
  cudaErrorInvalidDevice,
  cudaErrorNotSupported
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDefault };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum { cudaMemAllocationTypePinned, cudaMemLocationTypeDevice, cudaMemPoolAttrReleaseThreshold };
enum { cudaEventDisableTiming = 2, cudaStreamNonBlocking = 1, cudaEnableDefault = 0 };
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess };
struct cudaMemPoolProps {
  int allocType;
  struct {
    int type, id;
  } location;
};
enum { cudaLaunchAttributeClusterDimension };
struct cudaLaunchAttribute {
  int id;
  struct {
    dim3 clusterDim;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

inline cudaError_t cudaGetDevice(int* number) { return *number = 0, cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const simt::Machine& m = simt::machine();
  *value = attribute == cudaDevAttrMultiProcessorCount      ? m.multiprocessors
           : attribute == cudaDevAttrComputeCapabilityMajor ? m.major
                                                            : m.minor;
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  static int only;
  return *pool = &only, cudaSuccess;
}
inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, int, void*) { return cudaSuccess; }
inline cudaError_t cudaMallocFromPoolAsync(void** to, std::size_t bytes, cudaMemPool_t,
                                           cudaStream_t) {
  return *to = simt::allocate(bytes), cudaSuccess;
}
inline cudaError_t cudaMalloc(void** to, std::size_t bytes) {
  return *to = simt::allocate(bytes), cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** to, std::size_t bytes) { return cudaMalloc(to, bytes); }
inline cudaError_t cudaFree(void* memory) { return simt::release(memory), cudaSuccess; }
inline cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }
inline cudaError_t cudaFreeAsync(void* memory, cudaStream_t) { return cudaFree(memory); }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  return std::memcpy(to, from, bytes), cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  return std::memset(to, value, bytes), cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return *stream = new CUstream_st, cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned = 0) {
  return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return *event = new CUevent_st, cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned version,
                                             unsigned long long flags,
                                             cudaDriverEntryPointQueryResult* found);

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const int cluster =
      config->numAttrs > 0 ? static_cast<int>(config->attrs[0].val.clusterDim.x) : 1;
  simt::run_grid(config->gridDim, config->blockDim, config->dynamicSmemBytes, cluster,
                 [&] { kernel(arguments...); });
  return cudaSuccess;
}

// Builtins of device code.

struct alignas(8) float2 {
  float x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

inline void __syncthreads() { simt::sync_block(); }

namespace simt {

/// Every lane gives a value and gets that of the lane `from` names (itself if out of range).
template <class T, class From>
T exchange(const char* name, T value, From from) {
  struct Arguments {
    T give, get;
  } arguments = {value, value};
  meet(name, arguments, [&](Arguments** every) {
    for (int lane = 0; lane < 32; ++lane) every[lane]->get = every[from(lane)]->give;
  });
  return arguments.get;
}

}  // namespace simt

template <class T>
T __shfl_xor_sync(unsigned, T value, int step) {
  return simt::exchange("shfl_xor", value, [step](int lane) { return lane ^ step; });
}
template <class T>
T __shfl_up_sync(unsigned, T value, int step, int width = 32) {
  return simt::exchange("shfl_up", value,
                        [=](int lane) { return lane % width >= step ? lane - step : lane; });
}
template <class T>
T __shfl_sync(unsigned, T value, int source, int width = 32) {
  return simt::exchange("shfl", value,
                        [=](int lane) { return lane / width * width + source % width; });
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  struct Arguments {
    bool vote;
    unsigned all;
  } arguments = {vote, 0};
  simt::meet("ballot", arguments, [](Arguments** every) {
    unsigned all = 0;
    for (int lane = 0; lane < 32; ++lane) all |= static_cast<unsigned>(every[lane]->vote) << lane;
    for (int lane = 0; lane < 32; ++lane) every[lane]->all = all;
  });
  return arguments.all;
}
inline void __syncwarp() { __ballot_sync(0xFFFFFFFFU, true); }
inline int __any_sync(unsigned mask, bool vote) { return __ballot_sync(mask, vote) != 0; }

inline int __ffs(unsigned word) { return word == 0 ? 0 : std::countr_zero(word) + 1; }
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T atomicMin(T* to, T value) {
  const T old = *to;
  *to = std::min(old, value);
  return old;
}
template <class T>
T atomicMax(T* to, T value) {
  const T old = *to;
  *to = std::max(old, value);
  return old;
}
template <class T>
T atomicAdd(T* to, T value) {
  const T old = *to;
  *to += value;
  return old;
}
template <class T>
T atomicOr(T* to, T value) {
  const T old = *to;
  *to |= value;
  return old;
}
inline float __double2float_ru(double value) {
  const float near = static_cast<float>(value);
  return static_cast<double>(near) < value ? std::nextafter(near, INFINITY) : near;
}
using std::fabs;
using std::fma;
using std::fmaf;
using std::fmax;
using std::fmin;
using std::ldexp;
using std::sqrt;
