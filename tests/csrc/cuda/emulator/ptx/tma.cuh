// The copy engine: boxes arrive some time after they were asked for, in any order, 16 bytes at a
// time where the 128-byte swizzle puts them.
#pragma once

#include <cuda.h>

#include <vector>

#include "barrier.cuh"

namespace spire_dsu::cuda::ptx {

inline void prefetch_map(const CUtensorMap*) {}

inline void load_box_to(const CUtensorMap* map, Barrier* barrier, void* to, int x, int y,
                        std::uint16_t blocks) {
  if (shared_address(to) % 1024 != 0)
    simt::fail("a swizzled box at an address that is not a multiple of 1024");
  std::vector<unsigned char*> places;
  std::vector<Barrier*> barriers;
  for (std::uint32_t rank = 0; rank < simt::cluster().blocks.size(); ++rank) {
    if ((blocks >> rank & 1) == 0) continue;
    places.push_back(in_block(static_cast<unsigned char*>(to), rank));
    barriers.push_back(in_block(barrier, rank));
  }
  // Each block's part comes in on its own.
  for (std::size_t i = 0; i < places.size(); ++i) {
    unsigned char* place = places[i];
    Barrier* full = barriers[i];
    const CUtensorMap box = *map;
    simt::cluster().copies.push_back([=] {
      for (int row = 0; row < box.box_rows; ++row) {
        for (int byte = 0; byte < box.box_columns * 2; ++byte) {
          const std::int64_t column = x + byte / 2;
          const bool inside = column < box.columns && y + row < box.rows && y + row >= 0;
          const int offset = row * 128 + byte;
          place[offset ^ ((offset >> 7 & 7) << 4)] =
              inside ? box.data[(y + row) * box.stride + column * 2 + byte % 2] : 0;
        }
      }
      full->bytes -= box.box_rows * box.box_columns * 2;
      advance(full);
    });
  }
}

inline void load_box(const CUtensorMap* map, Barrier* barrier, void* to, int x, int y) {
  load_box_to(map, barrier, to, x, y, static_cast<std::uint16_t>(1U << simt::block().rank));
}

}  // namespace spire_dsu::cuda::ptx
