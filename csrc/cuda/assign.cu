// assign: prepare rows -> screen them -> settle what the screen left open, a chunk of rows at a
// time.
#include <algorithm>
#include <type_traits>

#include "detail/codebook.h"
#include "detail/device.h"
#include "detail/ops.h"
#include "detail/plan.h"
#include "detail/prepare.cuh"
#include "detail/settle.cuh"

namespace spire_dsu::cuda {

namespace {

/// What one call needs to know, beside the chunk.
struct Call {
  const Features& features;
  const Codebook::Data& codebook;
  Faults* faults;
  AssignOptions options;
  cudaStream_t stream;
  Device device;
  bool convert;  // the screen cannot read the rows where they lie
  Screen screen;
  int splits;
};

/// Working memory of one call, used again by each chunk.
struct Workspace {
  Buffer<RowBound> bounds;
  Buffer<RowHead> heads;
  Buffer<Candidate> candidates;
  Buffer<__half> converted;
};

struct Chunk {
  std::int64_t first, count;
};

/// Every row starts at a multiple of 16 bytes, and none reaches into the next.
bool aligned(const Features& f) {
  const std::int64_t size = f.dtype == DType::float32 ? 4 : 2;
  return reinterpret_cast<std::uintptr_t>(f.data) % 16 == 0 && f.stride * size % 16 == 0 &&
         f.stride >= f.dims;
}

Screen choose_screen(const Device& device, std::int64_t row_tiles, Screen wanted) {
  if (wanted != Screen::automatic) return wanted;
  if (device.major != 9 || device.minor != 0) return Screen::portable;
  return row_tiles >= 2 * device.multiprocessors ? Screen::hopper_pair : Screen::hopper;
}

template <class T>
const T* rows_of(const Features& f, std::int64_t first) {
  return static_cast<const T*>(f.data) + first * f.stride;
}

template <class T, int kVector>
cudaError_t prepare(const Call& call, Workspace& work, Chunk chunk) {
  const Codebook::Data& codebook = call.codebook;
  const PrepareJob<T> job = {rows_of<T>(call.features, chunk.first),
                             call.features.stride,
                             chunk.count,
                             chunk.first,
                             codebook.dims,
                             codebook.padded_dims,
                             codebook.mean,
                             codebook.bounds,
                             call.options.exact,
                             work.converted.get(),
                             work.bounds.get(),
                             call.faults};
  auto kernel = &prepare_rows<T, kVector, true>;
  if constexpr (std::is_same_v<T, __half>) {
    if (!call.convert) kernel = &prepare_rows<T, kVector, false>;
  }
  return launch(kernel, divide_up<std::int64_t>(chunk.count, kRowWarps), dim3(32 * kRowWarps),
                call.stream, job);
}

template <class T>
cudaError_t prepare(const Call& call, Workspace& work, Chunk chunk) {
  constexpr int kVector = 16 / sizeof(T);
  if (aligned(call.features) && call.codebook.dims % kVector == 0)
    return prepare<T, kVector>(call, work, chunk);
  return prepare<T, 1>(call, work, chunk);
}

cudaError_t screen(const Call& call, Workspace& work, Chunk chunk) {
  const Codebook::Data& codebook = call.codebook;
  ScreenJob job = {};
  job.rows = call.convert ? work.converted.get() : rows_of<__half>(call.features, chunk.first);
  job.row_stride = call.convert ? codebook.padded_dims : call.features.stride;
  job.num_rows = chunk.count;
  job.dims = call.convert ? codebook.padded_dims : codebook.dims;
  job.padded_dims = codebook.padded_dims;
  job.centroids = codebook.packed;
  job.num_centroids = codebook.count;
  job.padded_centroids = codebook.padded_count;
  job.heights = codebook.heights[call.convert ? 0 : 1];
  job.bounds = work.bounds.get();
  job.splits = call.splits;
  job.heads = work.heads.get();
  job.candidates = work.candidates.get();
  const int workers = call.device.multiprocessors;
  if (call.screen == Screen::portable) return screen_portable(job, 2 * workers, call.stream);
  return screen_hopper(job, call.screen == Screen::hopper_pair ? 2 : 1, workers, call.stream);
}

template <class T>
cudaError_t settle(const Call& call, Workspace& work, Chunk chunk, std::int32_t* ids) {
  const SettleJob<T> job = {rows_of<T>(call.features, chunk.first),
                            call.features.stride,
                            chunk.count,
                            call.codebook.dims,
                            call.codebook.centroids,
                            call.codebook.count,
                            work.bounds.get(),
                            call.splits,
                            work.heads.get(),
                            work.candidates.get(),
                            ids + chunk.first,
                            call.options.counts};
  // A warp per row where rows are few, up to a thread per row where they fill the device.
  const std::int64_t share = chunk.count / (4 * call.device.multiprocessors);
  const int rows = static_cast<int>(std::clamp<std::int64_t>(share, kSettleWarps, kSettleThreads));
  return launch(&settle_rows<T>, divide_up<std::int64_t>(chunk.count, rows), dim3(kSettleThreads),
                call.stream, job, rows);
}

template <class T>
cudaError_t assign_chunks(Call call, std::int32_t* ids) {
  const std::int64_t num_rows = call.features.num_frames;
  const bool portable = call.screen == Screen::portable;
  const int workers = call.device.multiprocessors * (portable ? 2 : 1);
  const int cluster = call.screen == Screen::hopper_pair ? 2 : 1;
  const int tiles = divide_up(call.codebook.count, portable ? kPortableTile : kHopperTile);
  const std::int64_t record = sizeof(RowHead) + kRecord * sizeof(Candidate);
  const std::int64_t per_row =
      sizeof(RowBound) + record + (call.convert ? 2 * call.codebook.padded_dims : 0);
  const std::int64_t most =
      std::min(num_rows, choose_chunk(workers, per_row, call.options.workspace));
  call.splits =
      choose_splits(divide_up<std::int64_t>(most, kTileRows * cluster), tiles, workers / cluster);
  Workspace work;
  const struct {
    cudaError_t error;
  } made[] = {{work.bounds.allocate(most, call.stream)},
              {work.heads.allocate(most * call.splits, call.stream)},
              {work.candidates.allocate(most * call.splits * kRecord, call.stream)},
              {call.convert ? work.converted.allocate(most * call.codebook.padded_dims, call.stream)
                            : cudaSuccess}};
  for (const auto& each : made)
    if (each.error != cudaSuccess) return each.error;
  for (Chunk chunk = {0, 0}; chunk.first < num_rows; chunk.first += chunk.count) {
    chunk.count = std::min(most, num_rows - chunk.first);
    cudaError_t error = prepare<T>(call, work, chunk);
    if (error == cudaSuccess) error = screen(call, work, chunk);
    if (error == cudaSuccess) error = settle<T>(call, work, chunk, ids);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

Status queue_assign(const Features& features, const Codebook& codebook, std::int32_t* ids,
                    Faults* faults, const AssignOptions& options, cudaStream_t stream) {
  if (features.dims != codebook.dims()) return {StatusCode::bad_shape, features.dims};
  if (features.num_frames == 0) return {};
  Call call = {features, codebook.data(), faults, options, stream, {}, false, options.screen, 1};
  SPIRE_TRY(current_device(&call.device));
  if (call.device.major < 8) return {StatusCode::unsupported, -1};
  const std::int64_t row_tiles = divide_up<std::int64_t>(features.num_frames, kTileRows);
  call.screen = choose_screen(call.device, row_tiles, options.screen);
  if (call.screen != Screen::portable && (call.device.major != 9 || call.device.minor != 0))
    return {StatusCode::unsupported, -1};
  call.convert = features.dtype != DType::float16 || !aligned(features);
  switch (features.dtype) {
    case DType::float32:
      SPIRE_TRY(assign_chunks<float>(call, ids));
      break;
    case DType::float16:
      SPIRE_TRY(assign_chunks<__half>(call, ids));
      break;
    case DType::bfloat16:
      SPIRE_TRY(assign_chunks<__nv_bfloat16>(call, ids));
      break;
  }
  return {};
}

Status assign(const Features& features, const Codebook& codebook, std::int32_t* ids, Faults* faults,
              const AssignOptions& options, Stream stream) {
  SPIRE_TRY(clear_faults(faults, stream));
  return queue_assign(features, codebook, ids, faults, options, stream);
}

}  // namespace spire_dsu::cuda
