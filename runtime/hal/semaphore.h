// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Timeline semaphores: a counter that only grows, or a failure.
#ifndef FATHOM_RUNTIME_HAL_SEMAPHORE_H_
#define FATHOM_RUNTIME_HAL_SEMAPHORE_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace fathom::hal {

// Thread-safe. Once failed, a semaphore stays failed: every wait, on the host or in a queue,
// returns the first failure, and a queue passes it on to what the waiting submission would have
// signalled.
class Semaphore {
 public:
  virtual ~Semaphore() = default;
  virtual uint64_t value() const = 0;
  virtual absl::Status status() const = 0;
  // Raises the value; a lower or equal value is an InternalError and changes nothing.
  virtual absl::Status Signal(uint64_t value) = 0;
  virtual void Fail(absl::Status status) = 0;
  // Blocks until the value is reached, the semaphore fails, or the time is over
  // (kDeadlineExceeded).
  virtual absl::Status Wait(uint64_t value, absl::Duration timeout = absl::InfiniteDuration()) = 0;
};

struct SemaphorePoint {
  std::shared_ptr<Semaphore> semaphore;
  uint64_t value = 0;
};

// A semaphore that lives on the host, for drivers whose work runs there.
class HostSemaphore final : public Semaphore {
 public:
  explicit HostSemaphore(uint64_t value = 0) : value_(value) {}
  uint64_t value() const override;
  absl::Status status() const override;
  absl::Status Signal(uint64_t value) override;
  void Fail(absl::Status status) override;
  absl::Status Wait(uint64_t value, absl::Duration timeout) override;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t value_;
  absl::Status status_;
};

}  // namespace fathom::hal

#endif  // FATHOM_RUNTIME_HAL_SEMAPHORE_H_
