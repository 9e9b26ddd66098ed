// assign and run_length as one: frames in, units out.
#pragma once

#include <cstdint>

#include "spire_dsu/assign.h"
#include "spire_dsu/ragged.h"
#include "spire_dsu/status.h"

namespace spire_dsu::cpu {

/// Buffers as in run_length.h, with T = features.num_frames; `rows` must have passed
/// check_row_splits. The ids are written where the units go and merged in place, so that no other
/// memory is needed.
Status quantize(const Features& features, RowSplits rows, const Codebook& codebook,
                std::int32_t* units, std::int32_t* durations, std::int64_t* unit_splits,
                const AssignOptions& options);

}  // namespace spire_dsu::cpu
