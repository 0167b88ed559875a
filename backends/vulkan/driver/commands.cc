// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recording: checks first, descriptor sets and Vulkan's own commands when the list ends.
#include "backends/vulkan/driver/commands.h"

#include <algorithm>
#include <cstdint>
#include <map>

#include "runtime/base/checked.h"

namespace fathom::vulkan {
namespace {

constexpr uint64_t kMaxParts = 65536;

// All of memory between all that a list does: dispatches, copies and, with `to_host`, the host.
void FullBarrier(const VolkDeviceTable& vk, VkCommandBuffer commands, bool to_host) {
  constexpr VkPipelineStageFlags2 kStages =
      VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT;
  constexpr VkAccessFlags2 kWrites =
      VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT;
  constexpr VkAccessFlags2 kReads = VK_ACCESS_2_SHADER_STORAGE_READ_BIT |
                                    VK_ACCESS_2_SHADER_SAMPLED_READ_BIT |
                                    VK_ACCESS_2_TRANSFER_READ_BIT;
  auto memory = Make<VkMemoryBarrier2>(VK_STRUCTURE_TYPE_MEMORY_BARRIER_2);
  memory.srcStageMask = kStages;
  memory.srcAccessMask = kWrites;
  memory.dstStageMask = to_host ? VK_PIPELINE_STAGE_2_HOST_BIT : kStages;
  memory.dstAccessMask = to_host ? VK_ACCESS_2_HOST_READ_BIT : kReads | kWrites;
  auto info = Make<VkDependencyInfo>(VK_STRUCTURE_TYPE_DEPENDENCY_INFO);
  info.memoryBarrierCount = 1;
  info.pMemoryBarriers = &memory;
  vk.vkCmdPipelineBarrier2(commands, &info);
}

VkBuffer HandleOf(const hal::Buffer* buffer) {
  return static_cast<const VulkanBuffer*>(buffer)->handle();
}

}  // namespace

absl::StatusOr<std::vector<GridPart>> CutGrid(const std::array<uint32_t, 3>& grid,
                                              const uint32_t limit[3]) {
  std::vector<GridPart> parts;
  if (std::find(grid.begin(), grid.end(), 0u) != grid.end()) return parts;
  uint64_t total = 1;
  for (int d = 0; d < 3; ++d) {
    if (!CheckedMul<uint64_t>(total, CeilDiv(grid[d], limit[d]), &total) || total > kMaxParts) {
      return absl::OutOfRangeError(
          absl::StrCat("a grid of ", grid[0], " x ", grid[1], " x ", grid[2], " is too large"));
    }
  }
  for (uint64_t z = 0; z < grid[2]; z += limit[2]) {
    for (uint64_t y = 0; y < grid[1]; y += limit[1]) {
      for (uint64_t x = 0; x < grid[0]; x += limit[0]) {
        const uint64_t base[3] = {x, y, z};
        GridPart part;
        for (int d = 0; d < 3; ++d) {
          part.base[d] = static_cast<uint32_t>(base[d]);
          part.count[d] = static_cast<uint32_t>(std::min<uint64_t>(limit[d], grid[d] - base[d]));
        }
        parts.push_back(part);
      }
    }
  }
  return parts;
}

VulkanCommandBuffer::~VulkanCommandBuffer() {
  const VolkDeviceTable& vk = device_->vk();
  vk.vkDestroyQueryPool(device_->handle(), queries_, nullptr);
  vk.vkDestroyDescriptorPool(device_->handle(), descriptor_pool_, nullptr);
  for (VkBufferView view : buffer_views_) vk.vkDestroyBufferView(device_->handle(), view, nullptr);
  vk.vkDestroyCommandPool(device_->handle(), pool_, nullptr);
}

absl::Status VulkanCommandBuffer::CheckBinding(const std::string& where,
                                               const hal::BufferRef& ref) const {
  const VkPhysicalDeviceLimits& limits = device_->facts().limits;
  const uint64_t alignment = std::max<uint64_t>(64, limits.minStorageBufferOffsetAlignment);
  FATHOM_RETURN_IF_ERROR(hal::CheckRef(where, ref, ref.bytes, alignment));
  if (ref.bytes > limits.maxStorageBufferRange) {
    return UnsupportedError(
        where, absl::StrCat("a binding spans ", ref.bytes, " bytes; ", device_->facts().name,
                            " binds at most ", limits.maxStorageBufferRange));
  }
  return absl::OkStatus();
}

absl::StatusOr<VkDescriptorBufferInfo> VulkanCommandBuffer::Descriptor(const std::string& where,
                                                                       const hal::BufferRef& ref,
                                                                       uint8_t texel) const {
  // In whole vectors of 16 bytes, which kernels load: what follows belongs to the same slot.
  const uint64_t rest = static_cast<const VulkanBuffer*>(ref.buffer)->bound_size() - ref.offset;
  const uint64_t limit = device_->facts().limits.maxStorageBufferRange;
  const uint64_t wanted = ref.bytes != 0 ? RoundUp(ref.bytes, 16) : rest;
  VkDescriptorBufferInfo info = {HandleOf(ref.buffer), ref.offset, std::min({wanted, rest, limit})};
  if (texel != 0) {
    FATHOM_RETURN_IF_ERROR(hal::CheckRef(
        where, ref, ref.bytes, device_->facts().limits.minTexelBufferOffsetAlignment));
    const uint64_t most = uint64_t{device_->facts().limits.maxTexelBufferElements} * texel;
    if (ref.bytes > most) {
      return UnsupportedError(where,
                              absl::StrCat("a binding of texels spans ", ref.bytes, " bytes; ",
                                           device_->facts().name, " binds at most ", most));
    }
    info.range = std::min(info.range, most) / texel * texel;
  }
  // No descriptor may be empty.
  if (ref.offset == ref.buffer->size() || info.range == 0) {
    return VkDescriptorBufferInfo{HandleOf(spare_.get()), 0, VK_WHOLE_SIZE};
  }
  return info;
}

absl::Status VulkanCommandBuffer::Append(const hal::Dispatch& dispatch) {
  FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
  const std::string label(dispatch.label);
  const auto* executable = static_cast<const VulkanExecutable*>(dispatch.executable);
  FATHOM_RETURN_IF_ERROR(hal::CheckKernel(dispatch));
  Command command;
  command.kind = Kind::dispatch;
  command.pipeline = &executable->pipeline(dispatch.kernel);
  const ImageKernel& kernel = command.pipeline->kernel;
  for (size_t i = 0; i < dispatch.bindings.size(); ++i) {
    FATHOM_RETURN_IF_ERROR(
        CheckBinding(absl::StrCat(label, ": binding ", i), dispatch.bindings[i]));
  }
  for (size_t i = 0; i < kernel.views.size(); ++i) {
    const uint8_t view = kernel.views[i];
    FATHOM_ASSIGN_OR_RETURN(const VkDescriptorBufferInfo descriptor,
                            Descriptor(absl::StrCat(label, ": binding ", int{view}),
                                       dispatch.bindings[view], kernel.texels[i]));
    command.descriptors.push_back(descriptor);
  }
  for (int64_t value : dispatch.push) {
    if (value < INT32_MIN || value > INT32_MAX) {
      return absl::OutOfRangeError(
          absl::StrCat(label, ": push constant: expected 32 bits, found ", value));
    }
    command.push.push_back(static_cast<int32_t>(value));
  }
  command.push.resize(kernel.push_words());
  const uint32_t* limit = device_->facts().limits.maxComputeWorkGroupCount;
  absl::StatusOr<std::vector<GridPart>> parts = CutGrid(dispatch.grid, limit);
  if (!parts.ok()) {
    return absl::Status(parts.status().code(), absl::StrCat(label, ": ", parts.status().message()));
  }
  command.parts = *std::move(parts);
  if (command.parts.size() > 1 && !kernel.grid_base) {
    return UnsupportedError(
        label,
        absl::StrCat("the kernel ", kernel.name, " runs in grids of at most ", limit[0], " x ",
                     limit[1], " x ", limit[2], " on ", device_->facts().name, ", found ",
                     dispatch.grid[0], " x ", dispatch.grid[1], " x ", dispatch.grid[2]));
  }
  commands_.push_back(std::move(command));
  labels_.push_back(label);
  return absl::OkStatus();
}

absl::Status VulkanCommandBuffer::Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) {
  FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
  FATHOM_RETURN_IF_ERROR(hal::CheckCopy(from, to, bytes));
  if (from.buffer == to.buffer && from.offset < to.offset + bytes &&
      to.offset < from.offset + bytes && bytes != 0) {
    return absl::InvalidArgumentError("copy: source and destination overlap");
  }
  Command command;
  command.kind = Kind::copy;
  command.from = HandleOf(from.buffer);
  command.to = HandleOf(to.buffer);
  command.region = {from.offset, to.offset, bytes};
  commands_.push_back(std::move(command));
  labels_.push_back("copy");
  return absl::OkStatus();
}

