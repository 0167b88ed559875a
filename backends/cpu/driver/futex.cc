// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Futexes of this process.
#include "backends/cpu/driver/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <climits>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fathom::cpu {
namespace {

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  __asm__ volatile("yield");
#endif
}

}  // namespace

void SpinThenSleep(absl::FunctionRef<bool()> changed, const void* word, uint32_t old,
                   std::atomic<uint32_t>& sleepers, uint64_t spin_ns) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + std::chrono::nanoseconds(spin_ns);
  do {
    for (int i = 0; i < 32; ++i) {
      if (changed()) return;
      Pause();
    }
  } while (Clock::now() < end);
  // Sequentially consistent on both sides: either the waker sees the sleeper, or the futex sees the
  // change.
  sleepers.fetch_add(1);
  while (!changed()) ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
  sleepers.fetch_sub(1);
}

void WakeSleepers(const void* word, const std::atomic<uint32_t>& sleepers) {
  if (sleepers.load() != 0) {
    ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
}

}  // namespace fathom::cpu
