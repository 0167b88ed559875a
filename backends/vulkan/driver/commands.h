// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Command lists as VkCommandBuffers, recorded once and replayed.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_COMMANDS_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_COMMANDS_H_

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "backends/vulkan/driver/executable.h"
#include "backends/vulkan/driver/logical_device.h"
#include "backends/vulkan/driver/memory.h"
#include "runtime/hal/command_checks.h"

namespace fathom::vulkan {

// Part of a grid, small enough for one vkCmdDispatch.
struct GridPart {
  std::array<uint32_t, 3> base;
  std::array<uint32_t, 3> count;
};

// Cuts `grid` into parts of at most `limit`; empty for a grid without workgroups. kOutOfRange when
// there would be more than 65536.
absl::StatusOr<std::vector<GridPart>> CutGrid(const std::array<uint32_t, 3>& grid,
                                              const uint32_t limit[3]);

class VulkanCommandBuffer final : public hal::CommandBuffer {
 public:
  // `spare` is bound where a binding begins at its buffer's very end.
  VulkanCommandBuffer(std::shared_ptr<LogicalDevice> device, std::shared_ptr<hal::Buffer> spare)
      : device_(std::move(device)), spare_(std::move(spare)) {}
  ~VulkanCommandBuffer() override;

  absl::Status Append(const hal::Dispatch& dispatch) override;
  absl::Status Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) override;
  absl::Status Barrier() override;
  absl::Status End() override;

  bool ended() const { return ended_; }
  // Runs the list; `times` may be null. One call at a time.
  absl::Status Run(hal::DispatchTimes* times);

 private:
  enum class Kind { dispatch, copy, barrier };
  struct Command {
    Kind kind = Kind::barrier;
    const Pipeline* pipeline = nullptr;
    std::vector<VkDescriptorBufferInfo> descriptors;  // of texels too, in whole ones
    VkDescriptorSet set = VK_NULL_HANDLE;
    std::vector<int32_t> push;  // with room for the base of the grid
    std::vector<GridPart> parts;
    VkBuffer from = VK_NULL_HANDLE, to = VK_NULL_HANDLE;
    VkBufferCopy region = {};
  };

  absl::Status CheckBinding(const std::string& where, const hal::BufferRef& ref) const;
  absl::StatusOr<VkDescriptorBufferInfo> Descriptor(const std::string& where,
                                                    const hal::BufferRef& ref, uint8_t texel) const;
  absl::Status AllocateSets();
  absl::Status WriteSet(Command& command);
  absl::StatusOr<VkCommandBuffer> Encode(VkQueryPool queries);
  void EncodeCommand(VkCommandBuffer commands, Command& command);
  absl::Status ReadTimes(hal::DispatchTimes* times);

  const std::shared_ptr<LogicalDevice> device_;
  const std::shared_ptr<hal::Buffer> spare_;
  std::vector<Command> commands_;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkDescriptorPool descriptor_pool_ = VK_NULL_HANDLE;
  std::vector<VkBufferView> buffer_views_;
  VkCommandBuffer plain_ = VK_NULL_HANDLE;
  VkCommandBuffer timed_ = VK_NULL_HANDLE;  // made by the first Run that wants times
  VkQueryPool queries_ = VK_NULL_HANDLE;
  bool ended_ = false;
};

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_COMMANDS_H_
