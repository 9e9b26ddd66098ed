// The module _cuda. Every function queues its work on the stream that the caller names and returns;
// what is wrong with the data itself is in `faults` (int64 [3]) once the stream got there.
#include "spire_dsu/cuda.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include "arrays.h"

namespace spire_dsu::bindings {

namespace {

cuda::Stream as_stream(std::uintptr_t stream) { return reinterpret_cast<cuda::Stream>(stream); }

class Codebook {
 public:
  Codebook(const py::object& centroids, std::uintptr_t stream) {
    const DeviceArray array = as_device_array(centroids, "centroids");
    const Centroids view = as_centroids(array);
    device_ = array.device;
    Status status;
    {
      const CurrentDevice current(device_);
      const py::gil_scoped_release release;
      status = cuda::Codebook::create(view, as_stream(stream), &native_);
    }
    raise_unless_ok(status);
  }

  const cuda::Codebook& native() const { return *native_; }
  int device() const { return device_; }
  std::pair<std::int64_t, std::int64_t> shape() const {
    return {native_->count(), native_->dims()};
  }

 private:
  int device_ = 0;
  std::unique_ptr<cuda::Codebook> native_;
};

cuda::AssignOptions as_options(bool exact, const std::string& screen, const py::object& counts,
                               int device) {
  cuda::AssignOptions options;
  options.exact = exact;
  constexpr const char* kScreens[] = {"automatic", "portable", "hopper", "hopper_pair"};
  const auto* const found = std::find(std::begin(kScreens), std::end(kScreens), screen);
  if (found == std::end(kScreens)) raise_input_error("there is no screen '" + screen + "'");
  options.screen = static_cast<cuda::Screen>(found - std::begin(kScreens));
  if (!counts.is_none())
    options.counts =
        reinterpret_cast<cuda::Counts*>(as_vector<std::int64_t>(counts, "counts", device, 3));
  return options;
}

Features as_frames(const py::object& features, const Codebook& codebook) {
  const Features f = as_features(as_device_array(features, "features"), codebook.device());
  if (f.dims != codebook.shape().second)
    raise_input_error("features are " + std::to_string(f.dims) + " wide, centroids " +
                      std::to_string(codebook.shape().second));
  return f;
}

cuda::Faults* as_faults(const py::object& faults, int device) {
  return reinterpret_cast<cuda::Faults*>(as_vector<std::int64_t>(faults, "faults", device, 3));
}

RowSplits as_rows(const py::object& row_splits, int device) {
  const DeviceArray array = as_device_array(row_splits, "row_splits");
  return {as_vector<std::int64_t>(row_splits, "row_splits", device, 1), array.size() - 1};
}

/// Calls `queue` with the device current and without the GIL.
template <class Queue>
void call(int device, const Queue& queue) {
  const CurrentDevice current(device);
  Status status;
  {
    const py::gil_scoped_release release;
    status = queue();
  }
  raise_unless_ok(status);
}

void assign(const py::object& features, const Codebook& codebook, const py::object& ids,
            const py::object& faults, std::uintptr_t stream, bool exact, const std::string& screen,
            const py::object& counts) {
  const int device = codebook.device();
  const Features f = as_frames(features, codebook);
  auto* const to = as_vector<std::int32_t>(ids, "ids", device, f.num_frames);
  cuda::Faults* const found = as_faults(faults, device);
  const cuda::AssignOptions options = as_options(exact, screen, counts, device);
  call(device,
       [&] { return cuda::assign(f, codebook.native(), to, found, options, as_stream(stream)); });
}

void run_length(const py::object& ids, const py::object& row_splits, const py::object& units,
                const py::object& durations, const py::object& unit_splits,
                const py::object& faults, std::uintptr_t stream) {
  const DeviceArray array = as_device_array(ids, "ids");
  const int device = array.device;
  const auto* const from = as_vector<std::int32_t>(ids, "ids", device, 0);
  const RowSplits rows = as_rows(row_splits, device);
  auto* const to_units = as_vector<std::int32_t>(units, "units", device, array.size());
  auto* const to_durations = as_vector<std::int32_t>(durations, "durations", device, array.size());
  auto* const to_splits =
      as_vector<std::int64_t>(unit_splits, "unit_splits", device, rows.num_rows + 1);
  cuda::Faults* const found = as_faults(faults, device);
  call(device, [&] {
    return cuda::run_length(from, array.size(), rows, to_units, to_durations, to_splits, found,
                            as_stream(stream));
  });
}

void quantize(const py::object& features, const py::object& row_splits, const Codebook& codebook,
              const py::object& units, const py::object& durations, const py::object& unit_splits,
              const py::object& faults, std::uintptr_t stream, bool exact,
              const std::string& screen) {
  const int device = codebook.device();
  const Features f = as_frames(features, codebook);
  const RowSplits rows = as_rows(row_splits, device);
  auto* const to_units = as_vector<std::int32_t>(units, "units", device, f.num_frames);
  auto* const to_durations = as_vector<std::int32_t>(durations, "durations", device, f.num_frames);
  auto* const to_splits =
      as_vector<std::int64_t>(unit_splits, "unit_splits", device, rows.num_rows + 1);
  cuda::Faults* const found = as_faults(faults, device);
  const cuda::AssignOptions options = as_options(exact, screen, py::none(), device);
  call(device, [&] {
    return cuda::quantize(f, rows, codebook.native(), to_units, to_durations, to_splits, found,
                          options, as_stream(stream));
  });
}

int device_of(const py::object& array) { return as_device_array(array, "array").device; }

void raise_faults(std::int64_t feature_row, std::int64_t split_entry, std::int64_t run_row) {
  raise_unless_ok(cuda::status_of({feature_row, split_entry, run_row}));
}

template <class T>
using HostArray = py::array_t<T, py::array::c_style>;
using Ragged =
    py::typing::Tuple<HostArray<std::int32_t>, HostArray<std::int32_t>, HostArray<std::int64_t>>;

class StreamingQuantizer {
 public:
  explicit StreamingQuantizer(const Codebook& codebook)
      : codebook_(codebook), native_(codebook.native()) {}

