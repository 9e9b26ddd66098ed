// Warpgroup products. Each group is done either at once or as late as it may be, when it is waited
// for: stages read before they are filled or refilled while they are read, and accumulators touched
// too early, give the wrong result here as they might on a device.
#pragma once

#include "barrier.cuh"
#include "sums.h"

namespace spire_dsu::cuda::ptx {

using Accumulators = float[32][4];

/// Element (row, k) of a tile: 128-byte rows, groups of 8 rows the stride apart, the address
/// swizzled.
inline float tile_element(const unsigned char* shared, std::uint64_t descriptor, int row, int k) {
  const auto start = static_cast<std::uint32_t>(descriptor & 0x3FFF) * 16;
  const auto stride = static_cast<std::uint32_t>(descriptor >> 32 & 0x3FFF) * 16;
  if (descriptor >> 62 != 1) simt::fail("a descriptor without the 128-byte swizzle");
  std::uint32_t address = start + static_cast<std::uint32_t>(row / 8) * stride +
                          static_cast<std::uint32_t>(row % 8) * 128 +
                          static_cast<std::uint32_t>(k) * 2;
  address ^= (address >> 7 & 7) << 4;
  __half half;
  std::memcpy(&half, shared + address - simt::kSharedBase, sizeof half);
  return __half2float(half);
}

inline void begin_products(Accumulators&) {}

/// Does the committed groups up to `last`, in order.
inline void do_products(simt::Warp& warp, int last) {
  std::vector<simt::Product> later;
  for (simt::Product& product : warp.products) {
    if (product.group != 0 && product.group <= last)
      product.run();
    else
      later.push_back(std::move(product));
  }
  warp.products = std::move(later);
}

inline void commit_products() {
  struct None {
  } none;
  simt::meet("wgmma.commit", none, [](None**) {
    simt::Warp& w = simt::warp();
    ++w.groups;
    for (simt::Product& product : w.products)
      if (product.group == 0) product.group = w.groups;
    if (simt::generator()() % 2 == 0) do_products(w, w.groups);
  });
}

template <int kPending>
void wait_products(Accumulators&) {
  struct None {
  } none;
  simt::meet("wgmma.wait", none, [](None**) {
    simt::Warp& w = simt::warp();
    do_products(w, w.groups - kPending);
    for (const simt::Product& product : w.products)
      if (product.group == 0) simt::fail("products waited for that were not committed");
  });
}

inline void multiply(Accumulators& sums, std::uint64_t a, std::uint64_t b, bool add) {
  struct Arguments {
    Accumulators* sums;
    std::uint64_t a, b;
    bool add;
  } arguments = {&sums, a, b, add};
  simt::meet("wgmma", arguments, [](Arguments** every) {
    const Arguments first = *every[0];
    std::vector<Accumulators*> lanes;
    for (int lane = 0; lane < 32; ++lane) lanes.push_back(every[lane]->sums);
    const int warp = simt::thread() / 32 % 4;
    const unsigned char* shared = simt::block().shared;
    simt::warp().products.push_back(
        {0, [=] {
           float rows[16][16], columns[256][16];
           for (int r = 0; r < 16; ++r)
             for (int k = 0; k < 16; ++k)
               rows[r][k] = tile_element(shared, first.a, 16 * warp + r, k);
           for (int n = 0; n < 256; ++n)
             for (int k = 0; k < 16; ++k) columns[n][k] = tile_element(shared, first.b, n, k);
           for (int r = 0; r < 16; ++r) {
             for (int n = 0; n < 256; ++n) {
               float& sum =
                   (*lanes[static_cast<std::size_t>(r % 8 * 4 + n % 8 / 2)])[n / 8]
                                                                            [r / 8 * 2 + n % 2];
               sum = simt::add_products(first.add ? sum : 0.0F, rows[r], columns[n], 16);
             }
           }
         }});
  });
}

}  // namespace spire_dsu::cuda::ptx
