// assign, run_length and quantize on a CUDA device: frames in device memory in, units in device
// memory out, bit for bit those of the CPU.
//
// Every call only queues work on the caller's stream and returns; nothing here waits for the device
// except where it says so. Arrays are device memory, of the device that is current. What the data
// itself makes go wrong is found by the device and reported in a `Faults` that the caller reads
// once the stream got there. All functions may be called from many threads at once.
#pragma once

#include <cstdint>
#include <memory>

#include "spire_dsu/assign.h"
#include "spire_dsu/ragged.h"
#include "spire_dsu/status.h"

struct CUstream_st;  // cudaStream_t without the CUDA headers

namespace spire_dsu::cuda {

using Stream = CUstream_st*;

/// Which kernel multiplies frames and centroids. All give the same labels.
enum class Screen : std::uint8_t {
  automatic,    // by the device and the number of frames
  portable,     // mma.sync, any device from compute capability 8.0
  hopper,       // wgmma fed by TMA, compute capability 9.0
  hopper_pair,  // the same in clusters of two that share each tile of centroids
};

/// What went wrong in the data, in device memory. Each field is an index, or kNoFault.
struct Faults {
  std::int64_t feature_row;  // the first row of features that holds NaN or infinity
  std::int64_t split_entry;  // the first entry of the row splits that is out of order
  std::int64_t run_row;      // the first row with a run of more than 2^31 - 1 frames
};
constexpr std::int64_t kNoFault = 0x7F7F7F7F7F7F7F7F;  // what cudaMemset writes byte by byte

/// Host copy of a Faults -> what the CPU functions would have returned.
inline Status status_of(const Faults& faults) {
  if (faults.split_entry != kNoFault) return {StatusCode::bad_row_splits, faults.split_entry};
  if (faults.feature_row != kNoFault) return {StatusCode::non_finite_feature, faults.feature_row};
  if (faults.run_row != kNoFault) return {StatusCode::run_too_long, faults.run_row};
  return {};
}

/// What became of the rows, for tests and benchmarks; in device memory, added to by each call.
struct Counts {
  unsigned long long rescored;    // rows whose candidates were compared in float64
  unsigned long long candidates;  // candidates compared in float64
  unsigned long long scanned;     // rows compared with all centroids in float64
};

struct AssignOptions {
  bool exact = true;  // false: the nearest by the float16 screen alone
  Screen screen = Screen::automatic;
  std::int64_t workspace = 256 << 20;  // bytes to stay under, by taking fewer rows at a time
  Counts* counts = nullptr;            // device memory; filled when given
};

/// Centroids made ready for one device: a copy, and a centred, scaled, packed float16 form of it.
class Codebook {
 public:
  /// `centroids` may lie in device or host memory and are free to change once this returns: it
  /// waits for `stream`. Shapes must have passed `check_shapes`. Returns ok or non_finite_centroid.
  static Status create(const Centroids& centroids, Stream stream,
                       std::unique_ptr<Codebook>* codebook);
  /// Waits for the device: calls that still use the centroids finish first.
  ~Codebook();
  Codebook(const Codebook&) = delete;
  Codebook& operator=(const Codebook&) = delete;

  std::int64_t count() const;
  std::int64_t dims() const;

  struct Data;
  const Data& data() const { return *data_; }

 private:
  Codebook();
  std::unique_ptr<Data> data_;
};

/// ids: int32 [N]; -1 in rows that hold NaN or infinity.
Status assign(const Features& features, const Codebook& codebook, std::int32_t* ids, Faults* faults,
              const AssignOptions& options, Stream stream);

/// Buffers as in run_length.h, but `units` must not be `ids`, and `rows.data` is device memory.
Status run_length(const std::int32_t* ids, std::int64_t num_frames, RowSplits rows,
                  std::int32_t* units, std::int32_t* durations, std::int64_t* unit_splits,
                  Faults* faults, Stream stream);

/// Both, one after the other. Buffers as in run_length.
Status quantize(const Features& features, RowSplits rows, const Codebook& codebook,
                std::int32_t* units, std::int32_t* durations, std::int64_t* unit_splits,
                Faults* faults, const AssignOptions& options, Stream stream);

/// quantize for one block after another, with results in host memory: those of a block are copied
/// back while the next one is computed. For one thread and one stream at a time.
class StreamingQuantizer {
 public:
  /// Results of one block, in pinned host memory, valid until the second `push` after it.
  struct Block {
    const std::int32_t* units;
    const std::int32_t* durations;
    const std::int64_t* unit_splits;  // [num_rows + 1]
    std::int64_t num_rows;
  };

  /// `codebook` must outlive this.
  explicit StreamingQuantizer(const Codebook& codebook);
  ~StreamingQuantizer();
  StreamingQuantizer(const StreamingQuantizer&) = delete;
  StreamingQuantizer& operator=(const StreamingQuantizer&) = delete;

  /// Queues a block. `rows.data` is host memory, must have passed check_row_splits, and is copied;
  /// the features must stay until the stream got there.
  Status push(const Features& features, RowSplits rows, const AssignOptions& options,
              Stream stream);

  /// Waits for the block pushed last but `age` (0 or 1); its faults become the status.
  Status wait(int age, Block* block);

 private:
  struct Slot;
  const Codebook& codebook_;
  std::unique_ptr<Slot> slots_[2];
  Stream copies_ = nullptr;
  std::int64_t pushed_ = 0;
};

}  // namespace spire_dsu::cuda
