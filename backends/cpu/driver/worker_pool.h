// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A fixed set of pinned threads that help the calling thread with one job at a time.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_WORKER_POOL_H_
#define FATHOM_BACKENDS_CPU_DRIVER_WORKER_POOL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace fathom::cpu {

// Work that any number of threads can share.
class Job {
 public:
  virtual ~Job() = default;
  // Takes part until the job is complete. May be called before, while and after others work, or
  // never, on each worker but 0: a thread that gets no CPU must not hold up those that have one.
  virtual void Work(int worker) = 0;
};

class WorkerPool {
 public:
  // `workers` >= 1, the caller of Run included. Worker i is pinned to cpus[i], unless there are
  // more workers than CPUs: then nobody is pinned and nobody spins for long.
  WorkerPool(int workers, std::vector<int> cpus);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int workers() const { return workers_; }
  // How long a worker may spin for others before it sleeps.
  uint64_t spin_ns() const { return spin_ns_; }

  // Calls job.Work(0) on the calling thread, which is pinned meanwhile, and offers the job to the
  // others. Returns when Work(0) does. One Run at a time. Every worker has the same floating-point
  // mode: round to nearest, subnormals flushed to zero.
  void Run(Job& job);
  // Returns once no worker is inside `job` any more; call before it is destroyed. Not while Run
  // runs it.
  void Retire(const Job& job);

 private:
  struct alignas(64) Slot {
    std::atomic<const Job*> inside = nullptr;  // the job that worker may be touching
  };

  void Work(int worker);
  void NextEpoch();

  const int workers_;
  const std::vector<int> cpus_;  // empty: not pinned
  const uint64_t spin_ns_;
  alignas(64) std::atomic<Job*> current_ = nullptr;
  std::atomic<bool> stop_ = false;
  alignas(64) std::atomic<uint32_t> epoch_ = 0;  // counts Runs
  std::atomic<uint32_t> sleepers_ = 0;           // on epoch_
  std::unique_ptr<Slot[]> slots_;
  std::vector<std::thread> threads_;
};

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_WORKER_POOL_H_
