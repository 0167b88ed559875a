// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Semaphores on a mutex and a condition variable.
#include "runtime/hal/semaphore.h"

#include "absl/strings/str_cat.h"

namespace fathom::hal {

uint64_t HostSemaphore::value() const {
  std::lock_guard lock(mutex_);
  return value_;
}

absl::Status HostSemaphore::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

absl::Status HostSemaphore::Signal(uint64_t value) {
  {
    std::lock_guard lock(mutex_);
    if (!status_.ok()) return status_;
    if (value <= value_) {
      return absl::InternalError(
          absl::StrCat("a timeline semaphore at ", value_, " was signalled with ", value));
    }
    value_ = value;
  }
  changed_.notify_all();
  return absl::OkStatus();
}

void HostSemaphore::Fail(absl::Status status) {
  {
    std::lock_guard lock(mutex_);
    if (!status_.ok() || status.ok()) return;
    status_ = std::move(status);
  }
  changed_.notify_all();
}

absl::Status HostSemaphore::Wait(uint64_t value, absl::Duration timeout) {
  std::unique_lock lock(mutex_);
  const auto done = [&] { return value_ >= value || !status_.ok(); };
  if (timeout == absl::InfiniteDuration()) {
    changed_.wait(lock, done);
  } else if (!changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout), done)) {
    return absl::DeadlineExceededError(
        absl::StrCat("a semaphore did not reach ", value, " in time; it is at ", value_));
  }
  // What was reached before a failure counts as reached.
  return value_ >= value ? absl::OkStatus() : status_;
}

}  // namespace fathom::hal
