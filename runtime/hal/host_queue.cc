// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running submissions in order, at once where possible.
#include "runtime/hal/host_queue.h"

#include <algorithm>

#include "runtime/base/status.h"

namespace fathom::hal {
namespace {

// Neither reached nor failed.
bool IsPending(const SemaphorePoint& point) {
  return point.semaphore->status().ok() && point.semaphore->value() < point.value;
}

}  // namespace

absl::Status HostQueue::Submit(Submission submission) {
  FATHOM_RETURN_IF_ERROR(Check(submission.commands));
  const bool ready = std::none_of(submission.wait.begin(), submission.wait.end(), IsPending);
  std::unique_lock run(run_mutex_, std::defer_lock);
  {
    std::lock_guard lock(mutex_);
    if (!ready || draining_) {
      waiting_.push_back(std::move(submission));
      draining_ = true;
      if (!thread_.joinable()) thread_ = std::thread([this] { Drain(); });
      changed_.notify_all();
      return absl::OkStatus();
    }
    // Taken before mutex_ is released, so that nothing submitted later can overtake.
    run.lock();
  }
  Run(submission);
  return absl::OkStatus();
}

void HostQueue::Drain() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    Submission& front = waiting_.front();
    const auto blocker = std::find_if(front.wait.begin(), front.wait.end(), IsPending);
    if (blocker != front.wait.end()) {
      // In short waits, so that Close does not hang on a semaphore that nobody will signal.
      const SemaphorePoint point = *blocker;
      lock.unlock();
      (void)point.semaphore->Wait(point.value, absl::Milliseconds(20));
      lock.lock();
      continue;
    }
    Submission submission = std::move(front);
    waiting_.pop_front();
    lock.unlock();
    {
      std::lock_guard run(run_mutex_);
      Run(submission);
    }
    lock.lock();
    if (waiting_.empty()) draining_ = false;
  }
}

void HostQueue::Run(Submission& submission) {
  absl::Status status;
  for (const SemaphorePoint& point : submission.wait) {
    if (status.ok() && point.semaphore->value() < point.value) status = point.semaphore->status();
  }
  if (status.ok()) status = Execute(submission.commands, submission.times);
  for (const SemaphorePoint& point : submission.signal) {
    absl::Status signalled = status.ok() ? point.semaphore->Signal(point.value) : status;
    if (!signalled.ok()) point.semaphore->Fail(std::move(signalled));
  }
}

void HostQueue::Close() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (Submission& submission : waiting_) {
    for (SemaphorePoint& point : submission.signal) {
      point.semaphore->Fail(absl::CancelledError("the device was closed"));
    }
  }
  waiting_.clear();
}

}  // namespace fathom::hal
