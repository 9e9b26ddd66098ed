// A codebook as the kernels read it.
#pragma once

#include <cuda_fp16.h>

#include "bound.h"
#include "device.h"
#include "spire_dsu/cuda.h"

namespace spire_dsu::cuda {

struct Codebook::Data {
  int count = 0, dims = 0;
  int padded_count = 0, padded_dims = 0;  // multiples of kHopperTile and kDimsUnit
  DeviceMemory memory;                    // holds all of these:
  float* centroids = nullptr;             // [count, dims], the originals
  float* mean = nullptr;                  // [padded_dims]
  __half* packed = nullptr;               // [padded_count, padded_dims], 2^g (c - mean)
  float* heights[2] = {};  // [padded_count] each, infinity past `count`; as in bound.h
  CodebookBounds* bounds = nullptr;
};

}  // namespace spire_dsu::cuda
