// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Workers join jobs, sleep when idle, and leave the caller's thread as it was.
#include "backends/cpu/driver/worker_pool.h"

#include <sched.h>

#include <chrono>
#include <functional>
#include <vector>

#include "backends/cpu/driver/cpu_features.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::cpu {
namespace {

using std::chrono::milliseconds;

class FunctionJob final : public Job {
 public:
  FunctionJob(WorkerPool& pool, std::function<void(int)> work)
      : pool_(pool), work_(std::move(work)) {}
  ~FunctionJob() override { pool_.Retire(*this); }
  void Work(int worker) override { work_(worker); }

 private:
  WorkerPool& pool_;
  const std::function<void(int)> work_;
};

class WorkerPoolTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Workers, WorkerPoolTest, ::testing::Values(1, 2, 3, 8, 33));

TEST_P(WorkerPoolTest, EveryWorkerCanJoinAJob) {
  WorkerPool pool(GetParam(), UsableCpus().cpus);
  std::atomic<int> inside = 0;
  // Each stays until all are there: hangs if one never comes.
  FunctionJob job(pool, [&](int) {
    ++inside;
    while (inside < GetParam()) std::this_thread::yield();
  });
  pool.Run(job);
  EXPECT_EQ(inside, GetParam());
}

TEST_P(WorkerPoolTest, TheCallerIsWorkerZeroAndWaitsForNobody) {
  WorkerPool pool(GetParam(), UsableCpus().cpus);
  std::atomic<bool> done = false;
  const auto caller = std::this_thread::get_id();
  FunctionJob job(pool, [&](int worker) {
    if (worker == 0) {
      EXPECT_EQ(std::this_thread::get_id(), caller);
    } else {
      while (!done) std::this_thread::yield();
    }
  });
  pool.Run(job);  // returns although the others are still inside
  done = true;
}

TEST_P(WorkerPoolTest, TheCallersThreadIsLeftAsItWas) {
  cpu_set_t before, after;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  WorkerPool pool(GetParam(), UsableCpus().cpus);
  FunctionJob job(pool, [](int) {});
  pool.Run(job);
  ASSERT_EQ(::sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
  volatile float smallest = 1.17549435e-38f;
  EXPECT_NE(smallest * 0.5f, 0.0f);  // subnormals live on outside
}

TEST(WorkerPool, FlushesSubnormalsOnEveryWorker) {
  for (int workers : {1, 4}) {
    WorkerPool pool(workers, UsableCpus().cpus);
    std::vector<float> halves(static_cast<size_t>(workers), 1.0f);
    std::atomic<int> inside = 0;
    FunctionJob job(pool, [&](int worker) {
      volatile float smallest = 1.17549435e-38f;
      halves[static_cast<size_t>(worker)] = smallest * 0.5f;
      ++inside;
      while (inside < workers) std::this_thread::yield();
    });
    pool.Run(job);
    EXPECT_THAT(halves, ::testing::Each(0.0f));
  }
}

TEST(WorkerPool, IdleWorkersSleep) {
  WorkerPool pool(2, UsableCpus().cpus);
  FunctionJob job(pool, [](int) {});
  pool.Run(job);
  std::this_thread::sleep_for(milliseconds(50));
  timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(milliseconds(300));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const double used = static_cast<double>(after.tv_sec - before.tv_sec) +
                      static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e9;
  EXPECT_LT(used, 0.05);
}

}  // namespace
}  // namespace fathom::cpu
