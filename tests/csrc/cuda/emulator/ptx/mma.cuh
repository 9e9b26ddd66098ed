// Warp products, and copies that take effect when they are waited for.
#pragma once

#include <map>

#include "barrier.cuh"
#include "sums.h"

namespace spire_dsu::cuda::ptx {

/// The copies of each thread: those not committed, then groups, oldest first.
struct Copies {
  std::vector<std::function<void()>> open;
  std::vector<std::vector<std::function<void()>>> groups;
};
inline Copies& copies() {
  static std::map<std::pair<const void*, int>, Copies> all;
  return all[{simt::block().shared, simt::thread()}];
}

inline void copy_16_bytes(void* to, const void* from, int bytes) {
  if (shared_address(to) % 16 != 0 || reinterpret_cast<std::uintptr_t>(from) % 16 != 0)
    simt::fail("a copy of 16 bytes that is not aligned");
  copies().open.push_back([=] {
    std::memset(to, 0, 16);
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
  });
}
inline void commit_copies() {
  copies().groups.push_back(std::move(copies().open));
  copies().open.clear();
}
template <int kPending>
void wait_copies() {
  auto& groups = copies().groups;
  while (groups.size() > kPending) {
    for (const auto& copy : groups.front()) copy();
    groups.erase(groups.begin());
  }
}

inline void load_matrices(std::uint32_t (&matrices)[4], const void* row) {
  struct Arguments {
    std::uint32_t (*matrices)[4];
    const unsigned char* row;
  } arguments = {&matrices, static_cast<const unsigned char*>(row)};
  simt::meet("ldmatrix", arguments, [](Arguments** every) {
    for (int lane = 0; lane < 32; ++lane)
      for (int m = 0; m < 4; ++m)
        std::memcpy(&(*every[lane]->matrices)[m], every[8 * m + lane / 4]->row + lane % 4 * 4, 4);
  });
}

inline void multiply(float (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                     std::uint32_t b1) {
  struct Arguments {
    float* sums;
    const std::uint32_t* a;
    std::uint32_t b[2];
  } arguments = {sums, a, {b0, b1}};
  simt::meet("mma", arguments, [](Arguments** every) {
    const auto half_of = [](std::uint32_t pair, int which) {
      return __half2float({static_cast<std::uint16_t>(pair >> (16 * which))});
    };
    float rows[16][16], columns[8][16];
    for (int k = 0; k < 16; ++k) {  // operand layouts of m16n8k16 in the PTX manual
      const int lane = k % 8 / 2, high = k / 8;
      for (int r = 0; r < 16; ++r)
        rows[r][k] = half_of(every[r % 8 * 4 + lane]->a[2 * high + r / 8], k % 2);
      for (int n = 0; n < 8; ++n) columns[n][k] = half_of(every[n * 4 + lane]->b[high], k % 2);
    }
    for (int r = 0; r < 16; ++r)
      for (int n = 0; n < 8; ++n) {
        float& sum = every[r % 8 * 4 + n / 2]->sums[r / 8 * 2 + n % 2];
        sum = simt::add_products(sum, rows[r], columns[n], 8);  // two steps of 8, as on sm_80
        sum = simt::add_products(sum, rows[r] + 8, columns[n] + 8, 8);
      }
  });
}

}  // namespace spire_dsu::cuda::ptx
