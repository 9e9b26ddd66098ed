// The epilogue of both screens: products become scores, scores a running best and a short list of
// candidates per row. The four lanes of a quad share their rows; each keeps the candidates it saw.
#pragma once

#include "convert.cuh"
#include "screen.h"

namespace spire_dsu::cuda {

/// One thread's rows: base, base + 8, ... of a tile, in which it holds columns 8 j + 2 q, + 1, q
/// being its place in the quad. Sums are [fragment][j][2 s + b] for row base + 8 (2 fragment + s),
/// column 8 j + 2 q + b: the layout of mma and wgmma.
template <int kFragments, int kBlocks, int kThreads>
class RowBests {
 public:
  static constexpr int kRows = 2 * kFragments;
  static constexpr int kKept = 8;  // candidates a thread can hold of a row
  using Lists = Candidate[kRows * kKept][kThreads];
  using Sums = float[kFragments][kBlocks][4];

  __device__ RowBests(Lists& lists, int thread) : list_(&lists[0][thread]) {}

  /// Starts on rows base, base + 8, ...; rows past the end get bounds that let nothing in.
  __device__ void begin(const ScreenJob& job, std::int64_t base) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t row = base + 8 * r;
      const RowBound bound = row < job.num_rows ? job.bounds[row] : RowBound{1.0F, NAN};
      scale_[r] = bound.scale;
      slack_[r] = bound.slack;
      best_[r] = INFINITY;
      count_[r] = 0;
    }
  }

  /// Takes a finished tile, whose column 0 is centroid `first`. The sums become scores.
  __device__ void consider(Sums& sums, const float* heights, int first, int quad) {
#pragma unroll
    for (int f = 0; f < kFragments; ++f) {
      float low[2][kChunks];
      score(sums[f], f, reinterpret_cast<const float2*>(heights + first + 2 * quad), low);
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const int r = 2 * f + s;
        float own = low[s][0];
#pragma unroll
        for (int c = 1; c < kChunks; ++c) own = fminf(own, low[s][c]);
        float shared = fminf(own, __shfl_xor_sync(kAllLanes, own, 1));
        shared = fminf(shared, __shfl_xor_sync(kAllLanes, shared, 2));
        best_[r] = fminf(best_[r], shared);
        const float limit = best_[r] + slack_[r];
        if (own <= limit) {
          if (count_[r] > kKept / 2) drop_above(r, limit);
#pragma unroll
          for (int c = 0; c < kChunks; ++c)
            if (low[s][c] <= limit) keep(sums[f], s, r, c, limit, first + 2 * quad);
        }
      }
    }
  }

  /// Writes what is left of the candidates once all tiles of the range were seen.
  __device__ void finish(const ScreenJob& job, std::int64_t base, int split, int quad) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      drop_above(r, best_[r] + slack_[r]);
      const int own = count_[r] <= kKept ? count_[r] : kRecord + 1;
      int end = own;
#pragma unroll
      for (int step = 1; step < 4; step *= 2) {
        const int before = __shfl_up_sync(kAllLanes, end, step, 4);
        if (quad >= step) end += before;
      }
      const int total = __shfl_sync(kAllLanes, end, 3, 4);
      const std::int64_t row = base + 8 * r;
      if (row >= job.num_rows) continue;
      const std::int64_t record = row * job.splits + split;
      for (int i = 0; i < own && end <= kRecord; ++i)
        job.candidates[record * kRecord + end - own + i] = entry(r, i);
      if (quad == 0) job.heads[record] = {best_[r], total};
    }
  }

 private:
  static constexpr int kChunkBlocks = 8;  // columns are searched for candidates in chunks
  static constexpr int kChunks = kBlocks / kChunkBlocks;

  /// Turns the sums of one fragment into scores; low: the least of each chunk.
  __device__ void score(float (&sums)[kBlocks][4], int f, const float2* heights,
                        float (&low)[2][kChunks]) {
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      low[0][c] = low[1][c] = INFINITY;
#pragma unroll
      for (int j = c * kChunkBlocks; j < (c + 1) * kChunkBlocks; ++j) {
        const float2 height = __ldg(heights + 4 * j);
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          float &left = sums[j][2 * s], &right = sums[j][2 * s + 1];
          left = fmaf(scale_[2 * f + s], height.x, -left);
          right = fmaf(scale_[2 * f + s], height.y, -right);
          low[s][c] = fminf(low[s][c], fminf(left, right));
        }
      }
    }
  }

  /// Keeps the scores of a chunk up to `limit`. Scores stay in registers, so each has its own code.
  __device__ void keep(const float (&scores)[kBlocks][4], int s, int r, int chunk, float limit,
                       int first) {
#pragma unroll
    for (int j = chunk * kChunkBlocks; j < (chunk + 1) * kChunkBlocks; ++j) {
#pragma unroll
      for (int b = 0; b < 2; ++b) {
        const float score = scores[j][2 * s + b];
        if (score <= limit) {
          if (count_[r] < kKept)
            entry(r, count_[r]) = {score, static_cast<std::uint32_t>(first + 8 * j + b)};
          ++count_[r];
        }
      }
    }
  }

  /// Drops what the best has left behind; a list that has overflowed stays so.
  __device__ void drop_above(int r, float limit) {
    if (count_[r] > kKept) return;
    int kept = 0;
    for (int i = 0; i < count_[r]; ++i) {
      const Candidate candidate = entry(r, i);
      if (candidate.score <= limit) entry(r, kept++) = candidate;
    }
    count_[r] = kept;
  }

  __device__ Candidate& entry(int r, int i) { return list_[(r * kKept + i) * kThreads]; }

  Candidate* list_;
  float scale_[kRows], slack_[kRows], best_[kRows];
  int count_[kRows];
};

}  // namespace spire_dsu::cuda
