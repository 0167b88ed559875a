// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Creating a device with the features it has, and running command buffers on its queue.
#include "backends/vulkan/driver/logical_device.h"

namespace fathom::vulkan {
namespace {

// A submission is one call of a program. One that takes longer than this hangs.
constexpr uint64_t kTimeoutNanoseconds = uint64_t{3600} * 1000 * 1000 * 1000;

}  // namespace

absl::StatusOr<std::shared_ptr<LogicalDevice>> LogicalDevice::Create(
    std::shared_ptr<const Instance> instance, size_t index, DeviceFacts facts) {
  const VkPhysicalDevice physical = instance->physical_devices()[index];
  std::shared_ptr<LogicalDevice> device(new LogicalDevice(std::move(instance), std::move(facts)));
  const EnabledFeatures features(device->facts_);
  const float priority = 1;
  auto queue = Make<VkDeviceQueueCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO);
  queue.queueFamilyIndex = device->facts_.queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  auto create = Make<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
  create.pNext = features.chain();
  create.queueCreateInfoCount = 1;
  create.pQueueCreateInfos = &queue;
  create.enabledExtensionCount = static_cast<uint32_t>(features.extensions().size());
  create.ppEnabledExtensionNames = features.extensions().data();
  FATHOM_VK_RETURN_IF_ERROR(device->facts_.name + ": vkCreateDevice",
                            vkCreateDevice(physical, &create, nullptr, &device->device_));
  volkLoadDeviceTable(&device->vk_, device->device_);
  device->vk_.vkGetDeviceQueue(device->device_, device->facts_.queue_family, 0, &device->queue_);
  const auto fence = Make<VkFenceCreateInfo>(VK_STRUCTURE_TYPE_FENCE_CREATE_INFO);
  FATHOM_VK_RETURN_IF_ERROR("vkCreateFence", device->vk_.vkCreateFence(device->device_, &fence,
                                                                       nullptr, &device->fence_));
  return device;
}

LogicalDevice::~LogicalDevice() {
  if (device_ == VK_NULL_HANDLE) return;
  vk_.vkDeviceWaitIdle(device_);
  if (fence_ != VK_NULL_HANDLE) vk_.vkDestroyFence(device_, fence_, nullptr);
  vk_.vkDestroyDevice(device_, nullptr);
}

absl::Status LogicalDevice::SubmitAndWait(VkCommandBuffer commands) {
  std::lock_guard lock(mutex_);
  FATHOM_RETURN_IF_ERROR(lost_);
  auto info = Make<VkCommandBufferSubmitInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO);
  info.commandBuffer = commands;
  auto submit = Make<VkSubmitInfo2>(VK_STRUCTURE_TYPE_SUBMIT_INFO_2);
  submit.commandBufferInfoCount = 1;
  submit.pCommandBufferInfos = &info;
  VkResult result = vk_.vkQueueSubmit2(queue_, 1, &submit, fence_);
  if (result == VK_SUCCESS) {
    result = vk_.vkWaitForFences(device_, 1, &fence_, VK_TRUE, kTimeoutNanoseconds);
  }
  if (result == VK_TIMEOUT) {
    lost_ = absl::UnavailableError(absl::StrCat(facts_.name, ": a submission did not end within ",
                                                kTimeoutNanoseconds / 1000000000, " s"));
  } else if (result != VK_SUCCESS) {
    // Whether memory ran out or the device is gone: what was submitted is in an unknown state.
    lost_ = VulkanError(facts_.name + ": submission", result);
  } else {
    result = vk_.vkResetFences(device_, 1, &fence_);
    if (result != VK_SUCCESS) lost_ = VulkanError("vkResetFences", result);
  }
  return lost_;
}

absl::Status LogicalDevice::RunOnce(const std::function<void(VkCommandBuffer)>& record) {
  auto create = Make<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
  create.queueFamilyIndex = facts_.queue_family;
  VkCommandPool pool = VK_NULL_HANDLE;
  FATHOM_VK_RETURN_IF_ERROR("vkCreateCommandPool",
                            vk_.vkCreateCommandPool(device_, &create, nullptr, &pool));
  const auto run = [&]() -> absl::Status {
    auto allocate =
        Make<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
    allocate.commandPool = pool;
    allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    allocate.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    FATHOM_VK_RETURN_IF_ERROR("vkAllocateCommandBuffers",
                              vk_.vkAllocateCommandBuffers(device_, &allocate, &commands));
    auto begin = Make<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    FATHOM_VK_RETURN_IF_ERROR("vkBeginCommandBuffer", vk_.vkBeginCommandBuffer(commands, &begin));
    record(commands);
    FATHOM_VK_RETURN_IF_ERROR("vkEndCommandBuffer", vk_.vkEndCommandBuffer(commands));
    return SubmitAndWait(commands);
  };
  const absl::Status status = run();
  vk_.vkDestroyCommandPool(device_, pool, nullptr);
  return status;
}

}  // namespace fathom::vulkan
