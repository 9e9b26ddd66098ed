// How a batch is worked off: blocks of rows to threads, each block down the ladder of screens, what
// is left in float64.
#include "spire_dsu/assign.h"

#include <algorithm>
#include <numeric>

#include "detail/codebook.h"
#include "detail/load.h"
#include "detail/nearest.h"
#include "detail/parallel.h"
#include "detail/screen.h"

namespace spire_dsu::cpu {
namespace {

constexpr std::int64_t kBlockRows = 192;  // rows that one thread takes through all panels at once
constexpr std::int64_t kBlockFloats =
    192 * 1024;  // fewer rows where they are long, so that they stay in cache
constexpr std::int64_t kScanRows = 16;  // rows compared with all centroids at once

/// What all threads of one call share.
struct Job {
  const Features& features;
  Codebook::Data& codebook;
  std::vector<const Screen*> ladder;
  std::int32_t* ids;
  int threads;
  std::int64_t block_rows;
  FirstIndex bad_row;
  std::atomic<std::size_t> first_screen{
      0};  // later ones when the first ones do not pay; no label depends on it
};

/// What one thread owns.
class Worker {
 public:
  explicit Worker(const Job& job)
      : block_(job.block_rows, job.features.dims), converted_(kScanRows * job.features.dims) {
    const auto rows = static_cast<std::size_t>(job.block_rows);
    rows_.reserve(rows);
    left_.reserve(rows);
    unscreened_.reserve(rows);
  }

  void assign(Job& job, std::int64_t first, std::int64_t count) {
    rows_.resize(static_cast<std::size_t>(count));
    std::iota(rows_.begin(), rows_.end(), first);
    unscreened_.clear();
    for (std::size_t i = job.first_screen; i < job.ladder.size() && !rows_.empty(); ++i) {
      screen(job, *job.ladder[i]);
      const bool pays = left_.size() <= rows_.size() / 2 || rows_.size() <= kTileRows;
      if (!pays && i + 1 < job.ladder.size()) job.first_screen = i + 1;
      rows_.swap(left_);
    }
    unscreened_.insert(unscreened_.end(), rows_.begin(), rows_.end());
    std::sort(unscreened_.begin(), unscreened_.end());  // so that the first bad row is met first
    for (std::size_t i = 0; i < unscreened_.size(); i += kScanRows) scan_all(job, i);
  }

  AssignStats stats;

 private:
  /// Labels the rows of rows_ that the screen can; the others go to left_ or unscreened_.
  void screen(Job& job, const Screen& screen) {
    const PackedCodebook& packed = job.codebook.packed(screen, job.threads);
    left_.clear();
    if (!packed.usable) {
      left_ = rows_;
      return;
    }
    const Centring centring = job.codebook.centring(screen);
    block_.steps = packed.steps;
    std::size_t encoded = 0;
    for (const std::int64_t row : rows_) {
      const float* x = load_row(job.features, row, converted_.get());
      if (screen.encode_row(x, centring, static_cast<std::int64_t>(encoded), block_))
        rows_[encoded++] = row;
      else
        unscreened_.push_back(row);
    }
    rows_.resize(encoded);
    screen.scan(packed, static_cast<std::int64_t>(encoded), block_);
    for (std::size_t i = 0; i < encoded; ++i)
      settle(job, screen, static_cast<std::int64_t>(i), rows_[i]);
  }

  /// Decides one row among its candidates.
  void settle(Job& job, const Screen& screen, std::int64_t slot, std::int64_t row) {
    std::int32_t count = block_.num_candidates[slot];
    if (count == RowBlock::kOverflow) {
      ++stats.deferred;
      left_.push_back(row);
      return;
    }
    const float* low = block_.low.get() + slot * kMaxCandidates;
    std::int32_t* candidates = block_.candidates.get() + slot * kMaxCandidates;
    std::int32_t kept = 0;
    for (std::int32_t i = 0; i < count; ++i)
      if (low[i] <= block_.threshold[slot]) candidates[kept++] = candidates[i];
    if (kept == 1) {
      ++stats.certified;
      job.ids[row] = candidates[0];
      return;
    }
    ++stats.rescored;
    stats.candidates += kept;
    const Centroids& c = job.codebook.centroids;
    Nearest nearest(load_row(job.features, row, converted_.get()), c.data, c.dims, screen.distance);
    for (std::int32_t i = 0; i < kept; ++i) nearest.offer(candidates[i]);
    job.ids[row] = nearest.label();
  }

