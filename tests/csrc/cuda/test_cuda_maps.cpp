// The index arithmetic of the kernels, every value of it.
#include <set>
#include <vector>

#include "../check.h"
#include "detail/plan.h"
#include "detail/runs.h"
#include "detail/swizzle.h"

using namespace spire_dsu::cuda;

TEST(a_swizzled_tile_holds_every_chunk_once) {
  std::set<std::uint32_t> wide, narrow;
  for (std::uint32_t row = 0; row < 256; ++row) {
    for (std::uint32_t chunk = 0; chunk < 8; ++chunk) wide.insert(swizzle_128(row, chunk));
    for (std::uint32_t chunk = 0; chunk < 4; ++chunk) narrow.insert(swizzle_64(row, chunk));
  }
  CHECK_EQ(wide.size(), 256U * 8U);
  CHECK_EQ(*wide.rbegin(), 256U * 128U - 16U);
  CHECK_EQ(narrow.size(), 256U * 4U);
  CHECK_EQ(*narrow.rbegin(), 256U * 64U - 16U);
}

TEST(the_wide_swizzle_is_the_one_of_the_copy_engine) {
  for (std::uint32_t row = 0; row < 128; ++row) {
    for (std::uint32_t chunk = 0; chunk < 8; ++chunk) {
      const std::uint32_t plain = row * 128 + chunk * 16;
      CHECK_EQ(swizzle_128(row, chunk), plain ^ (plain >> 7 & 7) << 4);
    }
  }
}

TEST(matrix_loads_touch_every_bank_once) {
  for (std::uint32_t first = 0; first < 128; first += 8) {
    for (std::uint32_t chunk = 0; chunk < 4; ++chunk) {
      std::set<std::uint32_t> banks;  // of 16 bytes: 8 rows must lie in 8 different ones
      for (std::uint32_t row = 0; row < 8; ++row)
        banks.insert(swizzle_64(first + row, chunk) / 16 % 8);
      CHECK_EQ(banks.size(), 8U);
    }
  }
}

TEST(operand_places_cover_their_blocks) {
  std::set<std::uint32_t> a, b;
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    a.insert(place_a(lane).row * 2 + place_a(lane).chunk);
    b.insert(place_b(lane).row * 2 + place_b(lane).chunk);
  }
  CHECK_EQ(a.size(), 32U);
  CHECK_EQ(b.size(), 32U);
}

TEST(a_descriptor_says_what_the_manual_asks_for) {
  for (std::uint32_t address = 0; address < 232448; address += 1024) {
    const std::uint64_t descriptor = tile_descriptor(address);
    CHECK_EQ(descriptor & 0x3FFF, std::uint64_t{address} >> 4);
    CHECK_EQ(descriptor >> 32 & 0x3FFF, 1024U >> 4);
    CHECK_EQ(descriptor >> 62, 1U);
    CHECK_EQ(descriptor >> 46 & 0xFFFF, 0U);  // base offset and unused bits
  }
}

TEST(work_items_cover_all_tiles_once) {
  for (const int tiles : {1, 2, 3, 19, 20, 40, 256}) {
    for (int splits = 1; splits <= tiles && splits <= 64; ++splits) {
      for (std::int64_t row_tile = 0; row_tile < 3; ++row_tile) {
        int next = 0;
        for (int split = 0; split < splits; ++split) {
          const WorkItem item = work_item(row_tile * splits + split, splits, tiles);
          CHECK(item.row_tile == row_tile && item.split == split);
          CHECK(item.begin == next && item.end > item.begin);
          next = item.end;
        }
        CHECK_EQ(next, tiles);
      }
    }
  }
}

TEST(few_rows_are_spread_over_the_device_and_many_are_not_split) {
  CHECK_EQ(choose_splits(4, 20, 132), 20);  // one utterance: 80 items of one tile
  CHECK_EQ(choose_splits(132 * 8, 20, 132), 1);
  CHECK_EQ(choose_splits(1, 1, 132), 1);
  for (std::int64_t row_tiles = 1; row_tiles < 400; row_tiles += 3)
    for (const int tiles : {1, 2, 20, 256}) {
      const int splits = choose_splits(row_tiles, tiles, 132);
      CHECK(splits >= 1 && splits <= tiles && splits <= 64);
    }
}

TEST(chunks_are_whole_waves_within_the_budget) {
  CHECK_EQ(choose_chunk(132, 2192, 256 << 20), 132 * 128 * 7);
  CHECK_EQ(choose_chunk(132, 2192, 1), 132 * 128);
}

TEST(runs_join_in_order) {
  std::mt19937 generator(1);
  for (int round = 0; round < 300; ++round) {
    std::uint32_t words[4];
    for (std::uint32_t& word : words) word = generator() & generator() & generator();
    if (round % 3 == 0) words[round / 3 % 4] = 0;
    TileRuns before;
    int heads = 0, last = -1;
    for (int i = 0; i < 128; ++i) {
      const std::uint32_t word = words[i / 32];
      const TileRuns here = runs_before(word, before, i);
      CHECK(here.heads == heads && here.last == last);
      if ((word >> i % 32 & 1U) != 0) {
        ++heads;
        last = i;
      }
      if (i % 32 == 31) before = then(before, runs_of_word(word, i / 32));
    }
    CHECK(before.heads == heads && before.last == last);
    // Beyond 2^31 frames: stretches only add up.
    const std::int64_t far = std::int64_t{1} << 33;
    const Runs sum = then(Runs{far, far - 1}, runs_from(before, far));
    CHECK(sum.heads == far + heads && sum.last == (last >= 0 ? far + last : far - 1));
  }
}

TEST(lower_bound_finds_the_first) {
  const std::vector<std::int64_t> values = {0, 0, 3, 3, 3, 9};
  for (std::int64_t bound = -1; bound < 11; ++bound) {
    std::int64_t expected = 0;
    while (expected < 6 && values[static_cast<std::size_t>(expected)] < bound) ++expected;
    CHECK_EQ(lower_bound(values.data(), 6, bound), expected);
  }
  CHECK_EQ(lower_bound(values.data(), 0, 1), 0);
}
