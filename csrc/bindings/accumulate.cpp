#include "spire_dsu/accumulate.h"

#include "arrays.h"

namespace spire_dsu::bindings {

static void accumulate(const py::array& features, const Array<std::int32_t>& before,
                       const Array<std::int32_t>& after, Array<double>& sums,
                       Array<std::int64_t>& counts, int threads) {
  const Features f = as_features(features);
  check_labels(before, f.num_frames);
  check_labels(after, f.num_frames);
  if (sums.ndim() != 2 || counts.ndim() != 1 || counts.size() != sums.shape(0))
    raise_input_error("sums must be [K, D] and counts [K]");
  const Clusters clusters{sums.mutable_data(), counts.mutable_data(), sums.shape(0), sums.shape(1)};
  const std::int32_t *from = before.data(), *to = after.data();
  Status status;
  {
    const py::gil_scoped_release release;
    status = cpu::accumulate(f, from, to, clusters, threads);
  }
  raise_unless_ok(status);
}

void register_accumulate(py::module_& m) {
  m.def("accumulate", &accumulate, py::arg("features"), py::arg("before").noconvert(),
        py::arg("after").noconvert(), py::arg("sums").noconvert(), py::arg("counts").noconvert(),
        py::kw_only(), py::arg("threads") = 0,
        "Move rows between clusters: sums [K, D] and counts [K] are changed in place.");
}

}  // namespace spire_dsu::bindings