  /// Compares up to kScanRows of unscreened_, from `begin` on, with all centroids in float64. What
  /// is not finite fits no screen, so this is where it ends up.
  void scan_all(Job& job, std::size_t begin) {
    const Centroids& c = job.codebook.centroids;
    const std::size_t end = std::min(unscreened_.size(), begin + kScanRows);
    std::vector<Nearest> nearest;
    for (std::size_t i = begin; i < end; ++i) {
      float* buffer = converted_.get() + static_cast<std::int64_t>(i - begin) * c.dims;
      const float* x = load_row(job.features, unscreened_[i], buffer);
      if (!all_finite(x, c.dims)) return job.bad_row.offer(unscreened_[i]);
      nearest.emplace_back(x, c.data, c.dims, job.ladder[0]->distance);
    }
    for (std::int32_t k = 0; k < c.count; ++k)
      for (Nearest& row : nearest) row.offer(k);
    for (std::size_t i = begin; i < end; ++i) job.ids[unscreened_[i]] = nearest[i - begin].label();
    stats.scanned += static_cast<std::int64_t>(end - begin);
  }

  RowBlock block_;
  AlignedArray<float> converted_;                       // [kScanRows, dims]
  std::vector<std::int64_t> rows_, left_, unscreened_;  // row numbers within the batch
};

/// Rows per block: long rows make smaller blocks, few rows are shared evenly; whole tiles.
std::int64_t rows_per_block(const Features& f, int threads) {
  const auto tiles = [](std::int64_t rows) {
    return (rows + kTileRows - 1) / kTileRows * kTileRows;
  };
  const std::int64_t most =
      std::clamp<std::int64_t>(kBlockFloats / f.dims / kTileRows * kTileRows, 24, kBlockRows);
  const std::int64_t blocks = (f.num_frames + most - 1) / most;
  const std::int64_t even = (blocks + threads - 1) / threads * threads;
  return blocks > 8 * threads ? most : std::min(most, tiles((f.num_frames + even - 1) / even));
}

}  // namespace

Status assign(const Features& f, const Codebook& codebook, std::int32_t* ids,
              const AssignOptions& options) {
  if (f.dims != codebook.centroids().dims) return {StatusCode::bad_shape, f.dims};
  if (!codebook.status().ok()) return codebook.status();
  if (f.num_frames == 0) return {};
  const std::int64_t most_threads = (f.num_frames + kTileRows - 1) / kTileRows;
  const int wanted = options.threads > 0 ? options.threads : default_threads();
  const int threads = static_cast<int>(std::min<std::int64_t>(wanted, most_threads));
  Job job{.features = f,
          .codebook = codebook.data(),
          .ladder = screens_of(options.isa.value_or(available_isas().back())),
          .ids = ids,
          .threads = threads,
          .block_rows = rows_per_block(f, threads),
          .bad_row = {}};
  const std::int64_t blocks = (f.num_frames + job.block_rows - 1) / job.block_rows;
  std::vector<Worker> workers;
  for (std::int64_t t = 0; t < std::min<std::int64_t>(threads, blocks); ++t)
    workers.emplace_back(job);
  job.codebook.packed(*job.ladder[0], threads);
  parallel_for(threads, blocks, [&](int worker, std::int64_t block) {
    const std::int64_t first = block * job.block_rows;
    if (first > job.bad_row.index()) return;
    workers[static_cast<std::size_t>(worker)].assign(
        job, first, std::min(job.block_rows, f.num_frames - first));
  });
  if (options.stats != nullptr) {
    for (const Worker& worker : workers) {
      options.stats->certified += worker.stats.certified;
      options.stats->rescored += worker.stats.rescored;
      options.stats->candidates += worker.stats.candidates;
      options.stats->deferred += worker.stats.deferred;
      options.stats->scanned += worker.stats.scanned;
    }
  }
  if (job.bad_row.any()) return {StatusCode::non_finite_feature, job.bad_row.index()};
  return {};
}

}  // namespace spire_dsu::cpu
