// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Picking memory types, dividing blocks, importing host memory.
#include "backends/vulkan/driver/memory.h"

#include <algorithm>

#include "runtime/base/checked.h"

namespace fathom::vulkan {
namespace {

constexpr uint64_t kBlockBytes = uint64_t{64} << 20;
constexpr uint64_t kAlignment = 256;
constexpr VkMemoryPropertyFlags kCoherent =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr auto kHostAllocation = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;

// Frees a VkBuffer unless it was handed on.
struct BufferGuard {
  LogicalDevice& device;
  VkBuffer buffer = VK_NULL_HANDLE;
  ~BufferGuard() {
    if (buffer != VK_NULL_HANDLE) {
      device.vk().vkDestroyBuffer(device.handle(), buffer, nullptr);
    }
  }
  VkBuffer Take() { return std::exchange(buffer, VK_NULL_HANDLE); }
};

VkBufferCreateInfo BufferInfo(uint64_t bytes) {
  auto info = Make<VkBufferCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO);
  info.size = bytes;
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
               VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  return info;
}

}  // namespace

std::vector<uint32_t> MemoryTypesFor(const VkPhysicalDeviceMemoryProperties& memory, bool unified,
                                     hal::MemoryUse use, uint32_t type_bits) {
  const bool host_io = use == hal::MemoryUse::host_io;
  std::vector<std::pair<int, uint32_t>> scored;
  bool any_local = false;
  const auto flags_of = [&](uint32_t i) { return memory.memoryTypes[i].propertyFlags; };
  constexpr VkMemoryPropertyFlags kUnwanted =
      VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT | VK_MEMORY_PROPERTY_PROTECTED_BIT |
      VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD | VK_MEMORY_PROPERTY_DEVICE_UNCACHED_BIT_AMD;
  const auto fits = [&](uint32_t i) {
    return (type_bits >> i & 1) != 0 && (flags_of(i) & kUnwanted) == 0 &&
           (!host_io || (flags_of(i) & kCoherent) == kCoherent);
  };
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    any_local |= fits(i) && (flags_of(i) & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0;
  }
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    if (!fits(i)) continue;
    const bool local = (flags_of(i) & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0;
    const bool cached = (flags_of(i) & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0;
    const bool coherent = (flags_of(i) & kCoherent) == kCoherent;
    int score = 0;
    if (host_io) {
      score = (cached ? 4 : 0) + (local == unified ? 1 : 0);
    } else {
      // System memory would work, but at the speed of the bus: better to say that memory is short.
      if (any_local && !local) continue;
      score = (coherent == unified ? 2 : 0) + (unified && coherent && cached ? 1 : 0);
    }
    scored.emplace_back(-score, i);
  }
  std::sort(scored.begin(), scored.end());  // the driver's order among equals
  std::vector<uint32_t> types;
  for (const auto& [score, type] : scored) types.push_back(type);
  return types;
}

MemoryPool::~MemoryPool() {
  for (Block& block : blocks_) Release(block);
}

void MemoryPool::Release(Block& block) {
  device_->vk().vkFreeMemory(device_->handle(), block.memory, nullptr);
}

uint64_t MemoryPool::allocated_bytes() const {
  std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const Block& block : blocks_) bytes += block.ranges.size();
  return bytes;
}

absl::StatusOr<MemoryPool::Block*> MemoryPool::AddBlock(uint32_t type, uint64_t bytes,
                                                        VkBuffer dedicated_to) {
  if (const uint64_t limit = device_->options().max_memory_bytes; limit != 0) {
    uint64_t used = bytes;
    for (const Block& block : blocks_) used += block.ranges.size();
    if (used > limit) {
      return VulkanError("vkAllocateMemory", VK_ERROR_OUT_OF_DEVICE_MEMORY);
    }
  }
  auto allocate = Make<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
  allocate.allocationSize = bytes;
  allocate.memoryTypeIndex = type;
  auto dedicated =
      Make<VkMemoryDedicatedAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
  dedicated.buffer = dedicated_to;
  if (dedicated_to != VK_NULL_HANDLE) allocate.pNext = &dedicated;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  FATHOM_VK_RETURN_IF_ERROR(
      absl::StrCat("vkAllocateMemory of ", bytes, " bytes"),
      device_->vk().vkAllocateMemory(device_->handle(), &allocate, nullptr, &memory));
  void* host = nullptr;
  const auto flags = device_->facts().memory.memoryTypes[type].propertyFlags;
  if ((flags & kCoherent) == kCoherent) {
    const VkResult result =
        device_->vk().vkMapMemory(device_->handle(), memory, 0, VK_WHOLE_SIZE, 0, &host);
    if (result != VK_SUCCESS) {
      device_->vk().vkFreeMemory(device_->handle(), memory, nullptr);
      return VulkanError("vkMapMemory", result);
    }
  }
  blocks_.push_back({type, memory, static_cast<uint8_t*>(host), dedicated_to != VK_NULL_HANDLE,
                     RangeAllocator(bytes)});
  return &blocks_.back();
}

