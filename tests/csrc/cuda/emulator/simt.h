// Runs CUDA kernels on the CPU: every CUDA thread is a fiber, fibers are scheduled at random, and
// nothing asynchronous happens before it must. Kernels are compiled as they are, against headers of
// this folder that stand in for CUDA's; what they would do wrong on a device by racing ahead of a
// barrier, a copy or a product in flight, they do wrong here too, and with a seed that repeats it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace simt {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

/// One warp-wide product that has been issued but not awaited.
struct Product {
  int group = 0;  // 0 until committed, then a running number
  std::function<void()> run;
};

struct Warp {
  int arrived = 0;
  unsigned turn = 0;
  const char* operation = nullptr;  // all lanes must meet in the same one
  void* arguments[32] = {};
  std::vector<Product> products;
  int groups = 0;
};

struct Block {
  Dim3 index;
  int rank = 0;  // in its cluster
  unsigned char* shared = nullptr;
  std::vector<Warp> warps;
  int arrived = 0;
  unsigned turn = 0;
  int threads = 0;
  int left = 0;  // threads that have returned
};

/// The blocks of one cluster run together, clusters one after another.
struct Cluster {
  std::vector<Block> blocks;
  int arrived = 0;
  unsigned turn = 0;
  std::vector<std::function<void()>> copies;  // issued, not yet done; they finish in any order
};

/// Where a shared-memory address of the kernel's own reckoning starts.
constexpr std::uint32_t kSharedBase = 1024;

Block& block();
Cluster& cluster();
int thread();
inline Warp& warp() { return block().warps[static_cast<std::size_t>(thread() / 32)]; }
std::mt19937_64& generator();

/// Other threads run until `ready`. Nobody ready and nothing in flight: a deadlock, and the end.
void wait_until(const std::function<bool()>& ready);
[[noreturn]] void fail(const std::string& message);

void sync_block();
void sync_cluster();

/// Collective of a whole warp: the last lane to come does `all` for the arguments of all 32.
template <class Arguments, class All>
void meet(const char* operation, Arguments& arguments, const All& all) {
  Warp& w = warp();
  if (w.arrived == 0) w.operation = operation;
  if (w.operation != operation)
    fail(std::string("lanes meet in ") + w.operation + " and " + operation);
  w.arguments[thread() % 32] = &arguments;
  if (++w.arrived == 32) {
    Arguments* every[32];
    for (int lane = 0; lane < 32; ++lane) every[lane] = static_cast<Arguments*>(w.arguments[lane]);
    w.arrived = 0;
    ++w.turn;
    all(every);
    return;
  }
  const unsigned turn = w.turn;
  wait_until([&w, turn] { return w.turn != turn; });
}

/// Runs a whole grid, blocks in random order.
void run_grid(Dim3 grid, Dim3 threads, std::size_t shared_bytes, int cluster_size,
              const std::function<void()>& kernel);

/// What the kernels find themselves on.
struct Machine {
  int multiprocessors = 3;
  int major = 9, minor = 0;
  bool truncate = true;  // tensor cores as the error bound allows them at worst; false: as exact as
                         // float32 sums are
};
Machine& machine();

/// Device memory: filled with NaN, checked for writes around it when freed.
void* allocate(std::size_t bytes);
void release(void* memory);
std::size_t allocated();  // bytes now in use

}  // namespace simt
