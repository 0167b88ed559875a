// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stages keep their order and every item runs once, with fewer and with many more workers than
// CPUs.
#include "backends/cpu/driver/staged_job.h"

#include <chrono>
#include <numeric>

#include "backends/cpu/driver/cpu_features.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::cpu {
namespace {

// Item i of each stage reads neighbours of the stage before and writes its own place; plain memory,
// so that a missing order shows as a wrong number (and in a thread sanitizer).
class Ripple final : public StagedJob {
 public:
  static constexpr uint64_t kLongestRun = 3;

  Ripple(WorkerPool& pool, const std::vector<uint64_t>& items)
      : StagedJob(pool, Stages(items)), items_(items), values_(2, std::vector<uint64_t>(1000)) {}
  ~Ripple() override { Retire(); }

  // What one thread computes.
  static std::vector<uint64_t> Expected(const std::vector<uint64_t>& items, int runs) {
    std::vector<std::vector<uint64_t>> values(2, std::vector<uint64_t>(1000));
    for (int run = 0; run < runs; ++run) {
      for (size_t stage = 0; stage < items.size(); ++stage) {
        for (uint64_t i = 0; i < items[stage]; ++i) Compute(values, stage, i);
      }
    }
    return values[0];
  }
  const std::vector<uint64_t>& values() const { return values_[0]; }
  const std::vector<size_t>& done() const { return done_; }

 private:
  // Every second stage with a longest run, which is the same for all workers.
  static std::vector<Stage> Stages(const std::vector<uint64_t>& items) {
    std::vector<Stage> stages;
    for (uint64_t count : items) {
      stages.push_back({.items = count});
      if (stages.size() % 2 == 0) stages.back().longest_run = kLongestRun;
    }
    return stages;
  }
  static void Compute(std::vector<std::vector<uint64_t>>& values, size_t stage, uint64_t i) {
    const std::vector<uint64_t>& from = values[stage % 2];
    values[1 - stage % 2][i] =
        from[i] + 3 * from[(i + 1) % 1000] + 5 * from[(i + 999) % 1000] + stage + i;
  }
  void RunItems(size_t stage, uint64_t begin, uint64_t end, int) override {
    if (stage % 2 == 1) EXPECT_LE(end - begin, kLongestRun);
    for (uint64_t i = begin; i < end; ++i) Compute(values_, stage, i);
  }
  void StageDone(size_t stage) override { done_.push_back(stage); }

  const std::vector<uint64_t> items_;
  std::vector<std::vector<uint64_t>> values_;
  std::vector<size_t> done_;
};

class StagedJobTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Workers, StagedJobTest, ::testing::Values(1, 2, 3, 8, 33));

TEST_P(StagedJobTest, StagesRunInOrderAndItemsOnce) {
  WorkerPool pool(GetParam(), UsableCpus().cpus);
  std::vector<uint64_t> items;
  for (uint64_t i = 0; i < 60; ++i) items.push_back(i * 37 % 1001);
  items[10] = items[11] = items[59] = items[0] = 0;
  Ripple job(pool, items);
  for (int run = 0; run < 20; ++run) job.Run();
  EXPECT_EQ(job.values(), Ripple::Expected(items, 20));
  ASSERT_EQ(job.done().size(), 60u * 20);
  for (size_t i = 0; i < job.done().size(); ++i) EXPECT_EQ(job.done()[i], i % 60);
}

TEST_P(StagedJobTest, SeveralJobsTakeTurns) {
  WorkerPool pool(GetParam(), UsableCpus().cpus);
  const std::vector<uint64_t> a = {5, 1000, 1, 7}, b = {1, 1, 1};
  Ripple first(pool, a), second(pool, b);
  for (int run = 0; run < 100; ++run) {
    first.Run();
    second.Run();
    Ripple brief(pool, b);  // destroyed while workers may still look at it
    brief.Run();
    EXPECT_EQ(brief.values(), Ripple::Expected(b, 1));
  }
  EXPECT_EQ(first.values(), Ripple::Expected(a, 100));
  EXPECT_EQ(second.values(), Ripple::Expected(b, 100));
}

TEST_P(StagedJobTest, NothingToDo) {
  WorkerPool pool(GetParam(), UsableCpus().cpus);
  Ripple empty(pool, {}), hollow(pool, {0, 0, 0});
  empty.Run();
  hollow.Run();
  EXPECT_THAT(hollow.done(), ::testing::ElementsAre(0u, 1u, 2u));
}

// Thousands of stages of one item are what a decode looks like to a worker that gets none of them.
// With workers that had to arrive at each stage, 33 of them on two CPUs would take minutes.
TEST_P(StagedJobTest, DoesNotCollapse) {
  WorkerPool pool(GetParam(), UsableCpus().cpus);
  const std::vector<uint64_t> items(5000, 1);
  Ripple job(pool, items);
  const auto start = std::chrono::steady_clock::now();
  job.Run();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_EQ(job.values(), Ripple::Expected(items, 1));
}

}  // namespace
}  // namespace fathom::cpu
