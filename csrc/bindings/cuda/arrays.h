// Arrays in device memory, of any library, through DLPack or __cuda_array_interface__. Checks only:
// nothing is converted or copied here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../errors.h"
#include "spire_dsu/assign.h"
#include "spire_dsu/ragged.h"

namespace spire_dsu::bindings {

/// A view that keeps its owner alive.
struct DeviceArray {
  std::string name;  // for messages
  void* data = nullptr;
  int device = 0;
  std::string dtype;                         // "float32", "int64", ...
  std::vector<std::int64_t> shape, strides;  // strides in elements
  py::object owner;

  std::int64_t size() const;
};

/// Raises InputError unless `array` lies on a CUDA device.
DeviceArray as_device_array(const py::object& array, const std::string& name);

/// A 1-D contiguous array of T = std::int32_t or std::int64_t on `device`, of at least `size`
/// elements.
template <class T>
T* as_vector(const py::object& array, const std::string& name, int device, std::int64_t size);

/// 2-D, values of a row side by side, on `device`.
Features as_features(const DeviceArray& features, int device);

/// float32 [K, D], contiguous.
Centroids as_centroids(const DeviceArray& centroids);

/// Makes a device current, and the former one again.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int former_ = 0;
};

}  // namespace spire_dsu::bindings
