// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Buffers of a GPU: device memory, and pinned host memory for inputs and outputs.
#ifndef FATHOM_BACKENDS_CUDA_DRIVER_MEMORY_H_
#define FATHOM_BACKENDS_CUDA_DRIVER_MEMORY_H_

#include <memory>

#include "backends/cuda/driver/gpu.h"
#include "runtime/hal/buffer.h"

namespace fathom::cuda {

class CudaBuffer final : public hal::Buffer {
 public:
  // `host` is not null for pinned memory, which the GPU reaches at `device`.
  CudaBuffer(std::shared_ptr<Gpu> gpu, uint8_t* host, CuPointer device, uint64_t size)
      : Buffer(host, size), gpu_(std::move(gpu)), device_(device) {}
  ~CudaBuffer() override;
  CuPointer device() const { return device_; }
  const Gpu& gpu() const { return *gpu_; }

 private:
  const std::shared_ptr<Gpu> gpu_;
  const CuPointer device_;
};

// weights, transient and cache are device memory; host_io is pinned memory that kernels reach over
// the bus: a few kilobytes in, one row of logits out.
class CudaAllocator final : public hal::Allocator {
 public:
  explicit CudaAllocator(std::shared_ptr<Gpu> gpu) : gpu_(std::move(gpu)) {}
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Allocate(uint64_t size, hal::MemoryUse use) override;
  // Always kUnimplemented: kernels would read pageable memory over the bus, if at all.
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Import(absl::Span<const uint8_t> bytes) override;

 private:
  absl::StatusOr<std::shared_ptr<hal::Buffer>> AllocateHost(uint64_t size);
  absl::StatusOr<std::shared_ptr<hal::Buffer>> AllocateDevice(uint64_t size, bool clear);
  absl::Status OutOfMemory(uint64_t size) const;

  const std::shared_ptr<Gpu> gpu_;
};

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_DRIVER_MEMORY_H_
