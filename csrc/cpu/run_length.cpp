#include "spire_dsu/run_length.h"

#include <cstdint>
#include <limits>

namespace spire_dsu::cpu {

Status run_length(const std::int32_t* ids, RowSplits rows, std::int32_t* units,
                  std::int32_t* durations, std::int64_t* unit_splits) {
  constexpr std::int64_t kLongest = std::numeric_limits<std::int32_t>::max();
  std::int64_t size = 0;
  unit_splits[0] = 0;
  for (std::int64_t r = 0; r < rows.num_rows; ++r) {
    const std::int64_t end = rows.data[r + 1];
    for (std::int64_t t = rows.data[r]; t < end;) {
      const std::int32_t unit = ids[t];
      const std::int64_t start = t;
      while (t < end && ids[t] == unit) ++t;
      if (t - start > kLongest) return {StatusCode::run_too_long, r};
      units[size] = unit;  // size <= start, so ids still to be read are never overwritten
      durations[size++] = static_cast<std::int32_t>(t - start);
    }
    unit_splits[r + 1] = size;
  }
  return {};
}

}  // namespace spire_dsu::cpu
