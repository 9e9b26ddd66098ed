// Counting heads of runs: plain arithmetic of run_length.cu, also walked by the CPU tests.
#pragma once

#include <bit>
#include <cstdint>

#include "spire_dsu/exact.h"

namespace spire_dsu::cuda {

constexpr int kTileFrames = 4096;
constexpr int kTileWords = kTileFrames / 32;

/// Heads in a stretch of frames, and the place of the last one, or -1.
template <class Count>
struct RunsIn {
  Count heads = 0;
  Count last = -1;
};
using TileRuns = RunsIn<int>;       // places within the tile
using Runs = RunsIn<std::int64_t>;  // frames

/// A stretch and the one after it, as one. Associative, but the order matters.
template <class Count>
SPIRE_HOST_DEVICE constexpr RunsIn<Count> then(RunsIn<Count> first, RunsIn<Count> second) {
  return {first.heads + second.heads, second.last >= 0 ? second.last : first.last};
}

SPIRE_HOST_DEVICE constexpr Runs runs_from(TileRuns tile, std::int64_t begin) {
  return {tile.heads, tile.last >= 0 ? begin + tile.last : -1};
}

SPIRE_HOST_DEVICE inline int bits_set(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __popc(word);
#else
  return std::popcount(word);
#endif
}

SPIRE_HOST_DEVICE inline int highest_bit(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return 31 - __clz(static_cast<int>(word));
#else
  return 31 - std::countl_zero(word);
#endif
}

/// Word w of a tile holds frames 32 w .. 32 w + 31, bit by bit.
SPIRE_HOST_DEVICE inline TileRuns runs_of_word(std::uint32_t word, int w) {
  return {bits_set(word), word != 0 ? 32 * w + highest_bit(word) : -1};
}

/// Heads of the tile before frame i, given those before its word.
SPIRE_HOST_DEVICE inline TileRuns runs_before(std::uint32_t word, TileRuns before_word, int i) {
  return then(before_word, runs_of_word(word & ((1U << i % 32) - 1U), i / 32));
}

/// The first of `count` ascending values that is at least `bound`; `count` if none is.
SPIRE_HOST_DEVICE constexpr std::int64_t lower_bound(const std::int64_t* values, std::int64_t count,
                                                     std::int64_t bound) {
  std::int64_t first = 0;
  while (count > 0) {
    const std::int64_t half = count / 2;
    if (values[first + half] < bound) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return first;
}

}  // namespace spire_dsu::cuda
