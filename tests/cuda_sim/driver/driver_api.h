// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The one context behind the driver API, its lock, and how a call ends.
#ifndef FATHOM_TESTS_CUDA_SIM_DRIVER_DRIVER_API_H_
#define FATHOM_TESTS_CUDA_SIM_DRIVER_DRIVER_API_H_

#include <memory>
#include <mutex>

#include "tests/cuda_sim/driver/context.h"

namespace fathom::cuda_sim {

struct Driver {
  std::mutex mutex;
  bool initialised = false;
  Settings settings;
  int retained = 0;
  std::unique_ptr<Context> context;  // primary, of device 0
};
Driver& TheDriver();

// The calling thread's stack of contexts; the last is current.
extern thread_local std::vector<Context*> current_contexts;
inline Context* CurrentContext() {
  return current_contexts.empty() ? nullptr : current_contexts.back();
}

// Runs `call` with the current context under the lock; without one, or once a launch has failed,
// answers with an error instead.
template <typename Call>
int WithContext(Call&& call) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (!driver.initialised) return static_cast<int>(Error::not_initialized);
  Context* context = CurrentContext();
  if (context == nullptr || context != driver.context.get()) {
    return static_cast<int>(Error::invalid_context);
  }
  if (context->error() != Error::ok) return static_cast<int>(context->error());
  try {
    const Error error = call(*context);
    return static_cast<int>(context->error() != Error::ok ? context->error() : error);
  } catch (const Fault& fault) {
    context->Report(fault.what);
    return static_cast<int>(fault.error);
  }
}

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_DRIVER_DRIVER_API_H_
