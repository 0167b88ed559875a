// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loaded code, and command lists recorded once and submitted often.
#ifndef FATHOM_RUNTIME_HAL_COMMAND_BUFFER_H_
#define FATHOM_RUNTIME_HAL_COMMAND_BUFFER_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/hal/buffer.h"

namespace fathom::hal {

// What the artifact says of a kernel; the driver compares it with the code.
struct KernelInterface {
  std::string name;
  uint32_t bindings = 0;
  uint32_t push = 0;  // int64 each
};

// The kernels of one code segment, numbered as in the list given to Device::LoadExecutable.
class Executable {
 public:
  virtual ~Executable() = default;
  const std::vector<KernelInterface>& kernels() const { return kernels_; }

 protected:
  explicit Executable(std::vector<KernelInterface> kernels) : kernels_(std::move(kernels)) {}

 private:
  const std::vector<KernelInterface> kernels_;
};

struct BufferRef {
  const Buffer* buffer = nullptr;
  // Bytes, at most the buffer's size; a multiple of DeviceInfo::binding_alignment (for a copy: of
  // 64).
  uint64_t offset = 0;
  // What the kernel may reach from there; 0: up to the buffer's end, as far as the device binds. A
  // dispatch is refused when the device cannot bind so many.
  uint64_t bytes = 0;
};

struct Dispatch {
  const Executable* executable = nullptr;
  uint32_t kernel = 0;
  std::array<uint32_t, 3> grid = {1, 1, 1};  // workgroups; a 0 makes the dispatch a no-op
  absl::Span<const BufferRef> bindings;      // copied by the call
  absl::Span<const int64_t> push;            // copied by the call
  absl::string_view label;                   // for profiles and errors
};

// Record, End, then submit any number of times. Recording happens on one thread. The executables
// and buffers used must outlive the command buffer.
class CommandBuffer {
 public:
  virtual ~CommandBuffer() = default;
  // Errors: kernel out of range, a count that differs from the kernel's, a binding outside its
  // buffer or (kUnimplemented) longer than DeviceInfo::max_binding_bytes, a grid or push constant
  // beyond what the device takes.
  virtual absl::Status Append(const Dispatch& dispatch) = 0;
  virtual absl::Status Copy(BufferRef from, BufferRef to, uint64_t bytes) = 0;
  // What follows sees the memory written by what precedes. Dispatches between two barriers may
  // overlap.
  virtual absl::Status Barrier() = 0;
  virtual absl::Status End() = 0;

  // The label of each dispatch and copy, in order; what DispatchTimes is aligned with.
  const std::vector<std::string>& labels() const { return labels_; }

 protected:
  std::vector<std::string> labels_;
};

// Nanoseconds of each dispatch and copy of one submission. Measuring serialises them.
using DispatchTimes = std::vector<uint64_t>;

}  // namespace fathom::hal

#endif  // FATHOM_RUNTIME_HAL_COMMAND_BUFFER_H_
