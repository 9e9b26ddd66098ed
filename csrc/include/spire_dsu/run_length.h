// Runs of one unit merged, row by row: [[7 7 3] [3 3]] -> units [[7 3] [3]], durations [[2 1] [2]].
#pragma once

#include <cstdint>

#include "spire_dsu/ragged.h"
#include "spire_dsu/status.h"

namespace spire_dsu::cpu {

/// Never merges across rows. All memory is the caller's:
///   ids        int32 [T], T = rows.data[rows.num_rows]
///   units      int32 [T], filled from the front; may be `ids` itself
///   durations  int32 [T], filled from the front, frames per unit
///   unit_splits int64 [rows.num_rows + 1], row splits of units and durations; the last entry is
///   their length U
/// run_too_long: a run over 2^31 - 1 frames. `rows` must have passed check_row_splits.
Status run_length(const std::int32_t* ids, RowSplits rows, std::int32_t* units,
                  std::int32_t* durations, std::int64_t* unit_splits);

}  // namespace spire_dsu::cpu
