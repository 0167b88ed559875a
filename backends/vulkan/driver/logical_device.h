// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A VkDevice with its queue, kept alive by everything made from it.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_LOGICAL_DEVICE_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_LOGICAL_DEVICE_H_

#include <functional>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "backends/vulkan/driver/device_facts.h"
#include "backends/vulkan/driver/instance.h"

namespace fathom::vulkan {

class LogicalDevice {
 public:
  // `facts` are those of the instance's physical device `index`, which is usable.
  static absl::StatusOr<std::shared_ptr<LogicalDevice>> Create(
      std::shared_ptr<const Instance> instance, size_t index, DeviceFacts facts);
  ~LogicalDevice();
  LogicalDevice(const LogicalDevice&) = delete;
  LogicalDevice& operator=(const LogicalDevice&) = delete;

  const DeviceFacts& facts() const { return facts_; }
  const DriverOptions& options() const { return instance_->options(); }
  VkDevice handle() const { return device_; }
  const VolkDeviceTable& vk() const { return vk_; }

  // Runs an ended command buffer to its end; any thread, one after another. After a failure the
  // device is lost: every later call fails with the first one's status.
  absl::Status SubmitAndWait(VkCommandBuffer commands);
  // Records with `record`, then runs.
  absl::Status RunOnce(const std::function<void(VkCommandBuffer)>& record);

 private:
  LogicalDevice(std::shared_ptr<const Instance> instance, DeviceFacts facts)
      : instance_(std::move(instance)), facts_(std::move(facts)) {}

  const std::shared_ptr<const Instance> instance_;
  const DeviceFacts facts_;
  VkDevice device_ = VK_NULL_HANDLE;
  VolkDeviceTable vk_ = {};
  std::mutex mutex_;  // guards what follows
  VkQueue queue_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  absl::Status lost_;
};

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_LOGICAL_DEVICE_H_
