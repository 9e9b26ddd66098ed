// The prepared codebook: what all screens share, and one packed copy for each screen that was used.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "detail/screen.h"
#include "spire_dsu/assign.h"

namespace spire_dsu::cpu {

/// The screens of an instruction set, the coarsest and fastest first.
std::vector<const Screen*> screens_of(Isa isa);

struct Codebook::Data {
  Centroids centroids;
  Status status;
  std::vector<float> mean;
  std::vector<std::int32_t> wide;

  Centring centring(const Screen& screen) const;

  /// Packed when first asked for, with so many threads; other callers wait.
  const PackedCodebook& packed(const Screen& screen, int threads);

 private:
  struct Entry {
    std::once_flag once;
    PackedCodebook packed;
  };
  Entry entries_[kNumScreens];
};

}  // namespace spire_dsu::cpu
