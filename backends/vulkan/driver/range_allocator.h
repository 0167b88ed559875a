// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dividing one block of memory into ranges.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_RANGE_ALLOCATOR_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_RANGE_ALLOCATOR_H_

#include <cstdint>
#include <map>
#include <optional>

namespace fathom::vulkan {

// First fit over [0, size); neighbouring free ranges are one. Not thread-safe.
class RangeAllocator {
 public:
  explicit RangeAllocator(uint64_t size) : size_(size), free_bytes_(size) {
    if (size != 0) free_[0] = size;
  }
  // The start of `bytes` > 0 free bytes at a multiple of `alignment` (a power of two).
  std::optional<uint64_t> Allocate(uint64_t bytes, uint64_t alignment);
  // Gives back what Allocate returned.
  void Free(uint64_t offset);

  bool empty() const { return used_.empty(); }
  uint64_t size() const { return size_; }
  uint64_t free_bytes() const { return free_bytes_; }

 private:
  const uint64_t size_;
  uint64_t free_bytes_;
  std::map<uint64_t, uint64_t> free_;  // offset -> bytes
  std::map<uint64_t, uint64_t> used_;
};

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_RANGE_ALLOCATOR_H_
