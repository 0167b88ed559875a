// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CUDA driver: its devices, their queue and memory.
//
// A submission runs to its end inside Submit, or on the queue's own thread when it has to wait
// (hal::HostQueue): the host has nothing to do meanwhile, and a fault of a kernel is there to be
// sent through the semaphores. After such a fault the context is lost: every later submission
// fails with the same error.
#include "backends/cuda/driver/cuda_device.h"

#include <mutex>
#include <optional>

#include "backends/cuda/driver/commands.h"
#include "backends/cuda/driver/executable.h"
#include "backends/cuda/driver/memory.h"
#include "runtime/base/status.h"
#include "runtime/hal/host_queue.h"

namespace fathom::cuda {
namespace {

class CudaQueue final : public hal::HostQueue {
 public:
  ~CudaQueue() override { Close(); }

 private:
  absl::Status Check(const hal::CommandBuffer* commands) const override {
    const auto* list = static_cast<const CudaCommandBuffer*>(commands);
    if (list != nullptr && list->ended()) return absl::OkStatus();
    return absl::InternalError("a submission needs a command buffer that has ended");
  }
  absl::Status Execute(hal::CommandBuffer* commands, hal::DispatchTimes* times) override {
    return static_cast<CudaCommandBuffer*>(commands)->Run(times);
  }
};

class CudaDevice final : public hal::Device {
 public:
  CudaDevice(hal::DeviceInfo info, hal::DeviceOptions options, std::shared_ptr<Gpu> gpu)
      : info_(std::move(info)),
        options_(std::move(options)),
        gpu_(gpu),
        allocator_(std::move(gpu)) {}
  const hal::DeviceInfo& info() const override { return info_; }
  absl::Status Supports(const std::string& target,
                        absl::Span<const std::string> features) const override {
    return CheckFeatures(gpu_->facts(), target, features);
  }
  hal::Allocator& allocator() override { return allocator_; }
  hal::Queue& queue() override { return queue_; }
  absl::StatusOr<std::unique_ptr<hal::Executable>> LoadExecutable(
      absl::Span<const uint8_t> code, std::vector<hal::KernelInterface> kernels) override {
    return CudaExecutable::Load(gpu_, code, std::move(kernels), options_);
  }
  std::unique_ptr<hal::CommandBuffer> CreateCommandBuffer() override {
    return std::make_unique<CudaCommandBuffer>(gpu_);
  }
  std::shared_ptr<hal::Semaphore> CreateSemaphore(uint64_t value) override {
    return std::make_shared<hal::HostSemaphore>(value);
  }

 private:
  const hal::DeviceInfo info_;
  const hal::DeviceOptions options_;
  const std::shared_ptr<Gpu> gpu_;
  CudaAllocator allocator_;
  CudaQueue queue_;
};

class CudaDriver final : public hal::Driver {
 public:
  explicit CudaDriver(DriverOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "cuda"; }

  std::vector<hal::DeviceInfo> Devices() const override {
    std::vector<hal::DeviceInfo> devices;
    const auto api = GetApi();
    int count = 0;
    if (!api.ok() || (*api)->DeviceGetCount(&count) != kCuSuccess) return devices;
    for (int i = 0; i < count; ++i) {
      const absl::StatusOr<GpuFacts> facts = ReadFacts(**api, i);
      GpuFacts broken;
      broken.name = "CUDA device";
      if (!facts.ok()) broken.unusable = std::string(facts.status().message());
      devices.push_back(ToDeviceInfo(facts.ok() ? *facts : broken, **api, static_cast<size_t>(i)));
    }
    return devices;
  }

  absl::Status Available() const override { return GetApi().status(); }

  absl::StatusOr<std::unique_ptr<hal::Device>> Open(size_t index,
                                                    const hal::DeviceOptions& options) override {
    FATHOM_ASSIGN_OR_RETURN(const std::shared_ptr<const CudaApi> api, GetApi());
    FATHOM_ASSIGN_OR_RETURN(GpuFacts facts, ReadFacts(*api, static_cast<int>(index)));
    hal::DeviceInfo info = ToDeviceInfo(facts, *api, index);
    if (!facts.unusable.empty()) {
      return UnsupportedError(info.id, absl::StrCat(facts.name, ": ", facts.unusable));
    }
    CuDevice device = 0;
    FATHOM_RETURN_IF_ERROR(
        api->Check(api->DeviceGet(&device, static_cast<int>(index)), "cuDeviceGet"));
    FATHOM_ASSIGN_OR_RETURN(std::shared_ptr<Gpu> gpu, Gpu::Open(api, device, std::move(facts)));
    return std::unique_ptr<hal::Device>(
        std::make_unique<CudaDevice>(std::move(info), options, std::move(gpu)));
  }

 private:
  // Opened when somebody asks: a program that runs on the CPU never starts the driver.
  absl::StatusOr<std::shared_ptr<const CudaApi>> GetApi() const {
    std::lock_guard lock(mutex_);
    if (!api_.has_value()) api_ = CudaApi::Open(options_);
    return *api_;
  }

  static absl::StatusOr<GpuFacts> ReadFacts(const CudaApi& api, int index) {
    CuDevice device = 0;
    FATHOM_RETURN_IF_ERROR(api.Check(api.DeviceGet(&device, index), "cuDeviceGet"));
    return ReadGpuFacts(api, device);
  }

  const DriverOptions options_;
  mutable std::mutex mutex_;
  mutable std::optional<absl::StatusOr<std::shared_ptr<const CudaApi>>> api_;
};

}  // namespace

std::unique_ptr<hal::Driver> CreateDriver(DriverOptions options) {
  return std::make_unique<CudaDriver>(std::move(options));
}

std::unique_ptr<hal::Driver> CreateDriver() { return CreateDriver(DriverOptions()); }

}  // namespace fathom::cuda
