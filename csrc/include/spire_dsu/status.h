// What a kernel call can report. Kernels never throw and never print: the bindings turn a Status
// into an exception.
#pragma once

#include <cstdint>

namespace spire_dsu {

enum class StatusCode : std::uint8_t {
  ok,
  non_finite_feature,   // index: the first row that holds NaN or infinity
  non_finite_centroid,  // index: the first centroid that holds NaN or infinity
  bad_shape,            // index: the size at fault
  bad_row_splits,       // index: the first entry at fault
  run_too_long,         // index: the row with a run over 2^31 - 1 frames
  unsupported,          // index: unused; this build or machine cannot do what was asked for
  device_error,         // index: the cudaError_t
};

struct [[nodiscard]] Status {
  StatusCode code = StatusCode::ok;
  std::int64_t index = -1;

  bool ok() const { return code == StatusCode::ok; }
};

}  // namespace spire_dsu
