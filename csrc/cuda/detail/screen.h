// What the screening kernels take and give. A screen multiplies float16 rows with the packed
// centroids and keeps, of each row, every centroid that scores within the row's slack of the best.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "bound.h"

namespace spire_dsu::cuda {

struct Candidate {
  float score;
  std::uint32_t centroid;
};

/// Candidates written per row and range of centroids; a row with more is compared with all
/// centroids.
constexpr int kRecord = 16;

struct RowHead {
  float best;          // lowest score in this range of centroids
  std::int32_t count;  // candidates within the slack of it; over kRecord: not all were written
};

struct ScreenJob {
  const __half* rows;  // row r from element r * row_stride, at a multiple of 16 bytes
  std::int64_t row_stride;
  std::int64_t num_rows;
  int dims;  // of a row in memory; the rest up to padded_dims counts as 0
  int padded_dims;
  const __half* centroids;  // [padded_centroids, padded_dims]
  int num_centroids;
  int padded_centroids;
  const float* heights;    // [padded_centroids]
  const RowBound* bounds;  // [num_rows]
  int splits;              // ranges of centroids
  RowHead* heads;          // [num_rows, splits]
  Candidate* candidates;   // [num_rows, splits, kRecord]
};

constexpr int kPortableTile = 128;  // centroids of a tile
constexpr int kHopperTile = 256;

cudaError_t screen_portable(const ScreenJob& job, int workers, cudaStream_t stream);

/// `cluster`: 1 or 2 blocks.
cudaError_t screen_hopper(const ScreenJob& job, int cluster, int workers, cudaStream_t stream);

}  // namespace spire_dsu::cuda
