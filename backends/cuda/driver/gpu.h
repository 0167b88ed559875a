// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One GPU: what it can do, its primary context and the stream all work goes through.
#ifndef FATHOM_BACKENDS_CUDA_DRIVER_GPU_H_
#define FATHOM_BACKENDS_CUDA_DRIVER_GPU_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "backends/cuda/driver/cuda_api.h"
#include "runtime/hal/device.h"

namespace fathom::cuda {

struct GpuFacts {
  std::string name;
  uint32_t sm = 0;  // compute capability times 10: 80
  uint64_t memory_bytes = 0;
  uint32_t multiprocessors = 0;
  uint32_t max_threads = 1024;  // of a block
  std::array<uint32_t, 3> max_block = {1024, 1024, 64};
  std::array<uint32_t, 3> max_grid = {INT32_MAX, 65535, 65535};
  uint32_t max_shared = 48 * 1024;        // of a block
  uint32_t max_shared_optin = 48 * 1024;  // the same for kernels that ask for it
  bool integrated = false;
  std::string unusable;  // why it cannot be used; "": it can
};

// Errors: what the driver answers.
absl::StatusOr<GpuFacts> ReadGpuFacts(const CudaApi& api, CuDevice device);
hal::DeviceInfo ToDeviceInfo(const GpuFacts& facts, const CudaApi& api, size_t index);
// OK when code for `target` ("cuda:sm_80") that needs `features` ("sm_80") runs there.
absl::Status CheckFeatures(const GpuFacts& facts, const std::string& target,
                           absl::Span<const std::string> features);

// Shared by a device and all it made, so that they may be destroyed in any order.
class Gpu {
 public:
  static absl::StatusOr<std::shared_ptr<Gpu>> Open(std::shared_ptr<const CudaApi> api,
                                                   CuDevice device, GpuFacts facts);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  const CudaApi& api() const { return *api_; }
  const GpuFacts& facts() const { return facts_; }
  // Of the queue.
  CuStream stream() const { return stream_; }
  // Of everybody else: the queue may be capturing its own.
  CuStream side_stream() const { return side_stream_; }

 private:
  friend class ScopedContext;
  Gpu(std::shared_ptr<const CudaApi> api, CuDevice device, GpuFacts facts)
      : api_(std::move(api)), device_(device), facts_(std::move(facts)) {}

  const std::shared_ptr<const CudaApi> api_;
  const CuDevice device_;
  const GpuFacts facts_;
  CuContext context_ = nullptr;
  CuStream stream_ = nullptr;
  CuStream side_stream_ = nullptr;
};

// Makes the GPU's context the calling thread's for a scope, and leaves what was there before: the
// program around us may use CUDA too.
class ScopedContext {
 public:
  explicit ScopedContext(const Gpu& gpu) : gpu_(gpu) {
    result_ = gpu.api_->CtxPushCurrent(gpu.context_);
  }
  ~ScopedContext() {
    CuContext ignored = nullptr;
    if (result_ == kCuSuccess) (void)gpu_.api_->CtxPopCurrent(&ignored);
  }
  ScopedContext(const ScopedContext&) = delete;
  ScopedContext& operator=(const ScopedContext&) = delete;
  absl::Status status() const { return gpu_.api_->Check(result_, "cuCtxPushCurrent"); }

 private:
  const Gpu& gpu_;
  CuResult result_;
};

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_DRIVER_GPU_H_
