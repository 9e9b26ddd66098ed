// How a product of rows and centroids is cut into work items, and a long input into chunks.
#pragma once

#include <cstdint>

#include "spire_dsu/exact.h"

namespace spire_dsu::cuda {

constexpr int kTileRows = 128;  // rows of a block's tile, in both kernels
constexpr int kDimsUnit = 64;   // packed centroids and converted rows are zero-filled to a multiple

template <class T>
SPIRE_HOST_DEVICE constexpr T divide_up(T a, T b) {
  return (a + b - 1) / b;
}

/// One tile of rows against a range of the tiles of centroids.
struct WorkItem {
  std::int64_t row_tile;
  int split;
  int begin, end;  // tiles of centroids
};

/// Items 0 .. row_tiles * splits - 1; those of a tile of rows are neighbours.
SPIRE_HOST_DEVICE constexpr WorkItem work_item(std::int64_t item, int splits, int tiles) {
  const int split = static_cast<int>(item % splits);
  return {item / splits, split, static_cast<int>(std::int64_t{tiles} * split / splits),
          static_cast<int>(std::int64_t{tiles} * (split + 1) / splits)};
}

/// Into how many ranges to cut the centroids so that `workers` finish soonest: few rows would leave
/// most of the device idle. An item costs a quarter of a tile on top of its tiles.
constexpr int choose_splits(std::int64_t row_tiles, int tiles, int workers) {
  constexpr int kMost = 64;
  int best = 1;
  std::int64_t least = -1;
  for (int splits = 1; splits <= kMost && splits <= tiles; ++splits) {
    const std::int64_t waves = divide_up<std::int64_t>(row_tiles * splits, workers);
    const std::int64_t cost = waves * (4 * divide_up(tiles, splits) + 1);
    if (least < 0 || cost < least) {
      least = cost;
      best = splits;
    }
  }
  return best;
}

/// Rows to handle at a time: whole waves of tiles, as many as need no more than `budget` bytes, at
/// least one.
constexpr std::int64_t choose_chunk(std::int64_t workers, std::int64_t bytes_per_row,
                                    std::int64_t budget) {
  const std::int64_t wave = workers * kTileRows;
  const std::int64_t waves = budget / (wave * bytes_per_row);
  return wave * (waves < 1 ? 1 : waves);
}

}  // namespace spire_dsu::cuda
