// Centroids made ready: their mean, what is left of them without it as float16, and the bounds.
//
// With y = x - mean, |x - c|^2 = |y|^2 - 2 (y . (c - mean) - |c - mean|^2 / 2): of what depends on
// c, the smallest |c - mean|^2 / 2 - y . (c - mean) wins. Packed centroids p = 2^g (c - mean) give
// the score  height - y . p  with  height = 2^-g |2^g (c - mean)|^2 / 2.  For rows that are
// multiplied as they are, x . p = y . p + mean . p, so their heights hold mean . p as well.
#include <utility>

#include "detail/codebook.h"
#include "detail/convert.cuh"
#include "detail/device.h"
#include "detail/plan.h"
#include "detail/screen.h"

namespace spire_dsu::cuda {

namespace {

constexpr int kWarps = 8;

/// A block per 32 dimensions. Any mean will do, as long as all use the same.
__global__ void __launch_bounds__(32 * kWarps)
    find_mean(const float* centroids, int count, int dims, int padded_dims, float* mean) {
  __shared__ double sums[kWarps][32];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int d = static_cast<int>(blockIdx.x) * 32 + lane;
  double sum = 0.0;
  if (d < dims) {
#pragma unroll 8
    for (int k = warp; k < count; k += kWarps)
      sum += static_cast<double>(centroids[static_cast<std::int64_t>(k) * dims + d]);
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0) return;
  for (int w = 1; w < kWarps; ++w) sum += sums[w][lane];
  if (d < padded_dims) mean[d] = static_cast<float>(sum / count);
}

/// All values are >= 0.
__device__ void raise(float* most, float value) {
  atomicMax(reinterpret_cast<int*>(most), static_cast<int>(bits_of(value)));
}

/// A warp per centroid.
__global__ void __launch_bounds__(32 * kWarps)
    find_spread(const float* centroids, int count, int dims, const float* mean,
                CodebookBounds* bounds) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int k = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32);
  if (k >= count) return;
  const float* c = centroids + static_cast<std::int64_t>(k) * dims;
  float spread = 0.0F;
  bool finite = true;
  for (int d = lane; d < dims; d += 32) {
    finite = finite && fabsf(c[d]) < INFINITY;
    spread = fmaxf(spread, fabsf(c[d] - mean[d]));
  }
  spread = warp_max(spread);
  const bool bad = __any_sync(kAllLanes, !finite) != 0;
  if (lane != 0) return;
  raise(&bounds->spread, spread);
  if (bad) atomicMin(&bounds->non_finite, static_cast<long long>(k));
}

/// A warp per packed centroid.
__global__ void __launch_bounds__(32 * kWarps)
    pack(const float* centroids, int count, int dims, int padded_dims, const float* mean,
         __half* packed, float* centred_heights, float* raw_heights, CodebookBounds* bounds) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int k = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32);  // the grid fits exactly
  const float* c = centroids + static_cast<std::int64_t>(k) * dims;
  __half* to = packed + static_cast<std::int64_t>(k) * padded_dims;
  const int g = centroid_exponent(bounds->spread);
  double length = 0.0, norm = 0.0, residual = 0.0, along_mean = 0.0, mass = 0.0;
  for (int d = lane; d < padded_dims; d += 32) {
    const bool inside = k < count && d < dims;
    const double exact =
        inside ? ldexp(static_cast<double>(c[d]) - static_cast<double>(mean[d]), g) : 0.0;
    to[d] = __double2half(exact);
    const double p = static_cast<double>(__half2float(to[d]));
    const double at_mean = static_cast<double>(mean[d]) * p;
    length = fma(exact, exact, length);
    norm = fma(p, p, norm);
    residual = fma(p - exact, p - exact, residual);
    along_mean += at_mean;
    mass += fabs(at_mean);
  }
  length = warp_sum(length);
  norm = warp_sum(norm);
  residual = warp_sum(residual);
  along_mean = warp_sum(along_mean);
  mass = warp_sum(mass);
  if (lane != 0) return;
  if (k >= count) {
    centred_heights[k] = raw_heights[k] = INFINITY;  // never the best
    return;
  }
  // 2^-40 and 2^-39 stand for the rounding of the float64 sums over up to 2^13 dimensions.
  raise(&bounds->norm, __double2float_ru(sqrt(norm)));
  raise(&bounds->residual, __double2float_ru(sqrt(residual) + 0x1p-40 * sqrt(norm)));
  const double heights[2] = {ldexp(length, -g - 1), ldexp(length, -g - 1) + along_mean};
  for (int raw = 0; raw < 2; ++raw) {
    const float height = static_cast<float>(heights[raw]);
    (raw == 0 ? centred_heights : raw_heights)[k] = height;
    raise(&bounds->height[raw], fabsf(height));
    raise(&bounds->height_error[raw],
          __double2float_ru(fabs(heights[raw] - static_cast<double>(height)) +
                            0x1p-39 * (heights[0] + mass)));
  }
}

