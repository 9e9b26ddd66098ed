// The last word on a row: the nearest of some centroids, in float64 where that decides and exactly
// where it does not.
#pragma once

#include <cstdint>

#include "spire_dsu/exact.h"

namespace spire_dsu::cpu {

/// Sum of (x_d - c_d)^2 in float64, in any order of additions.
using DistanceFunction = double (*)(const float* x, const float* c, std::int64_t dims);

/// The nearest of the centroids seen so far, offered in ascending order.
class Nearest {
 public:
  Nearest(const float* x, const float* centroids, std::int64_t dims, DistanceFunction distance)
      : x_(x),
        centroids_(centroids),
        dims_(dims),
        distance_(distance),
        slack_(distance_slack(dims)) {}

  void offer(std::int32_t k) {
    const float* c = centroids_ + k * dims_;
    const double d = distance_(x_, c, dims_);
    if (label_ >= 0) {
      if (d > best_ * (1.0 + slack_)) return;
      const bool surely_nearer = d < best_ * (1.0 - slack_);
      if (!surely_nearer && compare_distances(x_, c, centroids_ + label_ * dims_, dims_) >= 0)
        return;
    }
    best_ = d;
    label_ = k;
  }

  std::int32_t label() const { return label_; }

 private:
  const float* x_;
  const float* centroids_;
  std::int64_t dims_;
  DistanceFunction distance_;
  double slack_;
  double best_ = 0.0;
  std::int32_t label_ = -1;
};

}  // namespace spire_dsu::cpu