  void push(const py::object& features, const HostArray<std::int64_t>& row_splits,
            std::uintptr_t stream, bool exact) {
    const Features f = as_frames(features, codebook_);
    if (row_splits.ndim() != 1 || row_splits.size() < 1)
      raise_input_error("row_splits must be 1-D with at least one entry");
    const RowSplits rows{row_splits.data(), row_splits.size() - 1};
    raise_unless_ok(check_row_splits(rows, f.num_frames));
    cuda::AssignOptions options;
    options.exact = exact;
    call(codebook_.device(), [&] { return native_.push(f, rows, options, as_stream(stream)); });
  }

  Ragged wait(int age) {
    cuda::StreamingQuantizer::Block block = {};
    call(codebook_.device(), [&] { return native_.wait(age, &block); });
    const std::int64_t size = block.unit_splits[block.num_rows];
    return py::make_tuple(HostArray<std::int32_t>(size, block.units),
                          HostArray<std::int32_t>(size, block.durations),
                          HostArray<std::int64_t>(block.num_rows + 1, block.unit_splits));
  }

 private:
  const Codebook& codebook_;
  cuda::StreamingQuantizer native_;
};

}  // namespace

}  // namespace spire_dsu::bindings

PYBIND11_MODULE(_cuda, m) {
  using namespace spire_dsu::bindings;
  m.doc() =
      "Frames in, units out: the CUDA kernels. Use spire_dsu.units, which checks and converts.";
  py::class_<Codebook>(m, "Codebook",
                       "Centroids made ready on one device; waits for the stream once.")
      .def(py::init<const py::object&, std::uintptr_t>(), py::arg("centroids"), py::kw_only(),
           py::arg("stream"))
      .def_property_readonly("device", &Codebook::device)
      .def_property_readonly("shape", &Codebook::shape, "(K, D)");
  m.def("assign", &assign, py::arg("features"), py::arg("codebook"), py::arg("ids"),
        py::arg("faults"), py::kw_only(), py::arg("stream"), py::arg("exact") = true,
        py::arg("screen") = "automatic", py::arg("counts") = py::none(),
        "Nearest centroid of every frame, into ids int32 [T].");
  m.def(
      "run_length", &run_length, py::arg("ids"), py::arg("row_splits"), py::arg("units"),
      py::arg("durations"), py::arg("unit_splits"), py::arg("faults"), py::kw_only(),
      py::arg("stream"),
      "Merge runs within rows, into units and durations int32 [T] and unit_splits int64 [N + 1].");
  m.def("quantize", &quantize, py::arg("features"), py::arg("row_splits"), py::arg("codebook"),
        py::arg("units"), py::arg("durations"), py::arg("unit_splits"), py::arg("faults"),
        py::kw_only(), py::arg("stream"), py::arg("exact") = true, py::arg("screen") = "automatic",
        "assign and run_length as one.");
  m.def("device_of", &device_of, py::arg("array"), "The number of the GPU that holds an array.");
  m.def("raise_faults", &raise_faults, py::arg("feature_row"), py::arg("split_entry"),
        py::arg("run_row"), "Raise what the three numbers of a faults array stand for.");
  py::class_<StreamingQuantizer>(
      m, "StreamingQuantizer",
      "quantize block by block; results come to the host behind the next one.")
      .def(py::init<const Codebook&>(), py::arg("codebook"), py::keep_alive<1, 2>())
      .def("push", &StreamingQuantizer::push, py::arg("features"),
           py::arg("row_splits").noconvert(), py::kw_only(), py::arg("stream"),
           py::arg("exact") = true)
      .def("wait", &StreamingQuantizer::wait, py::arg("age"),
           "(units, durations, row_splits) of the block pushed last but `age`, 0 or 1.");
}
