#include "arrays.h"

#include <cstdint>

namespace spire_dsu::bindings {

Features as_features(const py::array& features) {
  if (features.ndim() != 2)
    raise_input_error("features must be 2-D [T, D], got " + std::to_string(features.ndim()) +
                      " dimensions");
  Features f;
  if (features.dtype().equal(py::dtype::of<float>())) {
    f.dtype = DType::float32;
  } else if (features.dtype().equal(py::dtype("float16"))) {
    f.dtype = DType::float16;
  } else if (features.dtype().equal(py::dtype::of<std::uint16_t>())) {
    f.dtype = DType::bfloat16;
  } else {
    raise_input_error("features must be float32, float16 or bfloat16 (as uint16), got " +
                      py::str(features.dtype()).cast<std::string>());
  }
  f.data = features.data();
  f.num_frames = features.shape(0);
  f.dims = features.shape(1);
  const auto size = static_cast<std::uintptr_t>(features.itemsize());
  const bool dense = f.dims <= 1 || features.strides(1) == features.itemsize();
  const bool aligned = features.strides(0) % features.itemsize() == 0 &&
                       reinterpret_cast<std::uintptr_t>(f.data) % size == 0;
  if (features.size() > 0 && !(dense && aligned))
    raise_input_error("the values of a row of features must lie side by side, aligned");
  f.stride = features.strides(0) / features.itemsize();
  return f;
}

RowSplits as_row_splits(const Array<std::int64_t>& row_splits, std::int64_t num_items) {
  if (row_splits.ndim() != 1 || row_splits.size() < 1)
    raise_input_error("row_splits must be 1-D with at least one entry, got " +
                      std::to_string(row_splits.ndim()) + " dimensions and " +
                      std::to_string(row_splits.size()) + " entries");
  const RowSplits rows{row_splits.data(), row_splits.size() - 1};
  const Status status = check_row_splits(rows, num_items);
  if (!status.ok())
    raise_input_error("row_splits must start at 0, never fall and end at the number of frames, " +
                      std::to_string(num_items) + "; entry " + std::to_string(status.index) +
                      " is " + std::to_string(rows.data[status.index]));
  return rows;
}

static Array<std::int32_t> first(const Array<std::int32_t>& array, std::int64_t size) {
  return Array<std::int32_t>(size, array.data());
}

Ragged ragged_result(const Array<std::int32_t>& units, const Array<std::int32_t>& durations,
                     const Array<std::int64_t>& row_splits) {
  const std::int64_t size = row_splits.at(row_splits.size() - 1);
  return py::make_tuple(first(units, size), first(durations, size), row_splits);
}

cpu::AssignOptions as_options(int threads, const std::optional<std::string>& isa) {
  if (threads < 0)
    raise_input_error("threads must not be negative, got " + std::to_string(threads));
  cpu::AssignOptions options{.threads = threads, .isa = std::nullopt, .stats = nullptr};
  if (!isa) return options;
  for (const cpu::Isa each : cpu::available_isas()) {
    if (*isa == cpu::isa_name(each)) {
      options.isa = each;
      return options;
    }
  }
  raise_input_error("instruction set '" + *isa + "' is not available here");
}

}  // namespace spire_dsu::bindings