absl::StatusOr<MemoryRange> MemoryPool::Allocate(VkBuffer buffer, hal::MemoryUse use) {
  VkMemoryRequirements needed;
  device_->vk().vkGetBufferMemoryRequirements(device_->handle(), buffer, &needed);
  const DeviceFacts& facts = device_->facts();
  const uint64_t alignment = std::max<uint64_t>(needed.alignment, kAlignment);
  const auto range_in = [&](Block& block) -> std::optional<MemoryRange> {
    const auto offset = block.ranges.Allocate(needed.size, alignment);
    if (!offset.has_value()) return std::nullopt;
    return MemoryRange{block.memory, *offset,
                       block.host == nullptr ? nullptr : block.host + *offset, &block};
  };

  std::lock_guard lock(mutex_);
  absl::Status status = absl::ResourceExhaustedError("no kind of memory suits");
  for (uint32_t type : MemoryTypesFor(facts.memory, facts.unified(), use, needed.memoryTypeBits)) {
    const uint64_t heap = facts.memory.memoryHeaps[facts.memory.memoryTypes[type].heapIndex].size;
    // Small heaps (a window of 256 MiB) are not taken in blocks of a quarter.
    const uint64_t block_bytes = std::min({kBlockBytes, heap / 16, facts.max_allocation});
    if (needed.size > block_bytes / 2) {
      const auto block = AddBlock(type, needed.size, buffer);
      if (block.ok()) return *range_in(**block);
      status = block.status();
      continue;
    }
    for (Block& block : blocks_) {
      if (block.type != type || block.dedicated) continue;
      if (const auto range = range_in(block); range.has_value()) return *range;
    }
    const auto block = AddBlock(type, block_bytes, VK_NULL_HANDLE);
    if (block.ok()) return *range_in(**block);
    status = block.status();
  }
  return status;
}

void MemoryPool::Free(const MemoryRange& range) {
  std::lock_guard lock(mutex_);
  auto* block = static_cast<Block*>(range.block);
  block->ranges.Free(range.offset);
  if (!block->ranges.empty()) return;
  Release(*block);
  blocks_.remove_if([&](const Block& candidate) { return &candidate == block; });
}

VulkanBuffer::~VulkanBuffer() {
  device_->vk().vkDestroyBuffer(device_->handle(), buffer_, nullptr);
  if (pool_ != nullptr) pool_->Free(range_);
  if (imported_ != VK_NULL_HANDLE) {
    device_->vk().vkFreeMemory(device_->handle(), imported_, nullptr);
  }
}

absl::StatusOr<std::shared_ptr<hal::Buffer>> VulkanAllocator::Allocate(uint64_t size,
                                                                       hal::MemoryUse use) {
  const DeviceFacts& facts = device_->facts();
  if (size > facts.max_buffer) {
    return absl::ResourceExhaustedError(absl::StrCat(facts.name, ": no memory for ", size,
                                                     " bytes: one allocation has at most ",
                                                     facts.max_buffer));
  }
  // Never empty, and whole words.
  const VkBufferCreateInfo info = BufferInfo(std::max<uint64_t>(RoundUp(size, 16), 16));
  BufferGuard buffer{*device_};
  FATHOM_VK_RETURN_IF_ERROR(
      absl::StrCat(facts.name, ": vkCreateBuffer of ", size, " bytes"),
      device_->vk().vkCreateBuffer(device_->handle(), &info, nullptr, &buffer.buffer));
  const absl::StatusOr<MemoryRange> range = pool_->Allocate(buffer.buffer, use);
  if (!range.ok()) {
    return absl::Status(range.status().code(),
                        absl::StrCat(facts.name, ": no memory for ", size, " bytes beside the ",
                                     pool_->allocated_bytes(), " in use (the device has ",
                                     facts.memory_bytes(), "): ", range.status().message()));
  }
  const VkResult bound = device_->vk().vkBindBufferMemory(device_->handle(), buffer.buffer,
                                                          range->memory, range->offset);
  if (bound != VK_SUCCESS) {
    pool_->Free(*range);
    return VulkanError("vkBindBufferMemory", bound);
  }
  const bool hidden = device_->options().hide_host_memory && use != hal::MemoryUse::host_io;
  auto result =
      std::make_shared<VulkanBuffer>(hidden ? nullptr : range->host, size, device_, buffer.Take(),
                                     info.size, pool_, *range, VK_NULL_HANDLE);
  if (use == hal::MemoryUse::cache) {
    FATHOM_RETURN_IF_ERROR(device_->RunOnce([&](VkCommandBuffer commands) {
      device_->vk().vkCmdFillBuffer(commands, result->handle(), 0, VK_WHOLE_SIZE, 0);
    }));
  }
  return std::shared_ptr<hal::Buffer>(std::move(result));
}

