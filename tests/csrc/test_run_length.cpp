#include <sys/mman.h>
#include <unistd.h>

#include <limits>

#include "check.h"
#include "spire_dsu/run_length.h"

using namespace spire_dsu;
using Ids = std::vector<std::int32_t>;
using Splits = std::vector<std::int64_t>;

struct Result {
  Ids units, durations;
  Splits splits;
};

static Result run(Ids ids, const Splits& splits) {
  const RowSplits rows{splits.data(), static_cast<std::int64_t>(splits.size()) - 1};
  CHECK(check_row_splits(rows, static_cast<std::int64_t>(ids.size())).ok());
  Result apart{Ids(ids.size()), Ids(ids.size()), Splits(splits.size())};
  CHECK(cpu::run_length(ids.data(), rows, apart.units.data(), apart.durations.data(),
                        apart.splits.data())
            .ok());
  Result in_place{ids, Ids(ids.size()), Splits(splits.size())};
  CHECK(cpu::run_length(in_place.units.data(), rows, in_place.units.data(),
                        in_place.durations.data(), in_place.splits.data())
            .ok());
  const auto size = static_cast<std::size_t>(apart.splits.back());
  for (Result* each : {&apart, &in_place}) {
    each->units.resize(size);
    each->durations.resize(size);
  }
  CHECK(apart.units == in_place.units && apart.durations == in_place.durations &&
        apart.splits == in_place.splits);
  return apart;
}

TEST(run_length_of_nothing) {
  const Result no_rows = run({}, {0});
  CHECK(no_rows.units.empty() && no_rows.splits == Splits{0});
  const Result empty_rows = run({}, {0, 0, 0});
  CHECK(empty_rows.units.empty() && (empty_rows.splits == Splits{0, 0, 0}));
}

TEST(run_length_never_merges_across_rows) {
  const Result result = run({7, 7, 3, 3, 3, 3}, {0, 3, 3, 5, 6});
  CHECK((result.units == Ids{7, 3, 3, 3}));
  CHECK((result.durations == Ids{2, 1, 2, 1}));
  CHECK((result.splits == Splits{0, 2, 2, 3, 4}));
}

TEST(run_length_of_a_run_over_16_bits) {
  const Result result = run(Ids(70'000, 5), {0, 70'000});
  CHECK((result.units == Ids{5}) && (result.durations == Ids{70'000}));
}

TEST(row_splits_that_are_refused) {
  const auto code = [](const Splits& splits, std::int64_t items) {
    const Status status =
        check_row_splits({splits.data(), static_cast<std::int64_t>(splits.size()) - 1}, items);
    CHECK(status.code == StatusCode::bad_row_splits);
    return status.index;
  };
  CHECK_EQ(code({1, 3}, 3), 0);
  CHECK_EQ(code({0, 2, 1, 3}, 3), 2);
  CHECK_EQ(code({0, 4}, 3), 1);
  CHECK_EQ(code({0, 2}, 3), 1);
  CHECK_EQ(code({0}, 3), 0);
}

/// `total` int32 in address space, all of them one stretch of memory seen again and again.
class Repeated {
 public:
  static constexpr std::int64_t kPiece = std::int64_t{1} << 20;

  explicit Repeated(std::int64_t total) : bytes_(static_cast<std::size_t>(total) * 4) {
    const int file = memfd_create("ids", 0);
    CHECK_EQ(ftruncate(file, kPiece * 4), 0);
    base_ = static_cast<char*>(
        mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (std::size_t at = 0; at < bytes_; at += kPiece * 4)
      mmap(base_ + at, kPiece * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    close(file);
  }
  ~Repeated() { munmap(base_, bytes_); }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;
  std::int32_t* data() { return reinterpret_cast<std::int32_t*>(base_); }

 private:
  char* base_;
  std::size_t bytes_;
};

TEST(run_length_over_more_than_2_to_the_31_frames) {
  if (spire_dsu::test::multiplier() < 2) return;  // seconds, and 17 GB of address space
  constexpr std::int64_t kTotal = (std::int64_t{1} << 31) + Repeated::kPiece;
  Repeated ids(kTotal), durations(kTotal);
  const Splits two_rows = {0, kTotal - 10, kTotal};
  Splits splits(3);
  Ids units(16);
  const Status status = cpu::run_length(ids.data(), {two_rows.data(), 2}, units.data(),
                                        durations.data(), splits.data());
  CHECK(status.code == StatusCode::run_too_long);
  CHECK_EQ(status.index, 0);
  Splits many = {0};
  for (std::int64_t t = kTotal / 8; t <= kTotal; t += kTotal / 8) many.push_back(t);
  splits.resize(many.size());
  CHECK(cpu::run_length(ids.data(), {many.data(), 8}, units.data(), durations.data(), splits.data())
            .ok());
  CHECK_EQ(splits.back(), 8);
  CHECK_EQ(durations.data()[7], kTotal / 8);
}
