#include "arrays.h"

PYBIND11_MODULE(_core, m) {
  m.doc() =
      "Frames in, units out: the CPU kernels. Use spire_dsu.units, which checks and converts.";
  spire_dsu::bindings::register_assign(m);
  spire_dsu::bindings::register_run_length(m);
  spire_dsu::bindings::register_quantize(m);
  spire_dsu::bindings::register_accumulate(m);
  spire_dsu::bindings::register_distances(m);
}