absl::StatusOr<std::shared_ptr<hal::Buffer>> VulkanAllocator::Import(
    absl::Span<const uint8_t> bytes) {
  const DeviceFacts& facts = device_->facts();
  const uint64_t alignment = facts.import_alignment;
  if (alignment == 0 || !facts.unified() || device_->options().hide_host_memory) {
    return absl::UnimplementedError(facts.name + " has memory of its own");
  }
  // The rest of the last page is mapped as surely as its beginning.
  constexpr uint64_t kPage = 4096;
  const uint64_t size = RoundUp(bytes.size(), std::min(alignment, kPage));
  if (bytes.empty() || reinterpret_cast<uintptr_t>(bytes.data()) % alignment != 0 ||
      size % alignment != 0 || size > facts.max_buffer) {
    return absl::UnimplementedError("memory that this device cannot import");
  }
  auto external =
      Make<VkExternalMemoryBufferCreateInfo>(VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
  external.handleTypes = kHostAllocation;
  VkBufferCreateInfo info = BufferInfo(bytes.size());
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
               VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
  info.pNext = &external;
  BufferGuard buffer{*device_};
  FATHOM_VK_RETURN_IF_ERROR(
      "vkCreateBuffer",
      device_->vk().vkCreateBuffer(device_->handle(), &info, nullptr, &buffer.buffer));

  void* pointer = const_cast<uint8_t*>(bytes.data());
  auto types =
      Make<VkMemoryHostPointerPropertiesEXT>(VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT);
  VkMemoryRequirements needed;
  device_->vk().vkGetBufferMemoryRequirements(device_->handle(), buffer.buffer, &needed);
  const VkResult asked = device_->vk().vkGetMemoryHostPointerPropertiesEXT(
      device_->handle(), kHostAllocation, pointer, &types);
  const uint32_t usable = asked == VK_SUCCESS ? types.memoryTypeBits & needed.memoryTypeBits : 0;
  if (usable == 0 || needed.size > size) {
    return absl::UnimplementedError("memory that this device cannot import");
  }
  auto import =
      Make<VkImportMemoryHostPointerInfoEXT>(VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
  import.handleType = kHostAllocation;
  import.pHostPointer = pointer;
  auto allocate = Make<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
  allocate.pNext = &import;
  allocate.allocationSize = size;
  allocate.memoryTypeIndex = static_cast<uint32_t>(__builtin_ctz(usable));
  VkDeviceMemory memory = VK_NULL_HANDLE;
  VkResult result = device_->vk().vkAllocateMemory(device_->handle(), &allocate, nullptr, &memory);
  // A driver may refuse mappings of files, or pages without write access: the caller copies.
  if (result != VK_SUCCESS) return absl::UnimplementedError(ResultName(result));
  result = device_->vk().vkBindBufferMemory(device_->handle(), buffer.buffer, memory, 0);
  if (result != VK_SUCCESS) {
    device_->vk().vkFreeMemory(device_->handle(), memory, nullptr);
    return absl::UnimplementedError(ResultName(result));
  }
  return std::shared_ptr<hal::Buffer>(
      std::make_shared<VulkanBuffer>(static_cast<uint8_t*>(pointer), bytes.size(), device_,
                                     buffer.Take(), bytes.size(), nullptr, MemoryRange{}, memory));
}

}  // namespace fathom::vulkan
