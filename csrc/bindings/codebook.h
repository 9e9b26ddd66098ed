// The prepared codebook as Python holds it: the native one, and the array that it reads.
#pragma once

#include <memory>
#include <utility>

#include "arrays.h"

namespace spire_dsu::bindings {

class Codebook {
 public:
  /// With copy=false the array is borrowed and must not change while this lives.
  Codebook(const Array<float>& centroids, bool copy, int threads);

  const cpu::Codebook& native() const { return *native_; }
  std::pair<std::int64_t, std::int64_t> shape() const {
    return {native_->centroids().count, native_->centroids().dims};
  }

 private:
  Array<float> array_;
  std::unique_ptr<cpu::Codebook> native_;
};

/// Raises InputError unless features and centroids are equally wide.
void check_width(const Features& features, const cpu::Codebook& codebook);

}  // namespace spire_dsu::bindings
