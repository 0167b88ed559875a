// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Free ranges by offset, so that a freed range finds its neighbours.
#include "backends/vulkan/driver/range_allocator.h"

#include <iterator>

#include "runtime/base/checked.h"

namespace fathom::vulkan {

std::optional<uint64_t> RangeAllocator::Allocate(uint64_t bytes, uint64_t alignment) {
  if (bytes == 0 || bytes > free_bytes_) return std::nullopt;
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [begin, length] = *it;
    const uint64_t aligned = RoundUp(begin, alignment);
    const uint64_t skipped = aligned - begin;
    if (skipped > length || length - skipped < bytes) continue;
    free_.erase(it);
    if (skipped != 0) free_[begin] = skipped;
    if (length - skipped != bytes) free_[aligned + bytes] = length - skipped - bytes;
    used_[aligned] = bytes;
    free_bytes_ -= bytes;
    return aligned;
  }
  return std::nullopt;
}

void RangeAllocator::Free(uint64_t offset) {
  const auto used = used_.find(offset);
  if (used == used_.end()) return;
  uint64_t begin = offset, bytes = used->second;
  free_bytes_ += bytes;
  used_.erase(used);
  auto next = free_.lower_bound(begin);
  if (next != free_.end() && next->first == begin + bytes) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == begin) {
      begin = previous->first;
      bytes += previous->second;
      free_.erase(previous);
    }
  }
  free_[begin] = bytes;
}

}  // namespace fathom::vulkan
