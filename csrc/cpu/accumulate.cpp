#include "spire_dsu/accumulate.h"

#include <algorithm>
#include <vector>

#include "detail/aligned.h"
#include "detail/load.h"
#include "detail/parallel.h"

namespace spire_dsu::cpu {
namespace {

/// Rows that join (row) or leave (~row) a cluster, cluster by cluster, in the order of the rows.
struct Moves {
  std::vector<std::int64_t> starts;  // [K + 1]
  std::vector<std::int64_t> rows;
};

/// Sorted by counting: two passes over the labels.
Moves moves_of(std::int64_t num_rows, const std::int32_t* before, const std::int32_t* after,
               std::int64_t num_clusters) {
  Moves moves{std::vector<std::int64_t>(static_cast<std::size_t>(num_clusters) + 1), {}};
  const auto visit = [&](const auto& move) {
    for (std::int64_t i = 0; i < num_rows; ++i) {
      if (before[i] == after[i]) continue;
      if (before[i] >= 0) move(before[i], ~i);
      if (after[i] >= 0) move(after[i], i);
    }
  };
  visit([&](std::int32_t k, std::int64_t) { ++moves.starts[static_cast<std::size_t>(k) + 1]; });
  for (std::size_t k = 1; k < moves.starts.size(); ++k) moves.starts[k] += moves.starts[k - 1];
  moves.rows.resize(static_cast<std::size_t>(moves.starts.back()));
  std::vector<std::int64_t> next(moves.starts.begin(), moves.starts.end() - 1);
  visit([&](std::int32_t k, std::int64_t row) {
    moves.rows[static_cast<std::size_t>(next[static_cast<std::size_t>(k)]++)] = row;
  });
  return moves;
}

void update(const Features& f, const Clusters& clusters, const Moves& moves, std::int64_t k,
            float* buffer) {
  double* sum = clusters.sums + k * clusters.dims;
  const auto cluster = static_cast<std::size_t>(k);
  for (std::int64_t at = moves.starts[cluster]; at < moves.starts[cluster + 1]; ++at) {
    const std::int64_t row = moves.rows[static_cast<std::size_t>(at)];
    const float* x = load_row(f, row < 0 ? ~row : row, buffer);
    const double sign = row < 0 ? -1.0 : 1.0;
    for (std::int64_t d = 0; d < f.dims; ++d) sum[d] += sign * static_cast<double>(x[d]);
    clusters.counts[k] += row < 0 ? -1 : 1;
  }
  // Rows that come and go may leave the dust of their roundings.
  if (clusters.counts[k] == 0) std::fill_n(sum, clusters.dims, 0.0);
}

}  // namespace

Status accumulate(const Features& f, const std::int32_t* before, const std::int32_t* after,
                  const Clusters& clusters, int threads) {
  if (f.dims != clusters.dims) return {StatusCode::bad_shape, f.dims};
  const auto good = [&](std::int32_t label) { return label >= -1 && label < clusters.count; };
  for (std::int64_t i = 0; i < f.num_frames; ++i)
    if (!good(before[i]) || !good(after[i])) return {StatusCode::bad_shape, i};
  const Moves moves = moves_of(f.num_frames, before, after, clusters.count);
  if (moves.rows.empty()) return {};
  const int workers = threads > 0 ? threads : default_threads();
  std::vector<AlignedArray<float>> buffers;
  for (int worker = 0; worker < workers; ++worker) buffers.emplace_back(f.dims);
  parallel_for(workers, clusters.count, [&](int worker, std::int64_t k) {
    update(f, clusters, moves, k, buffers[static_cast<std::size_t>(worker)].get());
  });
  return {};
}

}  // namespace spire_dsu::cpu