absl::Status VulkanCommandBuffer::Barrier() {
  FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
  if (!commands_.empty() && commands_.back().kind != Kind::barrier) commands_.emplace_back();
  return absl::OkStatus();
}

absl::Status VulkanCommandBuffer::AllocateSets() {
  uint32_t sets = 0;
  std::map<VkDescriptorType, uint32_t> descriptors;
  for (const Command& command : commands_) {
    if (command.descriptors.empty()) continue;
    ++sets;
    for (VkDescriptorType type : command.pipeline->kernel.descriptors()) ++descriptors[type];
  }
  if (sets == 0) return absl::OkStatus();
  std::vector<VkDescriptorPoolSize> sizes;
  for (const auto& [type, count] : descriptors) sizes.push_back({type, count});
  auto create = Make<VkDescriptorPoolCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO);
  create.maxSets = sets;
  create.poolSizeCount = static_cast<uint32_t>(sizes.size());
  create.pPoolSizes = sizes.data();
  FATHOM_VK_RETURN_IF_ERROR(
      "vkCreateDescriptorPool",
      device_->vk().vkCreateDescriptorPool(device_->handle(), &create, nullptr, &descriptor_pool_));
  for (Command& command : commands_) {
    if (command.descriptors.empty()) continue;
    auto allocate =
        Make<VkDescriptorSetAllocateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO);
    allocate.descriptorPool = descriptor_pool_;
    allocate.descriptorSetCount = 1;
    allocate.pSetLayouts = &command.pipeline->set_layout;
    FATHOM_VK_RETURN_IF_ERROR(
        "vkAllocateDescriptorSets",
        device_->vk().vkAllocateDescriptorSets(device_->handle(), &allocate, &command.set));
    FATHOM_RETURN_IF_ERROR(WriteSet(command));
  }
  return absl::OkStatus();
}

