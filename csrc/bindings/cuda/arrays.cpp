#include "arrays.h"

#include <cuda_runtime_api.h>
#include <pybind11/stl.h>

#include <functional>
#include <numeric>

#include "dlpack.h"

namespace spire_dsu::bindings {

namespace {

/// Rows one after another, where a producer gives no strides.
std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t i = shape.size(); i-- > 0; step *= shape[i]) strides[i] = step;
  return strides;
}

DeviceArray from_dlpack(const py::object& array, const std::string& name) {
  const auto place =
      array.attr("__dlpack_device__")().cast<std::pair<std::int32_t, std::int32_t>>();
  if (place.first != dlpack::kCuda && place.first != dlpack::kCudaManaged)
    raise_input_error(name + " must lie on a CUDA device");
  // -1: no synchronisation; the caller names the stream on which the data is ready. The capsule is
  // not taken over, so it releases the tensor itself when it goes.
  const py::object capsule = array.attr("__dlpack__")(py::arg("stream") = -1);
  auto* managed =
      static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (managed == nullptr) throw py::error_already_set();
  const dlpack::Tensor& tensor = managed->tensor;
  DeviceArray result;
  result.name = name;
  result.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  result.device = place.second;
  result.dtype = dlpack::dtype_name(tensor.dtype);
  result.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  result.strides = tensor.strides == nullptr
                       ? dense_strides(result.shape)
                       : std::vector<std::int64_t>(tensor.strides, tensor.strides + tensor.ndim);
  result.owner = capsule;
  return result;
}

DeviceArray from_interface(const py::object& array, const std::string& name) {
  const py::dict interface = array.attr("__cuda_array_interface__");
  DeviceArray result;
  result.name = name;
  result.data =
      reinterpret_cast<void*>(interface["data"].cast<py::tuple>()[0].cast<std::uintptr_t>());
  const py::object dtype = py::module_::import("numpy").attr("dtype")(interface["typestr"]);
  result.dtype = py::str(dtype.attr("name")).cast<std::string>();
  result.shape = interface["shape"].cast<std::vector<std::int64_t>>();
  result.strides = dense_strides(result.shape);
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const auto size = dtype.attr("itemsize").cast<std::int64_t>();
    result.strides = interface["strides"].cast<std::vector<std::int64_t>>();
    for (std::int64_t& stride : result.strides) {
      if (stride % size != 0)
        raise_input_error(name + " has a stride of " + std::to_string(stride) + " bytes");
      stride /= size;
    }
  }
  cudaPointerAttributes attributes{};
  if (result.size() > 0) {
    if (cudaPointerGetAttributes(&attributes, result.data) != cudaSuccess ||
        attributes.type == cudaMemoryTypeUnregistered || attributes.type == cudaMemoryTypeHost)
      raise_input_error(name + " must lie on a CUDA device");
    result.device = attributes.device;
  } else if (cudaGetDevice(&result.device) != cudaSuccess) {
    raise_input_error(name + " must lie on a CUDA device");
  }
  result.owner = array;
  return result;
}

std::string shape_text(const DeviceArray& array) {
  std::string text;
  for (const std::int64_t size : array.shape)
    text.append(text.empty() ? "[" : ", ").append(std::to_string(size));
  return text + "]";
}

void check_device(const DeviceArray& array, int device) {
  if (array.device != device)
    raise_input_error(array.name + " lies on CUDA device " + std::to_string(array.device) +
                      ", the rest on device " + std::to_string(device));
}

}  // namespace

std::int64_t DeviceArray::size() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

DeviceArray as_device_array(const py::object& array, const std::string& name) {
  if (py::hasattr(array, "__dlpack__")) return from_dlpack(array, name);
  if (py::hasattr(array, "__cuda_array_interface__")) return from_interface(array, name);
  raise_input_error(name + " must be an array on a CUDA device, got " +
                    py::str(py::type::of(array)).cast<std::string>());
}

template <class T>
T* as_vector(const py::object& array, const std::string& name, int device, std::int64_t size) {
  const DeviceArray view = as_device_array(array, name);
  check_device(view, device);
  const std::string wanted = sizeof(T) == 4 ? "int32" : "int64";
  if (view.dtype != wanted) raise_input_error(name + " must be " + wanted + ", got " + view.dtype);
  if (view.shape.size() != 1 || view.shape[0] < size || (view.shape[0] > 1 && view.strides[0] != 1))
    raise_input_error(name + " must be 1-D and contiguous, at least " + std::to_string(size) +
                      " long, got shape " + shape_text(view));
  return static_cast<T*>(view.data);
}
template std::int32_t* as_vector(const py::object&, const std::string&, int, std::int64_t);
template std::int64_t* as_vector(const py::object&, const std::string&, int, std::int64_t);

Features as_features(const DeviceArray& features, int device) {
  check_device(features, device);
  if (features.shape.size() != 2)
    raise_input_error("features must be 2-D [T, D], got " + std::to_string(features.shape.size()) +
                      " dimensions");
  Features f;
  if (features.dtype == "float32") {
    f.dtype = DType::float32;
  } else if (features.dtype == "float16") {
    f.dtype = DType::float16;
  } else if (features.dtype == "bfloat16") {
    f.dtype = DType::bfloat16;
  } else {
    raise_input_error("features must be float32, float16 or bfloat16, got " + features.dtype);
  }
  f.data = features.data;
  f.num_frames = features.shape[0];
  f.dims = features.shape[1];
  f.stride = f.num_frames > 1 ? features.strides[0] : f.dims;
  const std::uintptr_t size = f.dtype == DType::float32 ? 4 : 2;
  if ((f.dims > 1 && features.strides[1] != 1) || f.stride < 0 ||
      reinterpret_cast<std::uintptr_t>(f.data) % size != 0)
    raise_input_error("the values of a row of features must lie side by side, aligned");
  return f;
}

Centroids as_centroids(const DeviceArray& centroids) {
  if (centroids.shape.size() != 2)
    raise_input_error("centroids must be 2-D [K, D], got " +
                      std::to_string(centroids.shape.size()) + " dimensions");
  if (centroids.dtype != "float32")
    raise_input_error("centroids must be float32, got " + centroids.dtype);
  const Centroids c{static_cast<const float*>(centroids.data), centroids.shape[0],
                    centroids.shape[1]};
  if (!check_shapes(c).ok())
    raise_input_error("centroids must be [1..65535, 1..8192], got " + shape_text(centroids));
  if (centroids.strides != dense_strides(centroids.shape))
    raise_input_error("centroids must be contiguous");
  return c;
}

CurrentDevice::CurrentDevice(int device) {
  if (cudaGetDevice(&former_) != cudaSuccess || cudaSetDevice(device) != cudaSuccess)
    throw std::runtime_error("CUDA device " + std::to_string(device) + " cannot be used");
}
CurrentDevice::~CurrentDevice() { cudaSetDevice(former_); }

}  // namespace spire_dsu::bindings
