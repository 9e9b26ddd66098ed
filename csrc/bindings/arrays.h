// NumPy arrays as the raw pointers and sizes that the kernels take. Checks only: nothing is
// converted here.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include <optional>
#include <string>

#include "errors.h"
#include "spire_dsu/assign.h"
#include "spire_dsu/ragged.h"

namespace spire_dsu::bindings {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

/// 2-D float32, float16, or uint16 that holds bfloat16 bits; the values of a row side by side.
Features as_features(const py::array& features);

/// 1-D, valid for `num_items`.
RowSplits as_row_splits(const Array<std::int64_t>& row_splits, std::int64_t num_items);

using Ragged = py::typing::Tuple<Array<std::int32_t>, Array<std::int32_t>, Array<std::int64_t>>;

/// (units, durations, row_splits), trimmed to what the kernel filled.
Ragged ragged_result(const Array<std::int32_t>& units, const Array<std::int32_t>& durations,
                     const Array<std::int64_t>& row_splits);

/// 1-D, one label for each frame.
void check_labels(const Array<std::int32_t>& labels, std::int64_t num_frames);

cpu::AssignOptions as_options(int threads, const std::optional<std::string>& isa);

void register_assign(py::module_& m);
void register_run_length(py::module_& m);
void register_quantize(py::module_& m);
void register_accumulate(py::module_& m);
void register_distances(py::module_& m);

}  // namespace spire_dsu::bindings
