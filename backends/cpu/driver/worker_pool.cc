// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Futexes, pinning and the floating-point mode of workers.
#include "backends/cpu/driver/worker_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>

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

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  __asm__ volatile("yield");
#endif
}

uint64_t Now() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

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

void WaitWord::WaitWhile(uint32_t old, uint64_t spin_ns) {
  const uint64_t end = Now() + spin_ns;
  do {
    for (int i = 0; i < 32; ++i) {
      if (word_.load(std::memory_order_acquire) != old) return;
      Pause();
    }
  } while (Now() < end);
  // Sequentially consistent on both sides: either Store sees the sleeper or the futex sees the value.
  sleepers_.fetch_add(1);
  while (word_.load() == old) {
    ::syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
  }
  sleepers_.fetch_sub(1);
}

void WaitWord::Store(uint32_t value) {
  word_.store(value);
  if (sleepers_.load() != 0) {
    ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
}

WorkerPool::WorkerPool(int workers, std::vector<int> cpus)
    : workers_(workers),
      cpus_(CpusToPin(workers, cpus)),
      spin_ns_(workers > static_cast<int>(cpus.size()) ? kSpinOversubscribed : kSpin),
      barrier_(static_cast<uint32_t>(workers), spin_ns_) {
  for (int i = 1; i < workers; ++i) threads_.emplace_back([this, i] { Work(i); });
}

WorkerPool::~WorkerPool() {
  stop_ = true;
  epoch_.Store(epoch_.load() + 1);
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Work(int worker) {
  ::pthread_setname_np(::pthread_self(), "fathom-worker");
  if (!cpus_.empty()) (void)PinTo(cpus_[worker]);
  const FloatMode mode;
  const uint64_t idle_spin = std::min(spin_ns_, kIdleSpin);
  for (uint32_t seen = 0;;) {
    epoch_.WaitWhile(seen, idle_spin);
    ++seen;
    if (stop_) return;
    (*job_)(worker);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) finished_.Store(seen);
  }
}

void WorkerPool::Run(absl::FunctionRef<void(int worker)> job) {
  const ScopedPin pin(cpus_);
  const FloatMode mode;
  if (workers_ == 1) {
    job(0);
    return;
  }
  const uint32_t epoch = epoch_.load();
  job_ = &job;
  running_.store(workers_ - 1, std::memory_order_relaxed);
  epoch_.Store(epoch + 1);
  job(0);
  finished_.WaitWhile(epoch, spin_ns_);
}

}  // namespace fathom::cpu
