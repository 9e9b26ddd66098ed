#include "spire_dsu/distances.h"

#include "arrays.h"

namespace spire_dsu::bindings {

void check_labels(const Array<std::int32_t>& labels, std::int64_t num_frames) {
  if (labels.ndim() != 1 || labels.size() != num_frames)
    raise_input_error("there must be " + std::to_string(num_frames) + " labels, got " +
                      std::to_string(labels.size()));
}

static Array<double> distances(const py::array& features, const Array<std::int32_t>& labels,
                               const Array<float>& centroids, int threads) {
  const Features f = as_features(features);
  check_labels(labels, f.num_frames);
  if (centroids.ndim() != 2)
    raise_input_error("centroids must be 2-D [K, D], got " + std::to_string(centroids.ndim()) +
                      " dimensions");
  const Centroids c{centroids.data(), centroids.shape(0), centroids.shape(1)};
  Array<double> out(f.num_frames);
  const std::int32_t* ids = labels.data();
  double* to = out.mutable_data();
  Status status;
  {
    const py::gil_scoped_release release;
    status = cpu::distances(f, ids, c, to, threads);
  }
  raise_unless_ok(status);
  return out;
}

void register_distances(py::module_& m) {
  m.def("distances", &distances, py::arg("features"), py::arg("labels").noconvert(),
        py::arg("centroids").noconvert(), py::kw_only(), py::arg("threads") = 0,
        "Squared distance of every frame to the centroid of its label: float64 [T].");
}

}  // namespace spire_dsu::bindings
