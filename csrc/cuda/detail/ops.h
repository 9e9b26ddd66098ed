// The operations without the clearing of faults, for those that are made of others.
#pragma once

#include <cuda_runtime.h>

#include "spire_dsu/cuda.h"

namespace spire_dsu::cuda {

inline cudaError_t clear_faults(Faults* faults, cudaStream_t stream) {
  return cudaMemsetAsync(faults, static_cast<int>(kNoFault & 0xFF), sizeof(Faults), stream);
}

Status queue_assign(const Features& features, const Codebook& codebook, std::int32_t* ids,
                    Faults* faults, const AssignOptions& options, cudaStream_t stream);

Status queue_run_length(const std::int32_t* ids, std::int64_t num_frames, RowSplits rows,
                        std::int32_t* units, std::int32_t* durations, std::int64_t* unit_splits,
                        Faults* faults, cudaStream_t stream);

}  // namespace spire_dsu::cuda
