// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The memory of a KV cache: for each layer a range of its own, in one or several buffers.
#ifndef FATHOM_RUNTIME_EXEC_CACHE_MEMORY_H_
#define FATHOM_RUNTIME_EXEC_CACHE_MEMORY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "runtime/hal/device.h"
#include "runtime/schema/artifact_generated.h"

namespace fathom {

// Bytes of one layer's part of a page.
inline uint64_t LayerPageBytes(const schema::KvCache& kv) {
  return uint64_t{kv.page_tokens()} * kv.row_bytes();
}

// Most pages of a cache on `device`: a layer is one binding of a dispatch and lies in one buffer.
uint32_t MaxCachePages(const hal::DeviceInfo& device, const schema::KvCache& kv);

// Pages are zero until a kernel writes them. Not thread-safe.
class CacheMemory {
 public:
  // Holds no pages yet. `most` is at least 1 and at most MaxCachePages; all of them together have
  // less than 2^63 bytes. `device` outlives the memory.
  CacheMemory(hal::Device& device, const schema::KvCache& kv, uint32_t most);

  // Pages that every layer has.
  uint32_t pages() const;
  // Makes room for `pages` (at most `most`) and more, so that growing step by step costs little in
  // all: on a device that takes memory as it is touched, for the most at once. What the pages hold
  // stays, also after an error (kResourceExhausted); should it be lost (kDataLoss), that is the
  // answer from then on. Not while submissions use the memory; ranges given before are void.
  absl::Status Grow(uint32_t pages);

  // All pages of `layer`.
  hal::BufferRef Layer(uint32_t layer) const;
  size_t buffers() const { return groups_.size(); }

 private:
  // Consecutive layers in one buffer, `pages` of each.
  struct Group {
    uint32_t layers = 0;
    uint32_t pages = 0;
    std::shared_ptr<hal::Buffer> buffer;
  };
  // From layer to layer of a buffer with so many pages.
  uint64_t Stride(uint32_t pages) const;
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Allocate(const Group& group, uint32_t pages);
  absl::Status Move(const Group& from, const Group& to);
  absl::Status MoveThroughHost(Group& group, uint32_t pages);

  hal::Device& device_;
  const uint64_t page_bytes_;  // of one layer
  const uint32_t most_;
  uint32_t group_layers_ = 0;  // of every group but the last
  std::vector<Group> groups_;
  absl::Status lost_;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_CACHE_MEMORY_H_
