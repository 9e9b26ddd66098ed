#include <cstring>

#include "cuda.h"
#include "cuda_runtime.h"

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* data,
                                const cuuint64_t* sizes, const cuuint64_t* strides,
                                const cuuint32_t* box, const cuuint32_t* steps,
                                CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                                CUtensorMapFloatOOBfill) {
  const bool valid = rank == 2 && reinterpret_cast<std::uintptr_t>(data) % 16 == 0 &&
                     strides[0] % 16 == 0 && strides[0] < cuuint64_t{1} << 40 && sizes[0] > 0 &&
                     sizes[1] > 0 && box[0] * 2 <= 128 && box[0] * 2 % 16 == 0 && box[1] <= 256 &&
                     steps[0] == 1 && steps[1] == 1;
  if (!valid) return CUDA_ERROR_INVALID_VALUE;
  *map = {static_cast<const unsigned char*>(data),
          static_cast<std::int64_t>(sizes[0]),
          static_cast<std::int64_t>(sizes[1]),
          static_cast<std::int64_t>(strides[0]),
          static_cast<int>(box[0]),
          static_cast<int>(box[1])};
  return CUDA_SUCCESS;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  if (std::strcmp(name, "cuTensorMapEncodeTiled") != 0) return cudaErrorInvalidValue;
  *function = reinterpret_cast<void*>(&cuTensorMapEncodeTiled);
  *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
