// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Workers, barriers and sleeping, with fewer and with many more threads than CPUs.
#include "backends/cpu/driver/worker_pool.h"

#include <sched.h>

#include <chrono>
#include <vector>

#include "backends/cpu/driver/cpu_features.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::cpu {
namespace {

class WorkerPoolTest : public ::testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Workers, WorkerPoolTest, ::testing::Values(1, 2, 3, 8, 33));

TEST_P(WorkerPoolTest, EveryWorkerRunsEveryJob) {
  WorkerPool pool(GetParam(), UsableCpus().cpus);
  std::vector<int> counts(static_cast<size_t>(GetParam()));
  for (int run = 0; run < 200; ++run) {
    pool.Run([&](int worker) { ++counts[static_cast<size_t>(worker)]; });
  }
  EXPECT_THAT(counts, ::testing::Each(200));
}

// Each round reads what all workers wrote in the round before: fails without the barrier, and takes minutes
// when spinning workers keep others from their CPU.
TEST_P(WorkerPoolTest, BarriersHoldAndDoNotCollapse) {
  constexpr int kRounds = 1000;
  const int workers = GetParam();
  WorkerPool pool(workers, UsableCpus().cpus);
  std::vector<int> values(static_cast<size_t>(workers)), wrong(values), last(values);
  const auto start = std::chrono::steady_clock::now();
  int lasts = 0;
  pool.Run([&](int worker) {
    for (int round = 1; round <= kRounds; ++round) {
      values[static_cast<size_t>(worker)] = round;
      pool.barrier().Arrive([&] { ++lasts; });
      for (int value : values) wrong[static_cast<size_t>(worker)] += value != round;
      pool.barrier().Arrive([] {});
    }
  });
  EXPECT_THAT(wrong, ::testing::Each(0));
  EXPECT_EQ(lasts, kRounds);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST_P(WorkerPoolTest, TheCallersThreadIsLeftAsItWas) {
  cpu_set_t before, after;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  {
    WorkerPool pool(GetParam(), UsableCpus().cpus);
    pool.Run([](int) {});
  }
  ASSERT_EQ(::sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
  volatile float smallest = 1.17549435e-38f;
  EXPECT_NE(smallest * 0.5f, 0.0f);  // subnormals live on outside
}

TEST(WorkerPool, FlushesSubnormalsOnEveryWorker) {
  for (int workers : {1, 4}) {
    WorkerPool pool(workers, UsableCpus().cpus);
    std::vector<float> halves(static_cast<size_t>(workers), 1.0f);
    pool.Run([&](int worker) {
      volatile float smallest = 1.17549435e-38f;
      halves[static_cast<size_t>(worker)] = smallest * 0.5f;
    });
    EXPECT_THAT(halves, ::testing::Each(0.0f));
  }
}

TEST(WorkerPool, IdleWorkersSleep) {
  WorkerPool pool(2, UsableCpus().cpus);
  pool.Run([](int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const double used = static_cast<double>(after.tv_sec - before.tv_sec) +
                      static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e9;
  EXPECT_LT(used, 0.05);
}

}  // namespace
}  // namespace fathom::cpu
