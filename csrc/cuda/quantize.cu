// quantize: assign into working memory, then merge the runs; and the same for a stream of blocks.
#include <algorithm>

#include "detail/device.h"
#include "detail/ops.h"

namespace spire_dsu::cuda {

static Status queue_quantize(const Features& features, RowSplits rows, const Codebook& codebook,
                             std::int32_t* units, std::int32_t* durations,
                             std::int64_t* unit_splits, Faults* faults,
                             const AssignOptions& options, cudaStream_t stream) {
  Buffer<std::int32_t> ids;
  SPIRE_TRY(ids.allocate(std::max<std::int64_t>(1, features.num_frames), stream));
  const Status status = queue_assign(features, codebook, ids.get(), faults, options, stream);
  if (!status.ok()) return status;
  return queue_run_length(ids.get(), features.num_frames, rows, units, durations, unit_splits,
                          faults, stream);
}

Status quantize(const Features& features, RowSplits rows, const Codebook& codebook,
                std::int32_t* units, std::int32_t* durations, std::int64_t* unit_splits,
                Faults* faults, const AssignOptions& options, Stream stream) {
  SPIRE_TRY(clear_faults(faults, stream));
  return queue_quantize(features, rows, codebook, units, durations, unit_splits, faults, options,
                        stream);
}

/// Memory and events of one block in flight. The results lie in one piece, so that one copy brings
/// all.
struct StreamingQuantizer::Slot {
  DeviceMemory device;
  HostMemory host;
  std::size_t capacity = 0;
  std::size_t units = 0, durations = 0, unit_splits = 0, faults = 0, row_splits = 0;
  std::int64_t num_rows = 0;
  cudaEvent_t computed = nullptr, copied = nullptr;

  ~Slot() {
    if (copied == nullptr) return;
    cudaEventSynchronize(copied);
    cudaEventDestroy(computed);
    cudaEventDestroy(copied);
  }

  cudaError_t make_events() {
    if (copied != nullptr) return cudaSuccess;
    const cudaError_t error = cudaEventCreateWithFlags(&computed, cudaEventDisableTiming);
    return error != cudaSuccess ? error : cudaEventCreateWithFlags(&copied, cudaEventDisableTiming);
  }

  /// Room for a block; the former one must have been copied.
  cudaError_t make_room(std::int64_t num_frames, std::int64_t rows, cudaStream_t stream) {
    Layout layout;
    units = layout.take<std::int32_t>(num_frames);
    durations = layout.take<std::int32_t>(num_frames);
    unit_splits = layout.take<std::int64_t>(rows + 1);
    faults = layout.take<Faults>(1);
    row_splits = layout.take<std::int64_t>(rows + 1);
    num_rows = rows;
    if (layout.size <= capacity) return cudaSuccess;
    capacity = 0;
    if (const cudaError_t error = device.allocate(layout.size); error != cudaSuccess) return error;
    if (const cudaError_t error = host.allocate(layout.size); error != cudaSuccess) return error;
    capacity = layout.size;
    return cudaMemsetAsync(device.get(), 0, capacity,
                           stream);  // all of it is copied, filled or not
  }

  template <class T>
  T* on_device(std::size_t place) const {
    return reinterpret_cast<T*>(device.get() + place);
  }
  template <class T>
  T* on_host(std::size_t place) const {
    return reinterpret_cast<T*>(host.get() + place);
  }
};

StreamingQuantizer::StreamingQuantizer(const Codebook& codebook) : codebook_(codebook) {}

StreamingQuantizer::~StreamingQuantizer() {
  for (auto& slot : slots_) slot.reset();
  if (copies_ != nullptr) cudaStreamDestroy(copies_);
}

Status StreamingQuantizer::push(const Features& features, RowSplits rows,
                                const AssignOptions& options, Stream stream) {
  if (copies_ == nullptr) SPIRE_TRY(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking));
  std::unique_ptr<Slot>& place = slots_[pushed_ % 2];
  if (place == nullptr) place = std::make_unique<Slot>();
  Slot& slot = *place;
  SPIRE_TRY(slot.make_events());
  SPIRE_TRY(cudaEventSynchronize(slot.copied));
  SPIRE_TRY(slot.make_room(features.num_frames, rows.num_rows, stream));
  std::copy_n(rows.data, rows.num_rows + 1, slot.on_host<std::int64_t>(slot.row_splits));
  auto* const row_splits = slot.on_device<std::int64_t>(slot.row_splits);
  SPIRE_TRY(cudaMemcpyAsync(row_splits, slot.on_host<std::int64_t>(slot.row_splits),
                            static_cast<std::size_t>(rows.num_rows + 1) * sizeof(std::int64_t),
                            cudaMemcpyHostToDevice, stream));
  auto* const faults = slot.on_device<Faults>(slot.faults);
  SPIRE_TRY(clear_faults(faults, stream));
  const Status status = queue_quantize(
      features, {row_splits, rows.num_rows}, codebook_, slot.on_device<std::int32_t>(slot.units),
      slot.on_device<std::int32_t>(slot.durations), slot.on_device<std::int64_t>(slot.unit_splits),
      faults, options, stream);
  if (!status.ok()) return status;
  SPIRE_TRY(cudaEventRecord(slot.computed, stream));
  SPIRE_TRY(cudaStreamWaitEvent(copies_, slot.computed, 0));
  SPIRE_TRY(cudaMemcpyAsync(slot.host.get(), slot.device.get(), slot.row_splits,
                            cudaMemcpyDeviceToHost, copies_));
  SPIRE_TRY(cudaEventRecord(slot.copied, copies_));
  ++pushed_;
  return {};
}

Status StreamingQuantizer::wait(int age, Block* block) {
  if (age < 0 || age > 1 || age >= pushed_) return {StatusCode::bad_shape, age};
  const Slot& slot = *slots_[(pushed_ - 1 - age) % 2];
  SPIRE_TRY(cudaEventSynchronize(slot.copied));
  *block = {slot.on_host<std::int32_t>(slot.units), slot.on_host<std::int32_t>(slot.durations),
            slot.on_host<std::int64_t>(slot.unit_splits), slot.num_rows};
  return status_of(*slot.on_host<Faults>(slot.faults));
}

}  // namespace spire_dsu::cuda
