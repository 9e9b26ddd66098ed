// Descriptions of matrices for the copy engine.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "plan.h"

namespace spire_dsu::cuda {

/// A float16 matrix in boxes of kTileRows rows by kDimsUnit columns, 128-byte swizzle, zeros
/// outside. The driver is asked for the function by name: this library links no driver and loads
/// without one.
inline cudaError_t encode_matrix(CUtensorMap* map, const void* data, std::int64_t rows,
                                 std::int64_t columns, std::int64_t stride) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                             12000, cudaEnableDefault, &found);
  if (error != cudaSuccess) return error;
  if (found != cudaDriverEntryPointSuccess) return cudaErrorNotSupported;
  const auto encode = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(stride) * 2};
  const cuuint32_t box[2] = {kDimsUnit, kTileRows};
  const cuuint32_t steps[2] = {1, 1};
  const CUresult result =
      encode(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, const_cast<void*>(data), sizes, strides, box,
             steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace spire_dsu::cuda
