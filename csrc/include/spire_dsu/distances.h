// The squared distance of every frame to the centroid that its label names.
#pragma once

#include <cstdint>

#include "spire_dsu/assign.h"
#include "spire_dsu/status.h"

namespace spire_dsu::cpu {

/// out[i] = |x_i - c_labels[i]|^2, float64 [N], in a fixed order of additions: the bits do not
/// depend on `threads` (0: default_threads()).
///
/// bad_shape: the widths differ, or index is the first row with a label outside of [0, K).
Status distances(const Features& features, const std::int32_t* labels, const Centroids& centroids,
                 double* out, int threads = 0);

}  // namespace spire_dsu::cpu
