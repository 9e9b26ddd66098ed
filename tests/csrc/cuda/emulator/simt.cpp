#include "simt.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>

#include "cuda_runtime.h"

simt::Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {

namespace {

constexpr std::size_t kStackBytes = 64 << 10;

/// A stack of its own, entered once and kept for all grids. Switching saves no signal mask: that
/// would be a system call each time.
struct Fiber {
  ucontext_t entry;
  jmp_buf place;
  std::unique_ptr<unsigned char[]> stack;
  Block* block = nullptr;
  int thread = 0;
  bool done = false;
  const std::function<bool()>* waits_for = nullptr;
};

Cluster* running = nullptr;
Fiber* current = nullptr;
jmp_buf scheduler;
const std::function<void()>* body = nullptr;
std::vector<std::unique_ptr<Fiber>> fibers;

void leave() {
  if (_setjmp(current->place) == 0) _longjmp(scheduler, 1);
}

void live() {
  for (;;) {
    (*body)();
    current->done = true;
    ++current->block->left;
    leave();
  }
}

void resume(Fiber& fiber) {
  current = &fiber;
  blockIdx = fiber.block->index;
  threadIdx = Dim3(static_cast<unsigned>(fiber.thread), 0, 0);
  if (_setjmp(scheduler) != 0) return;
  if (fiber.stack) _longjmp(fiber.place, 1);
  fiber.stack.reset(new unsigned char[kStackBytes]);
  getcontext(&fiber.entry);
  fiber.entry.uc_stack.ss_sp = fiber.stack.get();
  fiber.entry.uc_stack.ss_size = kStackBytes;
  fiber.entry.uc_link = nullptr;
  makecontext(&fiber.entry, live, 0);
  setcontext(&fiber.entry);
}

/// Does some of the copies in flight; all of them if `must`.
bool do_copies(Cluster& cluster, bool must) {
  bool any = false;
  for (std::size_t i = 0; i < cluster.copies.size();) {
    if (!must && generator()() % 8 != 0) {
      ++i;
      continue;
    }
    const std::function<void()> copy = std::move(cluster.copies[i]);
    cluster.copies.erase(cluster.copies.begin() + static_cast<std::ptrdiff_t>(i));
    copy();
    any = true;
  }
  return any;
}

void run_cluster(Cluster& cluster, int threads) {
  running = &cluster;
  const std::size_t count = cluster.blocks.size() * static_cast<std::size_t>(threads);
  while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
  std::vector<Fiber*> order;
  for (std::size_t i = 0; i < count; ++i) {
    Fiber& fiber = *fibers[i];
    fiber.block = &cluster.blocks[i / static_cast<std::size_t>(threads)];
    fiber.thread = static_cast<int>(i % static_cast<std::size_t>(threads));
    fiber.done = false;
    fiber.waits_for = nullptr;
    order.push_back(&fiber);
  }
  while (!order.empty()) {
    bool progress = do_copies(cluster, false), any_done = false;
    // Another order in each pass: a random start and a random step that reaches every thread.
    const std::size_t size = order.size(), start = generator()() % size;
    std::size_t step = 1 + generator()() % size;
    while (std::gcd(step, size) != 1) ++step;
    for (std::size_t i = 0, place = start; i < size; ++i, place = (place + step) % size) {
      Fiber& fiber = *order[place];
      if (fiber.waits_for != nullptr && !(*fiber.waits_for)()) continue;
      fiber.waits_for = nullptr;
      resume(fiber);
      progress = true;
      any_done = any_done || fiber.done;
    }
    if (!progress && !do_copies(cluster, true)) fail("deadlock: every thread waits");
    if (any_done) std::erase_if(order, [](const Fiber* fiber) { return fiber->done; });
  }
  if (!cluster.copies.empty()) fail("the kernel ended with copies in flight");
  for (const Block& b : cluster.blocks)
    for (const Warp& w : b.warps)
      if (!w.products.empty()) fail("the kernel ended with products in flight");
  running = nullptr;
}

}  // namespace

Block& block() { return *current->block; }
Cluster& cluster() { return *running; }
int thread() { return current->thread; }

std::mt19937_64& generator() {
  static std::mt19937_64 state(1);
  return state;
}

Machine& machine() {
  static Machine state;
  return state;
}

void wait_until(const std::function<bool()>& ready) {
  while (!ready()) {
    current->waits_for = &ready;
    leave();
  }
}

void fail(const std::string& message) {
  std::fprintf(stderr, "emulator: %s\n", message.c_str());
  std::abort();
}

void sync_block() {
  Block& b = block();
  const unsigned turn = b.turn;
  if (++b.arrived == b.threads) {
    b.arrived = 0;
    ++b.turn;
  } else {
    wait_until([&b, turn] { return b.turn != turn; });
  }
}

void sync_cluster() {
  Cluster& c = cluster();
  const unsigned turn = c.turn;
  if (++c.arrived == static_cast<int>(c.blocks.size()) * c.blocks[0].threads) {
    c.arrived = 0;
    ++c.turn;
  } else {
    wait_until([&c, turn] { return c.turn != turn; });
  }
}

void run_grid(Dim3 grid, Dim3 threads, std::size_t shared_bytes, int cluster_size,
              const std::function<void()>& kernel) {
  if (grid.x == 0 || grid.x % static_cast<unsigned>(cluster_size) != 0)
    fail("a grid of no whole clusters");
  if (threads.x % 32 != 0 || threads.x > 1024) fail("a block of no whole warps");
  if (shared_bytes > 232448) fail("more shared memory than a block may have");
  body = &kernel;
  blockDim = threads;
  gridDim = grid;
  std::vector<unsigned> order(grid.x / static_cast<unsigned>(cluster_size));
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), generator());
  constexpr std::size_t kShadow = 64;
  const std::size_t bytes = (shared_bytes + kShadow + 1023) / 1024 * 1024;
  std::unique_ptr<unsigned char, decltype(&std::free)> memory(
      static_cast<unsigned char*>(
          std::aligned_alloc(1024, bytes * static_cast<std::size_t>(cluster_size))),
      &std::free);
  for (const unsigned first : order) {
    std::memset(memory.get(), 0xFF, bytes * static_cast<std::size_t>(cluster_size));
    Cluster c;
    c.blocks.resize(static_cast<std::size_t>(cluster_size));
    for (int rank = 0; rank < cluster_size; ++rank) {
      Block& b = c.blocks[static_cast<std::size_t>(rank)];
      b.index =
          Dim3(first * static_cast<unsigned>(cluster_size) + static_cast<unsigned>(rank), 0, 0);
      b.rank = rank;
      b.shared = memory.get() + bytes * static_cast<std::size_t>(rank);
      b.threads = static_cast<int>(threads.x);
      b.warps.resize(threads.x / 32);
    }
    run_cluster(c, static_cast<int>(threads.x));
    for (const Block& b : c.blocks)
      for (std::size_t i = shared_bytes; i < shared_bytes + kShadow; ++i)
        if (b.shared[i] != 0xFF) fail("a write past the end of shared memory");
  }
}

