#include "check.h"
#include "spire_dsu/accumulate.h"
#include "spire_dsu/distances.h"

using namespace spire_dsu;
using Labels = std::vector<std::int32_t>;

struct Table {
  std::vector<double> sums;
  std::vector<std::int64_t> counts;

  Table(std::int64_t clusters, std::int64_t dims)
      : sums(static_cast<std::size_t>(clusters * dims)),
        counts(static_cast<std::size_t>(clusters)) {}
  Clusters view(std::int64_t dims) {
    return {sums.data(), counts.data(), static_cast<std::int64_t>(counts.size()), dims};
  }
};

// 0.1 and its multiples are no binary fractions, so the order of the additions shows.
static std::vector<float> rows_of(std::int64_t rows, std::int64_t dims) {
  std::vector<float> x(static_cast<std::size_t>(rows * dims));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.1F * static_cast<float>(i * 7919 % 1013) - 40;
  return x;
}

TEST(accumulate_has_the_same_bits_for_any_number_of_threads) {
  const std::int64_t rows = 1000, dims = 13, clusters = 7;
  const std::vector<float> x = rows_of(rows, dims);
  const Features f{x.data(), DType::float32, rows, dims, dims};
  Labels none(rows, -1), labels(rows);
  for (std::size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<std::int32_t>(i * i % clusters);
  Table expected(clusters, dims);
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto k = static_cast<std::size_t>(labels[static_cast<std::size_t>(i)]);
    ++expected.counts[k];
    for (std::int64_t d = 0; d < dims; ++d)
      expected.sums[k * dims + static_cast<std::size_t>(d)] +=
          static_cast<double>(x[static_cast<std::size_t>(i * dims + d)]);
  }
  for (const int threads : {1, 2, 5}) {
    Table table(clusters, dims);
    CHECK(cpu::accumulate(f, none.data(), labels.data(), table.view(dims), threads).ok());
    CHECK(table.sums == expected.sums && table.counts == expected.counts);
  }
}

TEST(accumulate_moves_only_what_changed_and_leaves_no_dust) {
  const std::vector<float> x = rows_of(4, 3);
  const Features f{x.data(), DType::float32, 4, 3, 3};
  const Labels none{-1, -1, -1, -1}, first{0, 0, 1, 1}, second{1, 1, 1, -1};
  Table table(2, 3);
  CHECK(cpu::accumulate(f, none.data(), first.data(), table.view(3)).ok());
  CHECK(cpu::accumulate(f, first.data(), second.data(), table.view(3)).ok());
  CHECK((table.counts == std::vector<std::int64_t>{0, 3}));
  for (std::size_t d = 0; d < 3; ++d) {
    CHECK(table.sums[d] == 0.0);
    const double expected =
        static_cast<double>(x[d]) + static_cast<double>(x[3 + d]) + static_cast<double>(x[6 + d]);
    CHECK(std::abs(table.sums[3 + d] - expected) < 1e-9);
  }
}

TEST(accumulate_and_distances_refuse_labels_and_widths) {
  const std::vector<float> x = rows_of(2, 3);
  const Features f{x.data(), DType::float32, 2, 3, 3};
  const Labels none{-1, -1}, good{0, 1}, high{0, 2}, low{0, -2};
  Table table(2, 3);
  for (const Labels* bad : {&high, &low}) {
    const Status status = cpu::accumulate(f, none.data(), bad->data(), table.view(3));
    CHECK(status.code == StatusCode::bad_shape && status.index == 1);
  }
  CHECK(!cpu::accumulate(f, none.data(), good.data(), table.view(4)).ok());
  CHECK((table.counts == std::vector<std::int64_t>{0, 0}));
  std::vector<double> out(2);
  CHECK(!cpu::distances(f, none.data(), {x.data(), 2, 3}, out.data()).ok());
  CHECK(!cpu::distances(f, good.data(), {x.data(), 1, 3}, out.data()).ok());
  CHECK(!cpu::distances(f, good.data(), {x.data(), 2, 2}, out.data()).ok());
}

TEST(distances_are_those_of_float64) {
  for (const std::int64_t dims : {1, 7, 8, 29}) {
    const std::int64_t rows = 150;
    const std::vector<float> x = rows_of(rows, dims);
    const std::vector<float> c(x.rbegin(), x.rbegin() + 5 * dims);
    const Features f{x.data(), DType::float32, rows, dims, dims};
    Labels labels(rows);
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 5);
    std::vector<double> one(labels.size()), three(labels.size());
    CHECK(cpu::distances(f, labels.data(), {c.data(), 5, dims}, one.data(), 1).ok());
    CHECK(cpu::distances(f, labels.data(), {c.data(), 5, dims}, three.data(), 3).ok());
    CHECK(one == three);
    for (std::int64_t i = 0; i < rows; ++i) {
      double expected = 0;
      for (std::int64_t d = 0; d < dims; ++d) {
        const double gap = static_cast<double>(x[static_cast<std::size_t>(i * dims + d)]) -
                           static_cast<double>(c[static_cast<std::size_t>(i % 5 * dims + d)]);
        expected += gap * gap;
      }
      CHECK(std::abs(one[static_cast<std::size_t>(i)] - expected) <= 1e-12 * expected);
    }
  }
}
