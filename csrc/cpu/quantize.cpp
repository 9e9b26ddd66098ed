#include "spire_dsu/quantize.h"

#include "spire_dsu/run_length.h"

namespace spire_dsu::cpu {

Status quantize(const Features& features, RowSplits rows, const Codebook& codebook,
                std::int32_t* units, std::int32_t* durations, std::int64_t* unit_splits,
                const AssignOptions& options) {
  if (const Status status = assign(features, codebook, units, options); !status.ok()) return status;
  return run_length(units, rows, units, durations, unit_splits);
}

}  // namespace spire_dsu::cpu
