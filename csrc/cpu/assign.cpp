#include "spire_dsu/assign.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "detail/load.h"
#include "detail/nearest.h"
#include "detail/parallel.h"

namespace spire_dsu::cpu {

struct Codebook::Data {
  Centroids centroids;
  Status status;
};

static double distance(const float* x, const float* c, std::int64_t dims) {
  double sum = 0.0;
  for (std::int64_t d = 0; d < dims; ++d) {
    const double difference = static_cast<double>(x[d]) - static_cast<double>(c[d]);
    sum += difference * difference;
  }
  return sum;
}

static bool all_finite(const float* x, std::int64_t dims) {
  return std::all_of(x, x + dims, [](float value) { return std::isfinite(value); });
}

const char* isa_name(Isa) { return "portable"; }
std::vector<Isa> available_isas() { return {Isa::portable}; }

int default_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text != nullptr)
    if (const int number = std::atoi(text); number > 0) return number;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

Codebook::Codebook(const Centroids& centroids, int) : data_(new Data{centroids, {}}) {
  for (std::int64_t k = 0; k < centroids.count && data_->status.ok(); ++k)
    if (!all_finite(centroids.data + k * centroids.dims, centroids.dims))
      data_->status = {StatusCode::non_finite_centroid, k};
}
Codebook::~Codebook() = default;
Status Codebook::status() const { return data_->status; }
const Centroids& Codebook::centroids() const { return data_->centroids; }

Status assign(const Features& f, const Codebook& codebook, std::int32_t* ids,
              const AssignOptions& options) {
  const Centroids& c = codebook.centroids();
  if (f.dims != c.dims) return {StatusCode::bad_shape, f.dims};
  if (!codebook.status().ok()) return codebook.status();
  constexpr std::int64_t kRows = 64;
  const int threads = options.threads > 0 ? options.threads : default_threads();
  std::vector<float> buffers(static_cast<std::size_t>(threads * f.dims));
  std::atomic<std::int64_t> bad_row{f.num_frames};
  parallel_for(threads, (f.num_frames + kRows - 1) / kRows, [&](int worker, std::int64_t task) {
    for (std::int64_t i = task * kRows; i < std::min(f.num_frames, (task + 1) * kRows); ++i) {
      const float* x = load_row(f, i, buffers.data() + worker * f.dims);
      if (!all_finite(x, f.dims)) {
        for (std::int64_t seen = bad_row; i < seen && !bad_row.compare_exchange_weak(seen, i);) {
        }
        return;
      }
      Nearest nearest(x, c.data, c.dims, distance);
      for (std::int32_t k = 0; k < c.count; ++k) nearest.offer(k);
      ids[i] = nearest.label();
    }
  });
  if (bad_row < f.num_frames) return {StatusCode::non_finite_feature, bad_row};
  return {};
}

}  // namespace spire_dsu::cpu
