// What a Status becomes in Python.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "spire_dsu/status.h"

namespace spire_dsu::bindings {

namespace py = pybind11;

/// Raises spire_dsu.errors.InputError.
[[noreturn]] void raise_input_error(const std::string& message);

/// Raises InputError with the offending index, or RuntimeError for a device that fails, unless the
/// status is ok.
void raise_unless_ok(Status status);

}  // namespace spire_dsu::bindings