cudaError_t allocate(Codebook::Data& data) {
  const std::int64_t count = data.count, padded_count = data.padded_count;
  Layout layout;
  const std::size_t centroids = layout.take<float>(count * data.dims),
                    mean = layout.take<float>(data.padded_dims),
                    packed = layout.take<__half>(padded_count * data.padded_dims),
                    centred = layout.take<float>(padded_count),
                    raw = layout.take<float>(padded_count), bounds = layout.take<CodebookBounds>(1);
  if (const cudaError_t error = data.memory.allocate(layout.size); error != cudaSuccess)
    return error;
  unsigned char* const base = data.memory.get();
  data.centroids = reinterpret_cast<float*>(base + centroids);
  data.mean = reinterpret_cast<float*>(base + mean);
  data.packed = reinterpret_cast<__half*>(base + packed);
  data.heights[0] = reinterpret_cast<float*>(base + centred);
  data.heights[1] = reinterpret_cast<float*>(base + raw);
  data.bounds = reinterpret_cast<CodebookBounds*>(base + bounds);
  return cudaSuccess;
}

}  // namespace

Codebook::Codebook() : data_(new Data) {}
Codebook::~Codebook() = default;
std::int64_t Codebook::count() const { return data_->count; }
std::int64_t Codebook::dims() const { return data_->dims; }

Status Codebook::create(const Centroids& centroids, Stream stream,
                        std::unique_ptr<Codebook>* codebook) {
  std::unique_ptr<Codebook> made(new Codebook);
  Data& data = *made->data_;
  data.count = static_cast<int>(centroids.count);
  data.dims = static_cast<int>(centroids.dims);
  data.padded_count = divide_up(data.count, kHopperTile) * kHopperTile;
  data.padded_dims = divide_up(data.dims, kDimsUnit) * kDimsUnit;
  SPIRE_TRY(allocate(data));
  SPIRE_TRY(
      cudaMemcpyAsync(data.centroids, centroids.data,
                      static_cast<std::size_t>(centroids.count * centroids.dims) * sizeof(float),
                      cudaMemcpyDefault, stream));
  CodebookBounds bounds = {};
  bounds.non_finite = centroids.count;
  SPIRE_TRY(cudaMemcpyAsync(data.bounds, &bounds, sizeof bounds, cudaMemcpyHostToDevice, stream));
  const dim3 threads(32 * kWarps);
  SPIRE_TRY(launch(find_mean, data.padded_dims / 32, threads, stream, data.centroids, data.count,
                   data.dims, data.padded_dims, data.mean));
  SPIRE_TRY(launch(find_spread, divide_up(data.count, kWarps), threads, stream, data.centroids,
                   data.count, data.dims, data.mean, data.bounds));
  SPIRE_TRY(launch(pack, data.padded_count / kWarps, threads, stream, data.centroids, data.count,
                   data.dims, data.padded_dims, data.mean, data.packed, data.heights[0],
                   data.heights[1], data.bounds));
  SPIRE_TRY(cudaMemcpyAsync(&bounds, data.bounds, sizeof bounds, cudaMemcpyDeviceToHost, stream));
  SPIRE_TRY(cudaStreamSynchronize(stream));
  if (bounds.non_finite < centroids.count)
    return {StatusCode::non_finite_centroid, bounds.non_finite};
  *codebook = std::move(made);
  return {};
}

}  // namespace spire_dsu::cuda
