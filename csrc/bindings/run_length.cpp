#include "spire_dsu/run_length.h"

#include "arrays.h"

namespace spire_dsu::bindings {

static Ragged run_length(const Array<std::int32_t>& ids, const Array<std::int64_t>& row_splits) {
  if (ids.ndim() != 1)
    raise_input_error("ids must be 1-D [T], got " + std::to_string(ids.ndim()) + " dimensions");
  const RowSplits rows = as_row_splits(row_splits, ids.size());
  Array<std::int32_t> units(ids.size()), durations(ids.size());
  Array<std::int64_t> unit_splits(row_splits.size());
  const std::int32_t* from = ids.data();
  std::int32_t *to_units = units.mutable_data(), *to_durations = durations.mutable_data();
  std::int64_t* to_splits = unit_splits.mutable_data();
  Status status;
  {
    const py::gil_scoped_release release;
    status = cpu::run_length(from, rows, to_units, to_durations, to_splits);
  }
  raise_unless_ok(status);
  return ragged_result(units, durations, unit_splits);
}

void register_run_length(py::module_& m) {
  m.def("run_length", &run_length, py::arg("ids").noconvert(), py::arg("row_splits").noconvert(),
        "Merge runs within rows: (units, durations, row_splits).");
}

}  // namespace spire_dsu::bindings
