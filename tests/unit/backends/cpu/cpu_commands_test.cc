// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How long the runs of workgroups are that workers claim.
#include "backends/cpu/driver/cpu_commands.h"

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <thread>
#include <vector>

#include "backends/cpu/driver/cpu_features.h"
#include "gtest/gtest.h"

namespace fathom::cpu {
namespace {

using Grid = std::array<uint32_t, 3>;

// One stage of dispatches, shared by two workers. The worker that has the first workgroup waits in
// it until the other has computed all but `expected`: of the first workgroups it then computes
// those that it claimed at once, and no others. If it claimed more, a timeout ends the wait.
class FirstRun {
 public:
  FirstRun(std::vector<Grid> grids, uint64_t expected) {
    for (const Grid& grid : grids) {
      Part& part = parts_.emplace_back();
      part = {this, grid, owners_.size(), &part};
      owners_.resize(owners_.size() + grid[0] * grid[1] * grid[2]);
    }
    others_ = owners_.size() - expected;
  }

  // How many workgroups from the first on one worker computed.
  uint64_t Measure() {
    WorkerPool pool(2, UsableCpus().cpus);
    Scratch scratch(2);
    EXPECT_TRUE(scratch.Reserve(1).ok());
    std::vector<RecordedDispatch> dispatches;
    for (Part& part : parts_) {
      const auto [x, y, z] = part.grid;
      dispatches.push_back({.code = Compute,
                            .bindings = &part.binding,
                            .x = x,
                            .y = y,
                            .workgroups = uint64_t{x} * y * z});
    }
    const auto end = static_cast<uint32_t>(dispatches.size());
    DispatchJob(pool, scratch, dispatches, {end}).Run();
    uint64_t run = 1;
    while (run < owners_.size() && owners_[run] == owners_[0]) ++run;
    return run;
  }

 private:
  struct Part {
    FirstRun* job = nullptr;
    Grid grid;
    uint64_t first = 0;  // number of its first workgroup
    void* binding = nullptr;
  };

  static void Compute(const fathom_cpu_args* args, uint32_t x, uint32_t y, uint32_t z) {
    const Part& part = *static_cast<const Part*>(args->bindings[0]);
    FirstRun& job = *part.job;
    const uint64_t item = part.first + x + uint64_t{part.grid[0]} * (y + part.grid[1] * z);
    job.owners_[item] = args->scratch;
    ++job.done_;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (item == 0 && job.done_ <= job.others_) {
      if (std::chrono::steady_clock::now() > limit) break;
      std::this_thread::yield();
    }
  }

  std::deque<Part> parts_;
  std::vector<void*> owners_;  // the worker's scratch of each workgroup
  std::atomic<uint64_t> done_ = 0;
  uint64_t others_ = 0;
};

void ExpectFirstRun(uint64_t expected, const std::vector<Grid>& grids) {
  EXPECT_EQ(FirstRun(grids, expected).Measure(), expected) << ::testing::PrintToString(grids);
}

TEST(DispatchJob, ClaimsOneRowAtMost) {
  ExpectFirstRun(4, {{4, 16, 1}});
  ExpectFirstRun(4, {{4, 1, 16}});
  ExpectFirstRun(2, {{2, 4, 8}});
  ExpectFirstRun(4, {{16, 4, 1}, {4, 16, 1}, {64, 1, 1}});  // the shortest of the stage
}

// Half of a worker's even share.
TEST(DispatchJob, ClaimsSeveralWorkgroupsOfOneRow) {
  ExpectFirstRun(16, {{64, 1, 1}});
  ExpectFirstRun(16, {{32, 2, 1}});
  ExpectFirstRun(16, {{8, 1, 1}, {56, 1, 1}});
}

TEST(DispatchJob, ClaimsSeveralRowsOfOneWorkgroup) {
  ExpectFirstRun(16, {{1, 64, 1}});
  ExpectFirstRun(16, {{1, 4, 16}});
}

}  // namespace
}  // namespace fathom::cpu
