// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Allocating and giving back.
#include "backends/cuda/driver/memory.h"

#include <algorithm>

#include "runtime/base/status.h"

namespace fathom::cuda {

CudaBuffer::~CudaBuffer() {
  const ScopedContext scope(*gpu_);
  if (host() != nullptr) {
    (void)gpu_->api().MemFreeHost(host());
  } else {
    (void)gpu_->api().MemFree(device_);
  }
}

absl::Status CudaAllocator::OutOfMemory(uint64_t size) const {
  size_t free_bytes = 0, total = 0;
  std::string free_text;
  if (gpu_->api().MemGetInfo(&free_bytes, &total) == kCuSuccess) {
    free_text = absl::StrCat(": ", free_bytes, " of ", total, " are free");
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("no memory for ", size, " bytes on ", gpu_->facts().name, free_text));
}

absl::StatusOr<std::shared_ptr<hal::Buffer>> CudaAllocator::Allocate(uint64_t size,
                                                                     hal::MemoryUse use) {
  const ScopedContext scope(*gpu_);
  FATHOM_RETURN_IF_ERROR(scope.status());
  if (use == hal::MemoryUse::host_io) return AllocateHost(size);
  return AllocateDevice(size, use == hal::MemoryUse::cache);
}

absl::StatusOr<std::shared_ptr<hal::Buffer>> CudaAllocator::AllocateHost(uint64_t size) {
  const CudaApi& cuda = gpu_->api();
  void* host = nullptr;
  // Sizes that no machine has are not handed on: rounding up inside could make them small.
  const CuResult result = size > (uint64_t{1} << 48)
                              ? kCuOutOfMemory
                              : cuda.MemHostAlloc(&host, std::max<uint64_t>(size, 1),
                                                  kHostAllocPortable | kHostAllocDeviceMap);
  if (result == kCuOutOfMemory) return OutOfMemory(size);
  FATHOM_RETURN_IF_ERROR(cuda.Check(result, "cuMemHostAlloc"));
  CuPointer device = 0;
  if (const CuResult mapped = cuda.MemHostGetDevicePointer(&device, host, 0);
      mapped != kCuSuccess) {
    (void)cuda.MemFreeHost(host);
    return cuda.Check(mapped, "cuMemHostGetDevicePointer");
  }
  return std::shared_ptr<hal::Buffer>(
      std::make_shared<CudaBuffer>(gpu_, static_cast<uint8_t*>(host), device, size));
}

absl::StatusOr<std::shared_ptr<hal::Buffer>> CudaAllocator::AllocateDevice(uint64_t size,
                                                                           bool clear) {
  const CudaApi& cuda = gpu_->api();
  if (size > gpu_->facts().memory_bytes) return OutOfMemory(size);
  CuPointer device = 0;
  const CuResult result = cuda.MemAlloc(&device, std::max<uint64_t>(size, 1));
  if (result == kCuOutOfMemory) return OutOfMemory(size);
  FATHOM_RETURN_IF_ERROR(cuda.Check(result, "cuMemAlloc"));
  auto buffer = std::make_shared<CudaBuffer>(gpu_, nullptr, device, size);
  if (clear && size != 0) {
    FATHOM_RETURN_IF_ERROR(
        cuda.Check(cuda.MemsetD8Async(device, 0, size, gpu_->side_stream()), "cuMemsetD8Async"));
    FATHOM_RETURN_IF_ERROR(
        cuda.Check(cuda.StreamSynchronize(gpu_->side_stream()), "clearing a cache buffer"));
  }
  return std::shared_ptr<hal::Buffer>(std::move(buffer));
}

absl::StatusOr<std::shared_ptr<hal::Buffer>> CudaAllocator::Import(absl::Span<const uint8_t>) {
  return absl::UnimplementedError("a CUDA device does not use the host's memory in place");
}

}  // namespace fathom::cuda
