// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Device memory: which kind for what, blocks that are divided, and the HAL's buffers in them.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_MEMORY_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_MEMORY_H_

#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/vulkan/driver/logical_device.h"
#include "backends/vulkan/driver/range_allocator.h"
#include "runtime/hal/buffer.h"

namespace fathom::vulkan {

// The memory types of `type_bits` that serve `use`, best first; empty when none does.
//   host_io   visible to the host and coherent; cached before uncached (logits are read there)
//   others    device-local where there is such memory; on a unified device rather a type that the
//             host sees too, else rather one it does not (small windows stay free for host_io)
std::vector<uint32_t> MemoryTypesFor(const VkPhysicalDeviceMemoryProperties& memory, bool unified,
                                     hal::MemoryUse use, uint32_t type_bits);

// Part of a VkDeviceMemory.
struct MemoryRange {
  VkDeviceMemory memory = VK_NULL_HANDLE;
  uint64_t offset = 0;
  uint8_t* host = nullptr;  // null: the host cannot reach it
  void* block = nullptr;    // the pool's own
};

// Blocks of 64 MiB per memory type; what needs more than half of one gets a block of its own. A
// block is given back when it is empty. Thread-safe.
class MemoryPool {
 public:
  explicit MemoryPool(std::shared_ptr<LogicalDevice> device) : device_(std::move(device)) {}
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  absl::StatusOr<MemoryRange> Allocate(VkBuffer buffer, hal::MemoryUse use);
  void Free(const MemoryRange& range);

  LogicalDevice& device() const { return *device_; }
  uint64_t allocated_bytes() const;  // of all blocks

 private:
  struct Block {
    uint32_t type;
    VkDeviceMemory memory;
    uint8_t* host;
    bool dedicated;
    RangeAllocator ranges;
  };
  absl::StatusOr<Block*> AddBlock(uint32_t type, uint64_t bytes, VkBuffer dedicated_to);
  void Release(Block& block);

  const std::shared_ptr<LogicalDevice> device_;
  mutable std::mutex mutex_;
  std::list<Block> blocks_;
};

class VulkanBuffer final : public hal::Buffer {
 public:
  // Takes over `buffer` of `bound` >= `size` bytes and, when `pool` is set, `range`; else
  // `imported` is freed with it.
  VulkanBuffer(uint8_t* host, uint64_t size, std::shared_ptr<LogicalDevice> device, VkBuffer buffer,
               uint64_t bound, std::shared_ptr<MemoryPool> pool, MemoryRange range,
               VkDeviceMemory imported)
      : Buffer(host, size),
        device_(std::move(device)),
        buffer_(buffer),
        bound_(bound),
        pool_(std::move(pool)),
        range_(range),
        imported_(imported) {}
  ~VulkanBuffer() override;
  VkBuffer handle() const { return buffer_; }
  uint64_t bound_size() const { return bound_; }  // of the VkBuffer

 private:
  const std::shared_ptr<LogicalDevice> device_;
  const VkBuffer buffer_;
  const uint64_t bound_;
  const std::shared_ptr<MemoryPool> pool_;
  const MemoryRange range_;
  const VkDeviceMemory imported_;
};

class VulkanAllocator final : public hal::Allocator {
 public:
  explicit VulkanAllocator(std::shared_ptr<LogicalDevice> device)
      : device_(device), pool_(std::make_shared<MemoryPool>(std::move(device))) {}
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Allocate(uint64_t size, hal::MemoryUse use) override;
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Import(absl::Span<const uint8_t> bytes) override;
  const MemoryPool& pool() const { return *pool_; }

 private:
  const std::shared_ptr<LogicalDevice> device_;
  const std::shared_ptr<MemoryPool> pool_;
};

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_MEMORY_H_
