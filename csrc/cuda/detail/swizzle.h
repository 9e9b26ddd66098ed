// Where the elements of a tile lie in shared memory, as the copy engine writes and the tensor cores
// read them. Plain arithmetic, so that the CPU tests walk all of it.
#pragma once

#include <cstdint>

#include "spire_dsu/exact.h"

namespace spire_dsu::cuda {

/// Rows of 64 float16 (128 bytes), 16-byte chunks permuted within groups of 8 rows ("128-byte
/// swizzle"): byte offset of the chunk that holds dimensions 8 chunk .. 8 chunk + 7 of a row.
SPIRE_HOST_DEVICE constexpr std::uint32_t swizzle_128(std::uint32_t row, std::uint32_t chunk) {
  return row * 128 + ((chunk ^ (row % 8)) * 16);
}

/// What wgmma takes for such a tile: address / 16, 1024 bytes from one group of 8 rows to the next,
/// layout 1 (128-byte swizzle). The leading offset is not used by this layout. Tiles start at
/// multiples of 1024 bytes; the next 16 dimensions are 32 bytes on.
SPIRE_HOST_DEVICE constexpr std::uint64_t tile_descriptor(std::uint32_t shared_address) {
  return (std::uint64_t{1} << 62) | (std::uint64_t{1024 / 16} << 32) | (std::uint64_t{1} << 16) |
         ((shared_address & 0x3FFFFU) / 16);
}
constexpr std::uint64_t kDescriptorStep = 32 / 16;

/// Rows of 32 float16 (64 bytes), chunks permuted so that 8 consecutive rows of one chunk lie in
/// different banks: byte offset of a chunk.
SPIRE_HOST_DEVICE constexpr std::uint32_t swizzle_64(std::uint32_t row, std::uint32_t chunk) {
  return row * 64 + ((chunk ^ (row / 2 % 4)) * 16);
}

/// ldmatrix addresses of a 16 x 16 block, by lane. As operand a: rows 0-7, 8-15, then the same for
/// the upper 8 dimensions. As operand b: for columns 0-7 both halves of the dimensions, then for
/// 8-15.
struct BlockPlace {
  std::uint32_t row, chunk;
};
SPIRE_HOST_DEVICE constexpr BlockPlace place_a(std::uint32_t lane) {
  return {lane % 16, lane / 16};
}
SPIRE_HOST_DEVICE constexpr BlockPlace place_b(std::uint32_t lane) {
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2};
}

}  // namespace spire_dsu::cuda