namespace {

constexpr std::size_t kGuard = 256;
std::map<void*, std::size_t>& blocks_in_use() {
  static std::map<void*, std::size_t> state;
  return state;
}

}  // namespace

void* allocate(std::size_t bytes) {
  const std::size_t size = (bytes + 255) / 256 * 256 + 2 * kGuard;
  auto* raw = static_cast<unsigned char*>(std::aligned_alloc(256, size));
  std::memset(raw, 0xFF, size);
  std::memset(raw, 0xA5, kGuard);
  std::memset(raw + kGuard + bytes, 0xA5, size - kGuard - bytes);
  blocks_in_use()[raw + kGuard] = bytes;
  return raw + kGuard;
}

void release(void* memory) {
  if (memory == nullptr) return;
  const auto found = blocks_in_use().find(memory);
  if (found == blocks_in_use().end()) fail("memory freed that is not in use");
  auto* raw = static_cast<unsigned char*>(memory) - kGuard;
  const std::size_t bytes = found->second, size = (bytes + 255) / 256 * 256 + 2 * kGuard;
  for (std::size_t i = 0; i < size; ++i)
    if ((i < kGuard || i >= kGuard + bytes) && raw[i] != 0xA5)
      fail("a write outside of device memory");
  std::free(raw);
  blocks_in_use().erase(found);
}

std::size_t allocated() {
  std::size_t sum = 0;
  for (const auto& [memory, bytes] : blocks_in_use()) sum += bytes;
  return sum;
}

}  // namespace simt
