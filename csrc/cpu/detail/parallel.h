// Tasks 0..n-1 handed out in order to a few threads that live for one call: nothing survives a
// fork, nothing is shared between callers, and many Python threads may be inside at once.
#pragma once

#include <atomic>
#include <cfenv>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace spire_dsu::cpu {

/// Rounding to nearest with denormal numbers kept, as every error bound here assumes; the caller's
/// own mode comes back.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_{};
};

/// The lowest of the indices that any thread offered.
class FirstIndex {
 public:
  void offer(std::int64_t index) {
    for (std::int64_t seen = index_; index < seen && !index_.compare_exchange_weak(seen, index);) {
    }
  }
  bool any() const { return index_ != kNone; }
  std::int64_t index() const { return index_; }

 private:
  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> index_{kNone};
};

/// Calls body(worker, task) for every task; worker is in [0, threads). The first exception ends the
/// work and is passed on.
template <class Body>
void parallel_for(int threads, std::int64_t tasks, const Body& body) {
  std::atomic<std::int64_t> next{0};
  std::once_flag thrown;
  std::exception_ptr exception;
  const auto work = [&](int worker) {
    const DefaultFloatEnvironment environment;
    try {
      for (std::int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;)
        body(worker, task);
    } catch (...) {
      std::call_once(thrown, [&] { exception = std::current_exception(); });
      next = tasks;
    }
  };
  std::vector<std::thread> others;
  try {
    for (int worker = 1; worker < threads && worker < tasks; ++worker)
      others.emplace_back(work, worker);
  } catch (const std::system_error&) {
    // The machine has no thread to give: those that started, and this one, do all the tasks.
  }
  work(0);
  for (std::thread& other : others) other.join();
  if (exception) std::rethrow_exception(exception);
}

}  // namespace spire_dsu::cpu
