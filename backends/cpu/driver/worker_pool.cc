// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pinning, the floating-point mode, and offering jobs to workers.
#include "backends/cpu/driver/worker_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

#include "backends/cpu/driver/futex.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fathom::cpu {
namespace {

// Long enough for any workgroup still running on another core; short against a time slice.
constexpr uint64_t kSpin = 200'000;
// With more workers than CPUs somebody else needs the CPU to make progress.
constexpr uint64_t kSpinOversubscribed = 2'000;
// Between two submissions of one token there is sampling and little else.
constexpr uint64_t kIdleSpin = 50'000;

// Sets the mode for a scope and restores the caller's.
class FloatMode {
 public:
#if defined(__x86_64__)
  FloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80 | 0x8000 | 0x0040); }  // masked, FTZ, DAZ
  ~FloatMode() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#else
  FloatMode() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    __asm__ volatile("msr fpcr, %0" : : "r"(uint64_t{1} << 24));  // FZ
  }
  ~FloatMode() { __asm__ volatile("msr fpcr, %0" : : "r"(saved_)); }

 private:
  uint64_t saved_;
#endif
};

bool PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return ::sched_setaffinity(0, sizeof(set), &set) == 0;
}

// Pins the calling thread for a scope. A caller that stayed where it was pays two system calls.
class ScopedPin {
 public:
  explicit ScopedPin(const std::vector<int>& cpus) {
    if (cpus.empty()) return;
    CPU_ZERO(&saved_);
    pinned_ = ::sched_getaffinity(0, sizeof(saved_), &saved_) == 0 && PinTo(cpus[0]);
  }
  ~ScopedPin() {
    if (pinned_) (void)::sched_setaffinity(0, sizeof(saved_), &saved_);
  }

 private:
  cpu_set_t saved_;
  bool pinned_ = false;
};

std::vector<int> CpusToPin(int workers, std::vector<int> cpus) {
  if (workers == 1 || workers > static_cast<int>(cpus.size())) cpus.clear();
  return cpus;
}

}  // namespace

WorkerPool::WorkerPool(int workers, std::vector<int> cpus)
    : workers_(workers),
      cpus_(CpusToPin(workers, cpus)),
      spin_ns_(workers > static_cast<int>(cpus.size()) ? kSpinOversubscribed : kSpin),
      slots_(std::make_unique<Slot[]>(static_cast<size_t>(workers))) {
  for (int i = 1; i < workers; ++i) threads_.emplace_back([this, i] { Work(i); });
}

WorkerPool::~WorkerPool() {
  stop_ = true;
  NextEpoch();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::NextEpoch() {
  epoch_.fetch_add(1);
  WakeSleepers(&epoch_, sleepers_);
}

// A worker says which job it is about to touch, then looks whether that job is still offered. So
// either Retire sees the worker, or the worker sees that the job is gone.
void WorkerPool::Work(int worker) {
  ::pthread_setname_np(::pthread_self(), "fathom-worker");
  if (!cpus_.empty()) (void)PinTo(cpus_[static_cast<size_t>(worker)]);
  const FloatMode mode;
  std::atomic<const Job*>& inside = slots_[static_cast<size_t>(worker)].inside;
  for (uint32_t seen = 0;;) {
    SpinThenSleep([&] { return epoch_.load() != seen; }, &epoch_, seen, sleepers_,
                  std::min(spin_ns_, kIdleSpin));
    seen = epoch_.load();
    if (stop_) return;
    Job* job = current_.load();
    inside.store(job);
    if (job != nullptr && current_.load() == job) job->Work(worker);
    inside.store(nullptr);
  }
}

void WorkerPool::Run(Job& job) {
  const ScopedPin pin(cpus_);
  const FloatMode mode;
  if (workers_ > 1) {
    current_.store(&job);
    NextEpoch();
  }
  job.Work(0);
  current_.store(nullptr);
}

void WorkerPool::Retire(const Job& job) {
  for (int worker = 1; worker < workers_; ++worker) {
    while (slots_[static_cast<size_t>(worker)].inside.load() == &job) std::this_thread::yield();
  }
}

}  // namespace fathom::cpu
