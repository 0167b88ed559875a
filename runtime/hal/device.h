// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Devices, queues and the drivers that open them.
#ifndef FATHOM_RUNTIME_HAL_DEVICE_H_
#define FATHOM_RUNTIME_HAL_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
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
  uint32_t compute_units = 0;    // cores, streaming multiprocessors ...
  std::string driver;            // "Mesa 22.3.6, Vulkan 1.3.230"; "" where it means nothing
  std::string unusable;          // why Open would refuse the device; "": it would not
  std::string suggested_target;  // what to compile for it when nothing better is known
  bool on_host = false;          // its work runs on this machine's processor
  bool unified_memory = false;   // its memory is the host's

  // Allocator::Allocate never gives more in one piece; 0: no limit but the memory.
  uint64_t max_buffer_bytes = 0;
  // What one binding of a dispatch may span, counted from its offset; 0: all of its buffer.
  uint64_t max_binding_bytes = 0;
  // Offsets of bindings are multiples of this.
  uint32_t binding_alignment = 64;
  // Memory of a `cache` buffer is taken as it is touched; false: all of it at once.
  bool cache_on_demand = false;
  // Allocator::Import may succeed; false: it is always kUnimplemented.
  bool imports_memory = false;
  // More for people: {"subgroup size", "8"}, ...
  std::vector<std::pair<std::string, std::string>> limits;
};

struct DeviceOptions {
  // CPU workers, at most one per CPU that this process may use; 0: one per physical core of these.
  int threads = 0;
  // Called while LoadExecutable makes machine code: kernels done, kernels in all. False stops it
  // (kCancelled). From any thread, one call at a time. Drivers that need no time never call it.
  std::function<bool(uint64_t, uint64_t)> progress = nullptr;
  // Folder in which a driver keeps machine code for its next start. "": the user's cache folder
  // ($XDG_CACHE_HOME/fathom or ~/.cache/fathom); "off": nowhere.
  std::string code_cache = "";
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
  // All devices, also those that cannot be used (DeviceInfo::unusable).
  virtual std::vector<DeviceInfo> Devices() const = 0;
  // Why Devices() is empty: a kUnimplemented that names the missing library or driver.
  virtual absl::Status Available() const { return absl::OkStatus(); }
  // `index` counts in Devices(). kUnimplemented for an unusable device.
  virtual absl::StatusOr<std::unique_ptr<Device>> Open(size_t index,
                                                       const DeviceOptions& options) = 0;
};

}  // namespace fathom::hal

#endif  // FATHOM_RUNTIME_HAL_DEVICE_H_
