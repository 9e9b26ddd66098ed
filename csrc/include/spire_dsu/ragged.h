// Rows of different lengths, stored one after another: row r holds items [row_splits[r],
// row_splits[r + 1]).
#pragma once

#include <cstdint>

#include "spire_dsu/status.h"

namespace spire_dsu {

struct RowSplits {
  const std::int64_t* data = nullptr;  // [num_rows + 1], starts at 0, never falls
  std::int64_t num_rows = 0;
};

/// Row splits must start at 0, never fall, and end at `num_items`. Host memory.
inline Status check_row_splits(RowSplits rows, std::int64_t num_items) {
  if (rows.num_rows < 0) return {StatusCode::bad_shape, rows.num_rows};
  if (rows.data[0] != 0) return {StatusCode::bad_row_splits, 0};
  for (std::int64_t r = 0; r < rows.num_rows; ++r)
    if (rows.data[r + 1] < rows.data[r] || rows.data[r + 1] > num_items)
      return {StatusCode::bad_row_splits, r + 1};
  if (rows.data[rows.num_rows] != num_items) return {StatusCode::bad_row_splits, rows.num_rows};
  return {};
}

}  // namespace spire_dsu
