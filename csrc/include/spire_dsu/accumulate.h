// Sums and numbers of the rows of each cluster, kept up to date as rows change their cluster:
// the update step of k-means.
#pragma once

#include <cstdint>

#include "spire_dsu/assign.h"
#include "spire_dsu/status.h"

namespace spire_dsu {

/// What k-means knows of its clusters. All memory is the caller's.
struct Clusters {
  double* sums = nullptr;          // [K, D]: of the rows of each cluster
  std::int64_t* counts = nullptr;  // [K]: of those rows
  std::int64_t count = 0;          // K
  std::int64_t dims = 0;           // D
};

namespace cpu {

/// Takes row i out of cluster before[i] and adds it to cluster after[i]; -1 is no cluster. A row
/// whose cluster stays costs nothing. A cluster that loses its last row has the sum 0 exactly.
///
/// Each cluster's rows are added by one thread in their order, in float64: the bits of the sums do
/// not depend on `threads` (0: default_threads()).
///
/// bad_shape: the widths differ, or index is the first row with a label outside of [-1, K).
Status accumulate(const Features& features, const std::int32_t* before, const std::int32_t* after,
                  const Clusters& clusters, int threads = 0);

}  // namespace cpu
}  // namespace spire_dsu
