// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A fixed set of pinned threads that work on one job at a time, and the barrier they meet at.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_WORKER_POOL_H_
#define FATHOM_BACKENDS_CPU_DRIVER_WORKER_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace fathom::cpu {

// A 32-bit word that threads wait on: a short spin, then a futex. Safe with more threads than CPUs,
// because nobody spins for longer than `spin_ns`.
class WaitWord {
 public:
  uint32_t load() const { return word_.load(std::memory_order_acquire); }
  // Returns once the word differs from `old`.
  void WaitWhile(uint32_t old, uint64_t spin_ns);
  // Sets the word and wakes everybody who sleeps on it.
  void Store(uint32_t value);

 private:
  std::atomic<uint32_t> word_ = 0;
  std::atomic<uint32_t> sleepers_ = 0;
};

// Between dispatches of one submission: the last of `count` threads to arrive runs `last`, then all go
// on. Any number of rounds.
class Barrier {
 public:
  Barrier(uint32_t count, uint64_t spin_ns) : count_(count), spin_ns_(spin_ns) {}
  template <typename Last>
  void Arrive(Last&& last) {
    const uint32_t round = round_.load();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
      last();
      arrived_.store(0, std::memory_order_relaxed);
      round_.Store(round + 1);
    } else {
      round_.WaitWhile(round, spin_ns_);
    }
  }

 private:
  const uint32_t count_;
  const uint64_t spin_ns_;
  alignas(64) std::atomic<uint32_t> arrived_ = 0;
  alignas(64) WaitWord round_;
};

class WorkerPool {
 public:
  // `workers` >= 1, the caller of Run included. Worker i is pinned to cpus[i], unless there are more
  // workers than CPUs: then nobody is pinned and nobody spins for long.
  WorkerPool(int workers, std::vector<int> cpus);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int workers() const { return workers_; }
  Barrier& barrier() { return barrier_; }

  // Calls job(i) for each worker i at once, job(0) on the calling thread, which is pinned meanwhile.
  // Returns when all have returned. One Run at a time. Every call sees the same floating-point mode:
  // round to nearest, subnormals flushed to zero.
  void Run(absl::FunctionRef<void(int worker)> job);

 private:
  void Work(int worker);

  const int workers_;
  const std::vector<int> cpus_;  // empty: not pinned
  const uint64_t spin_ns_;
  Barrier barrier_;
  const absl::FunctionRef<void(int)>* job_ = nullptr;
  bool stop_ = false;
  alignas(64) WaitWord epoch_;
  alignas(64) std::atomic<int> running_ = 0;
  alignas(64) WaitWord finished_;
  std::vector<std::thread> threads_;
};

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_WORKER_POOL_H_