absl::Status VulkanCommandBuffer::WriteSet(Command& command) {
  const ImageKernel& kernel = command.pipeline->kernel;
  const std::vector<VkDescriptorType> types = kernel.descriptors();
  std::vector<VkBufferView> views(types.size(), VK_NULL_HANDLE);
  std::vector<VkWriteDescriptorSet> writes;
  for (size_t i = 0; i < types.size(); ++i) {
    auto write = Make<VkWriteDescriptorSet>(VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET);
    write.dstSet = command.set;
    write.dstBinding = static_cast<uint32_t>(i);
    write.descriptorCount = 1;
    write.descriptorType = types[i];
    write.pBufferInfo = &command.descriptors[i];
    write.pTexelBufferView = &views[i];
    writes.push_back(write);
    if (kernel.texels[i] == 0) continue;
    auto create = Make<VkBufferViewCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO);
    create.buffer = command.descriptors[i].buffer;
    create.format = kernel.texels[i] == 4   ? VK_FORMAT_R32_UINT
                    : kernel.texels[i] == 8 ? VK_FORMAT_R32G32_UINT
                                            : VK_FORMAT_R32G32B32A32_UINT;
    create.offset = command.descriptors[i].offset;
    create.range = command.descriptors[i].range;
    FATHOM_VK_RETURN_IF_ERROR(
        "vkCreateBufferView",
        device_->vk().vkCreateBufferView(device_->handle(), &create, nullptr, &views[i]));
    buffer_views_.push_back(views[i]);
  }
  device_->vk().vkUpdateDescriptorSets(device_->handle(), static_cast<uint32_t>(writes.size()),
                                       writes.data(), 0, nullptr);
  return absl::OkStatus();
}

absl::Status VulkanCommandBuffer::End() {
  FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
  FATHOM_RETURN_IF_ERROR(AllocateSets());
  auto create = Make<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
  create.queueFamilyIndex = device_->facts().queue_family;
  FATHOM_VK_RETURN_IF_ERROR(
      "vkCreateCommandPool",
      device_->vk().vkCreateCommandPool(device_->handle(), &create, nullptr, &pool_));
  FATHOM_ASSIGN_OR_RETURN(plain_, Encode(VK_NULL_HANDLE));
  ended_ = true;
  return absl::OkStatus();
}

