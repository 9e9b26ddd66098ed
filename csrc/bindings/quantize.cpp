#include "spire_dsu/quantize.h"

#include <pybind11/stl.h>

#include "arrays.h"
#include "codebook.h"

namespace spire_dsu::bindings {

static Ragged quantize(const py::array& features, const Array<std::int64_t>& row_splits,
                       const Codebook& codebook, int threads,
                       const std::optional<std::string>& isa) {
  const Features f = as_features(features);
  check_width(f, codebook.native());
  const RowSplits rows = as_row_splits(row_splits, f.num_frames);
  const cpu::AssignOptions options = as_options(threads, isa);
  Array<std::int32_t> units(f.num_frames), durations(f.num_frames);
  Array<std::int64_t> unit_splits(row_splits.size());
  std::int32_t *to_units = units.mutable_data(), *to_durations = durations.mutable_data();
  std::int64_t* to_splits = unit_splits.mutable_data();
  Status status;
  {
    const py::gil_scoped_release release;
    status = cpu::quantize(f, rows, codebook.native(), to_units, to_durations, to_splits, options);
  }
  raise_unless_ok(status);
  return ragged_result(units, durations, unit_splits);
}

void register_quantize(py::module_& m) {
  m.def("quantize", &quantize, py::arg("features"), py::arg("row_splits").noconvert(),
        py::arg("codebook"), py::kw_only(), py::arg("threads") = 0, py::arg("isa") = py::none(),
        "assign and run_length as one: (units, durations, row_splits).");
}

}  // namespace spire_dsu::bindings
