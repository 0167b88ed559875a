// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Devices, queues and the drivers that open them.
#ifndef FATHOM_RUNTIME_HAL_DEVICE_H_
#define FATHOM_RUNTIME_HAL_DEVICE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/hal/buffer.h"
#include "runtime/hal/command_buffer.h"
#include "runtime/hal/semaphore.h"

namespace fathom::hal {

struct DeviceInfo {
  std::string id;                     // "cpu:0", what --device takes
  std::string name;                   // "AMD EPYC ...", for people
  std::string architecture;           // "x86-64", "aarch64", "" where it means nothing
  std::vector<std::string> features;  // "avx512f", ... as programs name them
  uint64_t memory_bytes = 0;
  uint32_t compute_units = 0;  // cores, streaming multiprocessors ...
};

struct DeviceOptions {
  int threads = 0;  // CPU workers; 0: one per physical core this process may use
};

struct Submission {
  CommandBuffer* commands = nullptr;  // ended; stays alive until the signals have arrived
  std::vector<SemaphorePoint> wait;
  std::vector<SemaphorePoint> signal;
  // When not null: filled before the signals are sent.
  DispatchTimes* times = nullptr;
};

// Submissions of a queue run one after another, in order. Thread-safe.
class Queue {
 public:
  virtual ~Queue() = default;
  // Returns an error only for a submission that is malformed. The work may run before Submit
  // returns or after; failures of the work, or of a semaphore waited for, arrive through the
  // signals.
  virtual absl::Status Submit(Submission submission) = 0;
};

// What a device made may be destroyed after it, but not be used any more.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  // OK when code made for `target` ("cpu:x86-64-v4") that needs `features` can run here, otherwise
  // a kUnimplemented that names what is missing. Never finds out by running the code.
  virtual absl::Status Supports(const std::string& target,
                                absl::Span<const std::string> features) const = 0;
  virtual Allocator& allocator() = 0;
  virtual Queue& queue() = 0;
  // Loads code and finds each of `kernels` in it by name. `code` is not needed afterwards.
  virtual absl::StatusOr<std::unique_ptr<Executable>> LoadExecutable(
      absl::Span<const uint8_t> code, std::vector<KernelInterface> kernels) = 0;
  virtual std::unique_ptr<CommandBuffer> CreateCommandBuffer() = 0;
  virtual std::shared_ptr<Semaphore> CreateSemaphore(uint64_t value) = 0;
  // How many workers share a dispatch; 1 where it means nothing.
  virtual int workers() const { return 1; }
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual std::string name() const = 0;  // "cpu"; the folder in backends/
  virtual std::vector<DeviceInfo> Devices() const = 0;
  // `index` counts in Devices().
  virtual absl::StatusOr<std::unique_ptr<Device>> Open(size_t index,
                                                       const DeviceOptions& options) = 0;
};

}  // namespace fathom::hal

#endif  // FATHOM_RUNTIME_HAL_DEVICE_H_