absl::StatusOr<VkCommandBuffer> VulkanCommandBuffer::Encode(VkQueryPool queries) {
  const VolkDeviceTable& vk = device_->vk();
  auto allocate = Make<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
  allocate.commandPool = pool_;
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  FATHOM_VK_RETURN_IF_ERROR("vkAllocateCommandBuffers",
                            vk.vkAllocateCommandBuffers(device_->handle(), &allocate, &commands));
  const auto begin = Make<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
  FATHOM_VK_RETURN_IF_ERROR("vkBeginCommandBuffer", vk.vkBeginCommandBuffer(commands, &begin));
  uint32_t query = 0;
  const auto stamp = [&] {
    vk.vkCmdWriteTimestamp2(commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, queries, query++);
  };
  if (queries != VK_NULL_HANDLE) {
    vk.vkCmdResetQueryPool(commands, queries, 0, static_cast<uint32_t>(labels_.size()) + 1);
  }
  // After what earlier submissions wrote.
  FullBarrier(vk, commands, false);
  if (queries != VK_NULL_HANDLE) stamp();
  for (Command& command : commands_) {
    EncodeCommand(commands, command);
    if (queries != VK_NULL_HANDLE && command.kind != Kind::barrier) {
      FullBarrier(vk, commands, false);
      stamp();
    }
  }
  FullBarrier(vk, commands, true);
  FATHOM_VK_RETURN_IF_ERROR("vkEndCommandBuffer", vk.vkEndCommandBuffer(commands));
  return commands;
}

void VulkanCommandBuffer::EncodeCommand(VkCommandBuffer commands, Command& command) {
  const VolkDeviceTable& vk = device_->vk();
  switch (command.kind) {
    case Kind::barrier:
      FullBarrier(vk, commands, false);
      return;
    case Kind::copy:
      if (command.region.size != 0) {
        vk.vkCmdCopyBuffer(commands, command.from, command.to, 1, &command.region);
      }
      return;
    case Kind::dispatch:
      break;
  }
  if (command.parts.empty()) return;
  const Pipeline& pipeline = *command.pipeline;
  vk.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle);
  if (command.set != VK_NULL_HANDLE) {
    vk.vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1,
                               &command.set, 0, nullptr);
  }
  for (const GridPart& part : command.parts) {
    if (pipeline.kernel.grid_base) {
      for (int d = 0; d < 3; ++d) {
        command.push[pipeline.kernel.push + d] = static_cast<int32_t>(part.base[d]);
      }
    }
    if (!command.push.empty()) {
      vk.vkCmdPushConstants(commands, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                            static_cast<uint32_t>(command.push.size() * sizeof(int32_t)),
                            command.push.data());
    }
    vk.vkCmdDispatch(commands, part.count[0], part.count[1], part.count[2]);
  }
}

absl::Status VulkanCommandBuffer::Run(hal::DispatchTimes* times) {
  if (times == nullptr) return device_->SubmitAndWait(plain_);
  if (device_->facts().timestamp_bits == 0) {
    return UnsupportedError(device_->facts().name, "has no timestamps to measure dispatches with");
  }
  if (timed_ == VK_NULL_HANDLE) {
    auto create = Make<VkQueryPoolCreateInfo>(VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO);
    create.queryType = VK_QUERY_TYPE_TIMESTAMP;
    create.queryCount = static_cast<uint32_t>(labels_.size()) + 1;
    FATHOM_VK_RETURN_IF_ERROR(
        "vkCreateQueryPool",
        device_->vk().vkCreateQueryPool(device_->handle(), &create, nullptr, &queries_));
    FATHOM_ASSIGN_OR_RETURN(timed_, Encode(queries_));
  }
  FATHOM_RETURN_IF_ERROR(device_->SubmitAndWait(timed_));
  return ReadTimes(times);
}

absl::Status VulkanCommandBuffer::ReadTimes(hal::DispatchTimes* times) {
  std::vector<uint64_t> stamps(labels_.size() + 1);
  FATHOM_VK_RETURN_IF_ERROR(
      "vkGetQueryPoolResults",
      device_->vk().vkGetQueryPoolResults(
          device_->handle(), queries_, 0, static_cast<uint32_t>(stamps.size()),
          stamps.size() * sizeof(uint64_t), stamps.data(), sizeof(uint64_t),
          VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
  const DeviceFacts& facts = device_->facts();
  const uint64_t mask =
      facts.timestamp_bits >= 64 ? UINT64_MAX : (uint64_t{1} << facts.timestamp_bits) - 1;
  times->clear();
  for (size_t i = 0; i + 1 < stamps.size(); ++i) {
    const uint64_t ticks = (stamps[i + 1] - stamps[i]) & mask;
    times->push_back(static_cast<uint64_t>(static_cast<double>(ticks) *
                                           static_cast<double>(facts.limits.timestampPeriod)));
  }
  return absl::OkStatus();
}

}  // namespace fathom::vulkan
