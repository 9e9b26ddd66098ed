// Nearest centroid of every frame: ids[i] = argmin over k of |x_i - c_k|^2, the lowest k on a tie.
//
// "Nearest" is meant in real-number arithmetic on the values given: float16 and bfloat16 features
// are taken for exactly what they hold. Labels therefore depend on nothing but the numbers: not on
// the batch, the threads, the instruction set or the device.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "spire_dsu/status.h"

namespace spire_dsu {

enum class DType : std::uint8_t { float32, float16, bfloat16 };

/// Frames in memory: row i starts at element i * stride of `data`; the D values of a row lie side
/// by side.
struct Features {
  const void* data = nullptr;
  DType dtype = DType::float32;
  std::int64_t num_frames = 0;  // N >= 0
  std::int64_t dims = 0;        // D in [1, kMaxDims]
  std::int64_t stride = 0;      // elements from one row to the next
};

/// float32 [K, D], contiguous.
struct Centroids {
  const float* data = nullptr;
  std::int64_t count = 0;  // K in [1, kMaxCentroids]
  std::int64_t dims = 0;   // D in [1, kMaxDims]
};

constexpr std::int64_t kMaxDims = 8192;
constexpr std::int64_t kMaxCentroids = 65535;

/// Sizes only: the values are checked where they are read.
inline Status check_shapes(const Centroids& c) {
  if (c.count < 1 || c.count > kMaxCentroids) return {StatusCode::bad_shape, c.count};
  if (c.dims < 1 || c.dims > kMaxDims) return {StatusCode::bad_shape, c.dims};
  return {};
}

namespace cpu {

/// Instruction sets that `assign` has code for.
enum class Isa : std::uint8_t { portable, avx2, avx512f, avx512_bf16, avx512_vnni };

const char* isa_name(Isa isa);

/// What this build and this processor can run, the widest last.
std::vector<Isa> available_isas();

/// Centroids made ready for `assign`: centred, and packed for an instruction set when that set is
/// first used. Borrows the centroids: they must outlive it and not change. Safe to use from many
/// threads.
class Codebook {
 public:
  /// Shapes must have passed `check_shapes`. `threads` 0 means `default_threads()`.
  explicit Codebook(const Centroids& centroids, int threads = 0);
  ~Codebook();
  Codebook(const Codebook&) = delete;
  Codebook& operator=(const Codebook&) = delete;

  /// ok, or non_finite_centroid.
  Status status() const;
  const Centroids& centroids() const;

  struct Data;
  Data& data() const { return *data_; }

 private:
  std::unique_ptr<Data> data_;
};

/// OMP_NUM_THREADS where it is set to a positive number, otherwise the processors that this process
/// may run on.
int default_threads();

/// What the screens did, for tests and benchmarks; labels never depend on it.
struct AssignStats {
  std::int64_t certified = 0;   // rows that a screen decided alone
  std::int64_t rescored = 0;    // rows whose candidates were compared in float64
  std::int64_t candidates = 0;  // candidates compared in float64
  std::int64_t deferred =
      0;  // times a row had too many candidates for a screen and went to the next
  std::int64_t scanned = 0;  // rows compared with all centroids in float64
};

struct AssignOptions {
  int threads = 0;               // 0: default_threads()
  std::optional<Isa> isa;        // one of available_isas(); the widest when not given
  AssignStats* stats = nullptr;  // filled when given
};

/// ids: int32 [N]. On error the contents of ids are unspecified.
/// bad_shape: the widths differ. non_finite_feature: index is the first row with NaN or infinity.
Status assign(const Features& features, const Codebook& codebook, std::int32_t* ids,
              const AssignOptions& options);

}  // namespace cpu
}  // namespace spire_dsu
