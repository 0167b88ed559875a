// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stages of independent items that run one after another, shared by the workers of a pool.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_STAGED_JOB_H_
#define FATHOM_BACKENDS_CPU_DRIVER_STAGED_JOB_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "backends/cpu/driver/worker_pool.h"

namespace fathom::cpu {

// A stage begins when every item of the one before is done. What ends a stage is the number of
// items done, not the number of workers that have arrived, so a worker without a CPU holds up
// nobody, unless it is inside an item. Items are claimed through one word that holds the stage and
// the next item: a claim succeeds only in the stage it was meant for, however late the claimant
// comes.
//
// Workers claim runs of items that shrink as the stage empties: long runs first, so that a worker
// streams through neighbouring memory, single items last, so that all finish together. The first
// run is half of a worker's even share: all of it would leave nothing to do for those who are faster.
// A stage can have a longest run, where its items are not alike beyond it.
class StagedJob : public Job {
 public:
  static constexpr uint64_t kMaxItems = UINT32_MAX / 2;  // of a stage

  struct Stage {
    uint64_t items = 0;  // at most kMaxItems; there may be none
    uint64_t longest_run = kMaxItems;  // that a worker may claim at once; at least 1
  };

  StagedJob(WorkerPool& pool, std::vector<Stage> stages)
      : pool_(pool), stages_(std::move(stages)) {}
  // The derived destructor calls Retire first, while its members live.
  void Retire() { pool_.Retire(*this); }

  // Runs all stages, on the calling thread and the pool; again and again, never twice at once.
  void Run();

 protected:
  // Computes items [begin, end) of `stage`.
  virtual void RunItems(size_t stage, uint64_t begin, uint64_t end, int worker) = 0;
  // All items of `stage` are done and nobody has begun the next one. On any thread.
  virtual void StageDone(size_t stage) {}

 private:
  void Work(int worker) override;
  // The last item of `stage` is done: opens the next stage that has items.
  void Advance(size_t stage);
  void Open(size_t stage);

  WorkerPool& pool_;
  const std::vector<Stage> stages_;
  // The open stage (or stages_.size() when complete) in the upper half, its next item in the lower.
  // Those who wait for a stage sleep on the upper half.
  alignas(64) std::atomic<uint64_t> ticket_ = 0;
  std::atomic<uint32_t> sleepers_ = 0;
  alignas(64) std::atomic<uint64_t> done_ = 0;  // items of the open stage that are done
};

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_STAGED_JOB_H_
