#include "spire_dsu/assign.h"

#include <memory>

#include <pybind11/stl.h>

#include "arrays.h"
#include "codebook.h"

namespace spire_dsu::bindings {

Codebook::Codebook(const Array<float>& centroids, bool copy, int threads) {
  if (centroids.ndim() != 2)
    raise_input_error("centroids must be 2-D [K, D], got " + std::to_string(centroids.ndim()) +
                      " dimensions");
  const std::int64_t count = centroids.shape(0), dims = centroids.shape(1);
  if (!check_shapes({centroids.data(), count, dims}).ok())
    raise_input_error("centroids must be [1..65535, 1..8192], got [" + std::to_string(count) +
                      ", " + std::to_string(dims) + "]");
  array_ = copy ? Array<float>({count, dims}, centroids.data()) : centroids;
  const Centroids view{array_.data(), count, dims};
  {
    const py::gil_scoped_release release;
    native_ = std::make_unique<cpu::Codebook>(view, threads);
  }
  raise_unless_ok(native_->status());
}

void check_width(const Features& features, const cpu::Codebook& codebook) {
  if (features.dims != codebook.centroids().dims)
    raise_input_error("features are " + std::to_string(features.dims) + " wide, centroids " +
                      std::to_string(codebook.centroids().dims));
}

static Array<std::int32_t> run(const py::array& features, const Codebook& codebook,
                               const cpu::AssignOptions& options) {
  const Features f = as_features(features);
  check_width(f, codebook.native());
  Array<std::int32_t> ids(f.num_frames);
  std::int32_t* to = ids.mutable_data();
  Status status;
  {
    const py::gil_scoped_release release;
    status = cpu::assign(f, codebook.native(), to, options);
  }
  raise_unless_ok(status);
  return ids;
}

static Array<std::int32_t> assign(const py::array& features, const Codebook& codebook, int threads,
                                  const std::optional<std::string>& isa) {
  return run(features, codebook, as_options(threads, isa));
}

static py::typing::Tuple<Array<std::int32_t>, py::typing::Dict<std::string, std::int64_t>>
assign_with_stats(const py::array& features, const Codebook& codebook, int threads,
                  const std::optional<std::string>& isa) {
  cpu::AssignOptions options = as_options(threads, isa);
  cpu::AssignStats stats;
  options.stats = &stats;
  const Array<std::int32_t> ids = run(features, codebook, options);
  py::typing::Dict<std::string, std::int64_t> counts;
  counts["certified"] = stats.certified;
  counts["rescored"] = stats.rescored;
  counts["candidates"] = stats.candidates;
  counts["deferred"] = stats.deferred;
  counts["scanned"] = stats.scanned;
  return py::make_tuple(ids, counts);
}

static std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const cpu::Isa isa : cpu::available_isas()) names.emplace_back(cpu::isa_name(isa));
  return names;
}

void register_assign(py::module_& m) {
  py::class_<Codebook>(m, "Codebook", "Centroids made ready for assign and quantize.")
      .def(py::init<const Array<float>&, bool, int>(), py::arg("centroids").noconvert(),
           py::kw_only(), py::arg("copy") = true, py::arg("threads") = 0)
      .def_property_readonly("shape", &Codebook::shape, "(K, D)");
  m.def("assign", &assign, py::arg("features"), py::arg("codebook"), py::kw_only(),
        py::arg("threads") = 0, py::arg("isa") = py::none(),
        "Nearest centroid of every frame: int32 [T].");
  m.def("assign_with_stats", &assign_with_stats, py::arg("features"), py::arg("codebook"),
        py::kw_only(), py::arg("threads") = 0, py::arg("isa") = py::none(),
        "assign, and what its screens did.");
  m.def("available_isas", &available_isas,
        "Instruction sets that assign can use here, the widest last.");
  m.def("default_threads", &cpu::default_threads, "Threads used when none are asked for.");
}

}  // namespace spire_dsu::bindings
