// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The order of submissions, for drivers whose work runs on the host.
#ifndef FATHOM_RUNTIME_HAL_HOST_QUEUE_H_
#define FATHOM_RUNTIME_HAL_HOST_QUEUE_H_

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "runtime/hal/device.h"

namespace fathom::hal {

// A submission whose semaphores are ready runs inside Submit, on the caller's thread: no thread
// switch between one token and the next. One that must wait goes to a thread that waits for it, and
// so does everything submitted behind it, so that the order holds.
class HostQueue : public Queue {
 public:
  absl::Status Submit(Submission submission) final;

 protected:
  // Whether `commands` may be submitted (it has ended).
  virtual absl::Status Check(const CommandBuffer* commands) const = 0;
  // Runs the list to its end; `times` may be null. Never called twice at once.
  virtual absl::Status Execute(CommandBuffer* commands, DispatchTimes* times) = 0;
  // To be called by the destructor of the derived class; fails what still waits.
  void Close();

 private:
  void Run(Submission& submission);
  void Drain();

  std::mutex run_mutex_;  // held while a submission runs
  std::mutex mutex_;      // guards what follows
  std::condition_variable changed_;
  std::deque<Submission> waiting_;
  bool draining_ = false;  // thread_ has work: nothing may overtake it
  bool stop_ = false;
  std::thread thread_;  // started by the first submission that has to wait
};

}  // namespace fathom::hal

#endif  // FATHOM_RUNTIME_HAL_HOST_QUEUE_H_
