#include "on_device.h"

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>

namespace spire_dsu::test {

bool small() {
  static const bool asked = std::getenv("SPIRE_TEST_SMALL") != nullptr;
  return kEmulated || asked;
}

unsigned seed() {
  static const unsigned chosen = [] {
    const unsigned value = kEmulated ? 1U : std::random_device()();
    std::cout << "seed " << value << "\n";
    return value;
  }();
  return chosen;
}

void check_cuda(cudaError_t error, const char* file, int line) {
  if (error != cudaSuccess)
    report(file, line, "CUDA error " + std::to_string(static_cast<int>(error)));
}

std::vector<cuda::Screen> screens() {
  int major = 0;
  CUDA_OK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  if (major != 9) return {cuda::Screen::portable};
  return {cuda::Screen::portable, cuda::Screen::hopper, cuda::Screen::hopper_pair};
}

static std::uint16_t bfloat16_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16U & 1U)) >> 16U);
}

Frames Frames::of(const std::vector<float>& from, std::int64_t dims, DType dtype,
                  std::int64_t stride, std::int64_t offset) {
  Frames frames;
  const std::size_t size = dtype == DType::float32 ? 4 : 2;
  const auto rows = static_cast<std::int64_t>(from.size()) / dims;
  if (stride == 0) stride = dims;
  frames.values = from;
  frames.bits.assign(static_cast<std::size_t>(offset + rows * stride) * size, 0xFF);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t d = 0; d < dims; ++d) {
      float& value = frames.values[static_cast<std::size_t>(row * dims + d)];
      unsigned char* to = &frames.bits[static_cast<std::size_t>(offset + row * stride + d) * size];
      if (dtype == DType::float16) {
        const __half half = __float2half_rn(value);
        value = __half2float(half);
        std::memcpy(to, &half, 2);
      } else if (dtype == DType::bfloat16) {
        const std::uint16_t bits = bfloat16_bits(value);
        const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16U;
        std::memcpy(&value, &wide, 4);
        std::memcpy(to, &bits, 2);
      } else {
        std::memcpy(to, &value, 4);
      }
    }
  }
  frames.features = {frames.bits.data() + static_cast<std::size_t>(offset) * size, dtype, rows,
                     dims, stride};
  return frames;
}

std::vector<std::int32_t> device_assign(const Frames& frames, const Centroids& centroids,
                                        const cuda::AssignOptions& options) {
  std::unique_ptr<cuda::Codebook> codebook;
  CHECK(cuda::Codebook::create(centroids, nullptr, &codebook).ok());
  const OnDevice<unsigned char> bits(frames.bits);
  const OnDevice<std::int32_t> ids(static_cast<std::size_t>(frames.features.num_frames));
  const OnDevice<cuda::Faults> faults(1);
  Features features = frames.features;
  features.data =
      bits.get() + (static_cast<const unsigned char*>(features.data) - frames.bits.data());
  CHECK(cuda::assign(features, *codebook, ids.get(), faults.get(), options, nullptr).ok());
  CHECK(cuda::status_of(faults.values()[0]).ok());
  return ids.values();
}

void check_assign(const Frames& frames, const std::vector<float>& centroids,
                  cuda::AssignOptions options) {
  const std::int64_t dims = frames.features.dims;
  const Centroids view{centroids.data(), static_cast<std::int64_t>(centroids.size()) / dims, dims};
  const cpu::Codebook codebook(view);
  std::vector<std::int32_t> truth(static_cast<std::size_t>(frames.features.num_frames));
  const cpu::AssignOptions widest{
      .threads = 0, .isa = cpu::available_isas().back(), .stats = nullptr};
  const Features features{frames.values.data(), DType::float32, frames.features.num_frames, dims,
                          dims};
  CHECK(cpu::assign(features, codebook, truth.data(), widest).ok());
  for (const cuda::Screen screen : screens()) {
    options.screen = screen;
    const std::vector<std::int32_t> ids = device_assign(frames, view, options);
    std::size_t wrong = 0, first = ids.size();
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (ids[i] != truth[i] && wrong++ == 0) first = i;
    if (wrong > 0)
      report(__FILE__, __LINE__,
             "screen " + std::to_string(static_cast<int>(screen)) + ", " +
                 std::to_string(ids.size()) + " x " + std::to_string(view.count) + " x " +
                 std::to_string(dims) + ": " + std::to_string(wrong) + " labels wrong, row " +
                 std::to_string(first) + " is " + std::to_string(ids[first]) + ", not " +
                 std::to_string(truth[first]));
  }
}

}  // namespace spire_dsu::test
