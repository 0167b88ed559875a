// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The Vulkan driver: its devices, their queue and memory.
//
// A submission runs to its end inside Submit, or on the queue's own thread when it has to wait
// (hal::HostQueue): the host has nothing to do meanwhile, and every failure, a lost device or a
// hang among them, is there to be sent through the semaphores.
#include <algorithm>
#include <mutex>
#include <optional>

#include "backends/vulkan/driver/commands.h"
#include "backends/vulkan/driver/executable.h"
#include "backends/vulkan/driver/memory.h"
#include "runtime/hal/device.h"
#include "runtime/hal/host_queue.h"

namespace fathom::vulkan {
namespace {

class VulkanQueue final : public hal::HostQueue {
 public:
  ~VulkanQueue() override { Close(); }

 private:
  absl::Status Check(const hal::CommandBuffer* commands) const override {
    const auto* list = static_cast<const VulkanCommandBuffer*>(commands);
    if (list != nullptr && list->ended()) return absl::OkStatus();
    return absl::InternalError("a submission needs a command buffer that has ended");
  }
  absl::Status Execute(hal::CommandBuffer* commands, hal::DispatchTimes* times) override {
    return static_cast<VulkanCommandBuffer*>(commands)->Run(times);
  }
};

class VulkanDevice final : public hal::Device {
 public:
  VulkanDevice(hal::DeviceInfo info, hal::DeviceOptions options,
               std::shared_ptr<LogicalDevice> device)
      : info_(std::move(info)),
        options_(std::move(options)),
        device_(device),
        allocator_(std::move(device)) {}
  absl::Status Init() {
    FATHOM_ASSIGN_OR_RETURN(spare_, allocator_.Allocate(256, hal::MemoryUse::host_io));
    return absl::OkStatus();
  }

  const hal::DeviceInfo& info() const override { return info_; }
  absl::Status Supports(const std::string& target,
                        absl::Span<const std::string> features) const override {
    return CheckFeatures(device_->facts(), info_.id, target, features);
  }
  hal::Allocator& allocator() override { return allocator_; }
  hal::Queue& queue() override { return queue_; }
  absl::StatusOr<std::unique_ptr<hal::Executable>> LoadExecutable(
      absl::Span<const uint8_t> code, std::vector<hal::KernelInterface> kernels) override {
    return VulkanExecutable::Load(device_, code, std::move(kernels), options_);
  }
  std::unique_ptr<hal::CommandBuffer> CreateCommandBuffer() override {
    return std::make_unique<VulkanCommandBuffer>(device_, spare_);
  }
  std::shared_ptr<hal::Semaphore> CreateSemaphore(uint64_t value) override {
    return std::make_shared<hal::HostSemaphore>(value);
  }

 private:
  const hal::DeviceInfo info_;
  const hal::DeviceOptions options_;
  const std::shared_ptr<LogicalDevice> device_;
  VulkanAllocator allocator_;
  std::shared_ptr<hal::Buffer> spare_;
  VulkanQueue queue_;
};

class VulkanDriver final : public hal::Driver {
 public:
  explicit VulkanDriver(DriverOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "vulkan"; }

  std::vector<hal::DeviceInfo> Devices() const override {
    std::vector<hal::DeviceInfo> devices;
    const auto instance = GetInstance();
    if (!instance.ok()) return devices;
    for (size_t i = 0; i < (*instance)->physical_devices().size(); ++i) {
      devices.push_back(ToDeviceInfo(Facts(**instance, i), i, options_.hide_host_memory));
    }
    return devices;
  }

  absl::Status Available() const override { return GetInstance().status(); }

  absl::StatusOr<std::unique_ptr<hal::Device>> Open(size_t index,
                                                    const hal::DeviceOptions& options) override {
    FATHOM_ASSIGN_OR_RETURN(std::shared_ptr<const Instance> instance, GetInstance());
    DeviceFacts facts = Facts(*instance, index);
    hal::DeviceInfo info = ToDeviceInfo(facts, index, options_.hide_host_memory);
    if (!facts.unusable.empty()) {
      return UnsupportedError(info.id, absl::StrCat(facts.name, ": ", facts.unusable));
    }
    FATHOM_ASSIGN_OR_RETURN(std::shared_ptr<LogicalDevice> device,
                            LogicalDevice::Create(std::move(instance), index, std::move(facts)));
    auto opened = std::make_unique<VulkanDevice>(std::move(info), options, std::move(device));
    FATHOM_RETURN_IF_ERROR(opened->Init());
    return std::unique_ptr<hal::Device>(std::move(opened));
  }

 private:
  DeviceFacts Facts(const Instance& instance, size_t index) const {
    DeviceFacts facts = ReadDeviceFacts(instance.physical_devices()[index]);
    if (options_.max_buffer_bytes != 0) {
      facts.max_buffer = std::min(facts.max_buffer, options_.max_buffer_bytes);
    }
    return facts;
  }
  // Made when somebody asks for it: a program that runs on the CPU never opens the loader.
  absl::StatusOr<std::shared_ptr<const Instance>> GetInstance() const {
    std::lock_guard lock(mutex_);
    if (!instance_.has_value()) instance_ = Instance::Create(options_);
    return *instance_;
  }

  const DriverOptions options_;
  mutable std::mutex mutex_;
  mutable std::optional<absl::StatusOr<std::shared_ptr<const Instance>>> instance_;
};

}  // namespace

std::unique_ptr<hal::Driver> CreateDriver(DriverOptions options) {
  return std::make_unique<VulkanDriver>(std::move(options));
}

std::unique_ptr<hal::Driver> CreateDriver() { return CreateDriver(DriverOptions()); }

}  // namespace fathom::vulkan
