#include "detail/codebook.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "detail/load.h"
#include "detail/parallel.h"

namespace spire_dsu::cpu {

/// Every `step`-th centroid is enough to see where they lie: the shift and the wide dims may be
/// anything.
static constexpr std::int64_t kSample = 256;

static std::vector<float> sample_mean(const Centroids& c, std::int64_t step) {
  std::vector<double> sum(static_cast<std::size_t>(c.dims), 0.0);
  std::int64_t number = 0;
  for (std::int64_t k = 0; k < c.count; k += step, ++number)
    for (std::size_t d = 0; d < sum.size(); ++d)
      sum[d] += c.data[k * c.dims + static_cast<std::int64_t>(d)];
  std::vector<float> mean(sum.size());
  std::transform(sum.begin(), sum.end(), mean.begin(), [number](double s) {
    return static_cast<float>(s / static_cast<double>(number));
  });
  return mean;
}

/// Up to kMaxWide dims whose largest distance from the mean is more than twice the median one's.
static std::vector<std::int32_t> sample_wide(const Centroids& c, const std::vector<float>& mean,
                                             std::int64_t step) {
  std::vector<float> range(mean.size(), 0.0F);
  for (std::int64_t k = 0; k < c.count; k += step)
    for (std::size_t d = 0; d < mean.size(); ++d)
      range[d] =
          std::max(range[d], std::abs(c.data[k * c.dims + static_cast<std::int64_t>(d)] - mean[d]));
  std::vector<float> sorted = range;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  std::vector<std::int32_t> dims(mean.size());
  std::iota(dims.begin(), dims.end(), 0);
  const auto by_range = [&range](std::int32_t a, std::int32_t b) {
    const float range_a = range[static_cast<std::size_t>(a)],
                range_b = range[static_cast<std::size_t>(b)];
    return range_a != range_b ? range_a > range_b : a < b;
  };
  const auto most = std::min<std::ptrdiff_t>(kMaxWide, static_cast<std::ptrdiff_t>(dims.size()));
  std::partial_sort(dims.begin(), dims.begin() + most, dims.end(), by_range);
  dims.resize(static_cast<std::size_t>(most));
  const auto narrow = std::find_if(dims.begin(), dims.end(), [&range, middle](std::int32_t d) {
    return !(range[static_cast<std::size_t>(d)] > 2.0F * *middle);
  });
  dims.erase(narrow, dims.end());
  return dims;
}

static Status check_finite(const Centroids& c, int threads) {
  constexpr std::int64_t kCentroids = 64;
  FirstIndex bad;
  parallel_for(threads, (c.count + kCentroids - 1) / kCentroids, [&](int, std::int64_t task) {
    for (std::int64_t k = task * kCentroids; k < std::min(c.count, (task + 1) * kCentroids); ++k)
      if (!all_finite(c.data + k * c.dims, c.dims)) return bad.offer(k);
  });
  return bad.any() ? Status{StatusCode::non_finite_centroid, bad.index()} : Status{};
}

Codebook::Codebook(const Centroids& centroids, int threads) : data_(new Data) {
  data_->centroids = centroids;
  data_->status = check_finite(centroids, threads > 0 ? threads : default_threads());
  if (!data_->status.ok()) return;
  const std::int64_t step = (centroids.count + kSample - 1) / kSample;
  data_->mean = sample_mean(centroids, step);
  data_->wide = sample_wide(centroids, data_->mean, step);
}

Codebook::~Codebook() = default;
Status Codebook::status() const { return data_->status; }
const Centroids& Codebook::centroids() const { return data_->centroids; }

Centring Codebook::Data::centring(const Screen& screen) const {
  return {.dims = centroids.dims,
          .mean = mean.data(),
          .wide = wide.data(),
          .num_wide = screen.keeps_wide ? static_cast<int>(wide.size()) : 0};
}

static PackedCodebook pack(const Screen& screen, const Centroids& c, const Centring& centring,
                           int threads) {
  PackedCodebook packed;
  packed.count = c.count;
  packed.columns = screen.columns;
  packed.panels = (c.count + screen.columns - 1) / screen.columns;
  packed.steps = (c.dims + screen.values_per_code - 1) / screen.values_per_code;
  packed.num_extras = 2 + centring.num_wide;
  packed.codes = AlignedArray<std::uint32_t>(packed.panels * packed.steps * packed.columns);
  packed.constants = AlignedArray<float>(packed.panels * (2 + packed.num_extras) * packed.columns);
  threads = static_cast<int>(std::min<std::int64_t>(threads, packed.panels));
  std::vector<AlignedArray<float>> scratch;
  for (int t = 0; t < threads; ++t)
    scratch.push_back(AlignedArray<float>(RowBlock::scratch_size(c.dims)));
  std::atomic<bool> usable{true};
  parallel_for(threads, packed.panels, [&](int worker, std::int64_t panel) {
    float* buffer = scratch[static_cast<std::size_t>(worker)].get();
    if (!screen.pack_panel(c.data, centring, panel, buffer, packed)) usable = false;
  });
  packed.usable = usable;
  return packed;
}

const PackedCodebook& Codebook::Data::packed(const Screen& screen, int threads) {
  Entry& entry = entries_[screen.slot];
  std::call_once(entry.once,
                 [&] { entry.packed = pack(screen, centroids, centring(screen), threads); });
  return entry.packed;
}

}  // namespace spire_dsu::cpu
