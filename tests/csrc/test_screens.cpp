// low_k <= S_k <= high_k for every screen, in long double: what all exactness rests on.
#include <algorithm>
#include <cmath>

#include "check.h"
#include "detail/codebook.h"
#include "detail/screen.h"

using namespace spire_dsu;
using namespace spire_dsu::cpu;

static std::vector<const Screen*> all_screens() {
  std::vector<const Screen*> screens;
  for (const Isa isa : available_isas())
    for (const Screen* screen : screens_of(isa))
      if (std::find(screens.begin(), screens.end(), screen) == screens.end())
        screens.push_back(screen);
  return screens;
}

struct Bounds {
  bool screened = false;
  float low = 0.0F, high = 0.0F;
};

/// What the screen says of one row and one centroid.
static Bounds bounds(const Screen& screen, const Centring& centring, const float* x,
                     const float* c) {
  PackedCodebook packed;
  packed.count = packed.panels = 1;
  packed.steps = (centring.dims + screen.values_per_code - 1) / screen.values_per_code;
  packed.columns = screen.columns;
  packed.num_extras = 2 + centring.num_wide;
  packed.codes = AlignedArray<std::uint32_t>(packed.steps * packed.columns);
  packed.constants = AlignedArray<float>((2 + packed.num_extras) * packed.columns);
  RowBlock block(kTileRows, centring.dims);
  block.steps = packed.steps;
  const bool usable = screen.pack_panel(c, centring, 0, block.scratch.get(), packed);
  if (!usable || !screen.encode_row(x, centring, 0, block)) return {};
  screen.scan(packed, 1, block);
  CHECK_EQ(block.num_candidates[0], 1);
  return {.screened = true, .low = block.low[0], .high = block.threshold[0]};
}

/// Checks one pair with every screen; returns the largest share of a bound that was used up.
static long double check_pair(const Centring& with_wide, const float* x, const float* c) {
  long double score = 0.0L, magnitude = 0.0L, used = 0.0L;
  for (std::int64_t d = 0; d < with_wide.dims; ++d) {
    const long double y =
        static_cast<long double>(x[d]) - static_cast<long double>(with_wide.mean[d]);
    const long double a =
        static_cast<long double>(c[d]) - static_cast<long double>(with_wide.mean[d]);
    score += a * a / 2 - y * a;
    magnitude += std::abs(a * a / 2) + std::abs(y * a);
  }
  const long double noise = magnitude * 0x1p-62L * static_cast<long double>(with_wide.dims);
  for (const Screen* screen : all_screens()) {
    Centring centring = with_wide;
    if (!screen->keeps_wide) centring.num_wide = 0;
    const Bounds b = bounds(*screen, centring, x, c);
    if (!b.screened) continue;
    const long double low = static_cast<long double>(b.low),
                      high = static_cast<long double>(b.high);
    if (!(low <= score + noise && score - noise <= high)) {
      test::report(__FILE__, __LINE__,
                   std::string(screen->name) + ": " + std::to_string(b.low) +
                       " <= " + std::to_string(static_cast<double>(score)) +
                       " <= " + std::to_string(b.high));
    }
    used = std::max(used, std::abs(2 * score - low - high) / (high - low));
  }
  return used;
}

TEST(bounds_hold_on_random_vectors_of_any_scale) {
  const int rounds = 40 * test::multiplier();
  for (const std::size_t dims : {1U, 3U, 64U, 1000U}) {
    for (int round = 0; round < rounds; ++round) {
      const auto seed = static_cast<unsigned>(round);
      const float scale_x = std::ldexp(1.0F, (round * 7) % 60 - 30),
                  scale_c = std::ldexp(1.0F, (round * 11) % 60 - 30);
      const std::vector<float> mean = test::normal(dims, seed, 1.0F),
                               x = test::normal(dims, seed + 1, scale_x),
                               c = test::normal(dims, seed + 2, scale_c);
      const std::int32_t wide[] = {0};
      check_pair({static_cast<std::int64_t>(dims), mean.data(), wide, round % 2}, x.data(),
                 c.data());
    }
  }
}

TEST(bounds_hold_where_every_rounding_errs_the_same_way) {
  // y has a residual of nearly half a step along a centroid of +-1, which makes Cauchy-Schwarz an
  // equality; then the same with the roles exchanged. The bound must hold, and must nearly be used
  // up: it is no wider than it has to be.
  long double used = 0.0L;
  for (const std::size_t dims : {63U, 256U, 1024U}) {
    for (unsigned seed = 0; seed < 20; ++seed) {
      std::mt19937 generator(seed);
      std::uniform_int_distribution<int> draw(-120, 120);
      std::vector<float> rounded(dims), sign(dims), ulps(dims), mean(dims, 0.0F);
      for (std::size_t d = 0; d < dims; ++d) {
        sign[d] = draw(generator) < 0 ? -1.0F : 1.0F;
        rounded[d] = static_cast<float>(draw(generator)) + 0.499F * sign[d];
        ulps[d] = sign[d] * (1.0F + 0x1p-8F * (0.499F + static_cast<float>(draw(generator) & 63)));
      }
      rounded[0] = 127.0F;  // fixes the scale of int8 at 1
      const Centring centring{static_cast<std::int64_t>(dims), mean.data(), nullptr, 0};
      used = std::max({used, check_pair(centring, rounded.data(), sign.data()),
                       check_pair(centring, sign.data(), rounded.data())});
      check_pair(centring, ulps.data(), sign.data());
      check_pair(centring, sign.data(), ulps.data());
    }
  }
  const std::vector<const Screen*> screens = all_screens();
  const bool any_coarse = std::any_of(screens.begin(), screens.end(), [](const Screen* screen) {
    return screen->values_per_code > 1;
  });
  CHECK(!any_coarse || used > 0.3L);
}

TEST(bounds_hold_at_the_ends_of_the_range) {
  for (const float scale :
       {0x1p-149F, 0x1p-126F, 0x1p-101F, 0x1p-70F, 0x1p-50F, 0x1p40F, 0x1p57F, 0x1p62F, 0x1p120F}) {
    for (const float other : {0.0F, 0x1p-140F, 1.0F, 0x1p50F}) {
      const std::vector<float> x = test::normal(16, 1, scale), c = test::normal(16, 2, other),
                               mean(16, 0.0F);
      check_pair({16, mean.data(), nullptr, 0}, x.data(), c.data());
      check_pair({16, mean.data(), nullptr, 0}, c.data(), x.data());
    }
  }
}
