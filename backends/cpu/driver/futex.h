// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Waiting for another thread: a short spin, then a futex.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_FUTEX_H_
#define FATHOM_BACKENDS_CPU_DRIVER_FUTEX_H_

#include <atomic>
#include <cstdint>

#include "absl/functional/function_ref.h"

namespace fathom::cpu {

// Returns once `changed()` is true. Spins for `spin_ns`, then sleeps while the 32-bit `word` holds
// `old`; a changed word must imply changed(). Whoever changes the word calls WakeSleepers with the
// same `sleepers` afterwards. Safe with more threads than CPUs, because nobody spins for long.
void SpinThenSleep(absl::FunctionRef<bool()> changed, const void* word, uint32_t old,
                   std::atomic<uint32_t>& sleepers, uint64_t spin_ns);
void WakeSleepers(const void* word, const std::atomic<uint32_t>& sleepers);

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_FUTEX_H_
