// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory a device can reach.
#ifndef FATHOM_RUNTIME_HAL_BUFFER_H_
#define FATHOM_RUNTIME_HAL_BUFFER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fathom::hal {

// What a buffer is for; a driver picks the kind of memory by it.
//   weights    written once, read in long streams
//   transient  intermediate results, never touched by the host
//   cache      large, filled bit by bit: physical memory is taken as it is touched where the system
//   can host_io    small inputs and outputs: host() is never null
enum class MemoryUse { weights, transient, cache, host_io };

class Buffer {
 public:
  virtual ~Buffer() = default;
  uint64_t size() const { return size_; }  // bytes
  // Address for the host, 64-byte aligned at least; null when the host cannot reach the memory.
  uint8_t* host() const { return host_; }

 protected:
  Buffer(uint8_t* host, uint64_t size) : host_(host), size_(size) {}

 private:
  uint8_t* const host_;
  const uint64_t size_;
};

// Thread-safe.
class Allocator {
 public:
  virtual ~Allocator() = default;
  // `size` bytes of unspecified content (cache: zero). Errors: kResourceExhausted, with the size.
  virtual absl::StatusOr<std::shared_ptr<Buffer>> Allocate(uint64_t size, MemoryUse use) = 0;
  // A buffer over `bytes`, which stay owned by the caller, outlive the buffer and are never
  // written. kUnimplemented when the device cannot reach host memory: allocate and copy then.
  virtual absl::StatusOr<std::shared_ptr<Buffer>> Import(absl::Span<const uint8_t> bytes) = 0;
};

}  // namespace fathom::hal

#endif  // FATHOM_RUNTIME_HAL_BUFFER_H_
