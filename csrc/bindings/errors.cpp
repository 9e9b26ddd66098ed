#include "errors.h"

#include <stdexcept>

namespace spire_dsu::bindings {

void raise_input_error(const std::string& message) {
  const py::object type = py::module_::import("spire_dsu.errors").attr("InputError");
  PyErr_SetString(type.ptr(), message.c_str());
  throw py::error_already_set();
}

void raise_unless_ok(Status status) {
  const std::string index = std::to_string(status.index);
  switch (status.code) {
    case StatusCode::ok:
      return;
    case StatusCode::non_finite_feature:
      raise_input_error("features row " + index + " holds NaN or infinity");
    case StatusCode::non_finite_centroid:
      raise_input_error("centroid " + index + " holds NaN or infinity");
    case StatusCode::bad_shape:
      raise_input_error("a size is out of range or does not match: " + index);
    case StatusCode::bad_row_splits:
      raise_input_error(
          "row_splits must start at 0, never fall and end at the number of frames; entry " + index +
          " does not");
    case StatusCode::run_too_long:
      raise_input_error("row " + index + " holds a run of more than 2147483647 frames");
    case StatusCode::unsupported:
      raise_input_error("this build or machine cannot do that");
    case StatusCode::device_error:
      throw std::runtime_error("CUDA error " + index);
  }
}

}  // namespace spire_dsu::bindings
