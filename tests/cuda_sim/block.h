// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One launch, and a block of it: warps that run in random order from barrier to barrier.
#ifndef FATHOM_TESTS_CUDA_SIM_BLOCK_H_
#define FATHOM_TESTS_CUDA_SIM_BLOCK_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_sim/memory.h"
#include "tests/cuda_sim/program.h"
#include "tests/cuda_sim/shared_memory.h"
#include "tests/cuda_sim/warp.h"

namespace fathom::cuda_sim {

struct LaunchOptions {
  Uninitialised uninitialised = Uninitialised::report;
  uint64_t seed = 1;
  bool global_races = true;
  uint64_t max_steps = uint64_t{1} << 32;  // instructions of a warp in one block
};

// What all blocks of a launch share.
struct Launch {
  const Kernel* kernel = nullptr;
  std::array<uint32_t, 3> grid = {1, 1, 1};
  std::array<uint32_t, 3> threads = {1, 1, 1};
  uint32_t dynamic_bytes = 0;
  std::vector<uint8_t> parameters;  // kernel->parameter_bytes
  const RegionList* regions = nullptr;
  uint64_t number = 1;  // of the launch; another one for each
  LaunchOptions options;
};

// Runs all blocks, in an order the seed chooses, on two threads. Throws the Fault of the first
// block in that order that has one, with a full report as its text: kernel, PTX line and text,
// block, thread.
void RunLaunch(const Launch& launch);

// Memory of the threads themselves.
class LocalMemory {
 public:
  LocalMemory(uint32_t bytes, uint32_t threads, Uninitialised mode);
  void Reset();
  const uint8_t* Read(uint64_t address, uint32_t bytes, uint32_t thread) const;
  uint8_t* Write(uint64_t address, uint32_t bytes, uint32_t thread);

 private:
  void Check(uint64_t address, uint32_t bytes) const;
  const uint32_t bytes_;
  const Uninitialised mode_;
  std::vector<uint8_t> data_;
  std::vector<uint8_t> valid_;
};

// Reused for one block after another.
class Block {
 public:
  explicit Block(const Launch& launch);
  // Runs block `index` of the grid. Throws Fault with the report.
  void Run(const std::array<uint32_t, 3>& index, uint64_t seed);

  const Launch& launch() const { return launch_; }
  const std::array<uint32_t, 3>& index() const { return index_; }
  uint32_t number() const {
    return index_[0] + launch_.grid[0] * (index_[1] + launch_.grid[1] * index_[2]);
  }
  uint32_t epoch() const { return epoch_; }  // barriers so far
  uint32_t thread_count() const { return thread_count_; }
  uint32_t warp_count() const { return static_cast<uint32_t>(warps_.size()); }
  SharedMemory& shared() { return shared_; }
  LocalMemory& local() { return local_; }

 private:
  void RunWarps(uint64_t seed);
  void ReleaseBarrier();
  [[noreturn]] void Report(const Fault& fault, const Warp* warp) const;

  const Launch& launch_;
  const uint32_t thread_count_;
  std::array<uint32_t, 3> index_ = {0, 0, 0};
  uint32_t epoch_ = 0;
  SharedMemory shared_;
  LocalMemory local_;
  std::vector<std::unique_ptr<Warp>> warps_;
  Warp* running_ = nullptr;
};

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_BLOCK_H_
