// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Grouping layers into buffers, and moving them to larger ones.
#include "runtime/exec/cache_memory.h"

#include <algorithm>
#include <utility>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"
#include "runtime/exec/transfer.h"

namespace fathom {
namespace {

// Layers begin at pages of the system: a multiple of what any device asks of bindings and copies.
constexpr uint64_t kLayerAlignment = 4096;
// Where a cache moves to larger buffers, the old and the new one of a group exist together: the
// more groups, the less that takes; the fewer, the less there is to allocate and to submit.
constexpr uint32_t kGroups = 8;
constexpr uint32_t kFirstPages = 16;

}  // namespace

uint32_t MaxCachePages(const hal::DeviceInfo& device, const schema::KvCache& kv) {
  uint64_t bytes = UINT64_MAX;
  if (device.max_buffer_bytes != 0) bytes = std::min(bytes, device.max_buffer_bytes);
  if (device.max_binding_bytes != 0) bytes = std::min(bytes, device.max_binding_bytes);
  return static_cast<uint32_t>(std::min<uint64_t>(bytes / LayerPageBytes(kv), INT32_MAX));
}

CacheMemory::CacheMemory(hal::Device& device, const schema::KvCache& kv, uint32_t most)
    : device_(device), page_bytes_(LayerPageBytes(kv)), most_(most) {
  const hal::DeviceInfo& info = device.info();
  const uint32_t layers = kv.layers();
  const uint32_t wanted = info.cache_on_demand ? layers : (layers + kGroups - 1) / kGroups;
  const uint64_t fit =
      info.max_buffer_bytes == 0 ? layers : info.max_buffer_bytes / Stride(most);
  group_layers_ = static_cast<uint32_t>(std::clamp<uint64_t>(fit, 1, wanted));
  for (uint32_t first = 0; first < layers; first += group_layers_) {
    groups_.push_back({std::min(group_layers_, layers - first), 0, nullptr});
  }
}

uint32_t CacheMemory::pages() const {
  uint32_t pages = most_;
  for (const Group& group : groups_) pages = std::min(pages, group.pages);
  return pages;
}

uint64_t CacheMemory::Stride(uint32_t pages) const {
  return RoundUp(pages * page_bytes_, kLayerAlignment);
}

hal::BufferRef CacheMemory::Layer(uint32_t layer) const {
  const Group& group = groups_[layer / group_layers_];
  return {group.buffer.get(), layer % group_layers_ * Stride(group.pages),
          group.pages * page_bytes_};
}

absl::StatusOr<std::shared_ptr<hal::Buffer>> CacheMemory::Allocate(const Group& group,
                                                                   uint32_t pages) {
  return device_.allocator().Allocate((group.layers - 1) * Stride(pages) + pages * page_bytes_,
                                      hal::MemoryUse::cache);
}

absl::Status CacheMemory::Grow(uint32_t pages) {
  const uint32_t have = this->pages();
  FATHOM_RETURN_IF_ERROR(lost_);
  if (pages <= have) return absl::OkStatus();
  // Twice as many each time, so that the moves cost little in all; just enough when memory is
  // short.
  uint64_t wanted = std::max({uint64_t{kFirstPages}, 2 * uint64_t{have}, uint64_t{pages}});
  if (device_.info().cache_on_demand) wanted = most_;
  uint32_t next = static_cast<uint32_t>(std::min<uint64_t>(wanted, most_));
  for (Group& group : groups_) {
    if (group.pages >= pages) continue;
    auto buffer = Allocate(group, next);
    if (absl::IsResourceExhausted(buffer.status()) && next > pages) {
      next = pages;
      buffer = Allocate(group, next);
    }
    if (absl::IsResourceExhausted(buffer.status()) && group.buffer != nullptr) {
      FATHOM_RETURN_IF_ERROR(MoveThroughHost(group, next));
      continue;
    }
    FATHOM_RETURN_IF_ERROR(buffer.status());
    Group grown = {group.layers, next, *std::move(buffer)};
    if (group.buffer != nullptr) FATHOM_RETURN_IF_ERROR(Move(group, grown));
    group = std::move(grown);
  }
  return absl::OkStatus();
}

absl::Status CacheMemory::Move(const Group& from, const Group& to) {
  const uint64_t bytes = from.pages * page_bytes_;
  std::vector<CopyRange> ranges;
  for (uint32_t i = 0; i < from.layers; ++i) {
    ranges.push_back({{from.buffer.get(), i * Stride(from.pages)},
                      {to.buffer.get(), i * Stride(to.pages)},
                      bytes});
  }
  return CopyOnDevice(device_, ranges);
}

// Old and new do not fit beside each other: the content waits in the host's memory.
absl::Status CacheMemory::MoveThroughHost(Group& group, uint32_t pages) {
  const uint64_t bytes = group.pages * page_bytes_;
  std::vector<uint8_t> saved(group.layers * bytes);
  for (uint32_t i = 0; i < group.layers; ++i) {
    FATHOM_RETURN_IF_ERROR(Download(device_, {group.buffer.get(), i * Stride(group.pages)},
                                    absl::MakeSpan(saved).subspan(i * bytes, bytes)));
  }
  group.buffer.reset();
  absl::StatusOr<std::shared_ptr<hal::Buffer>> grown = Allocate(group, pages);
  const absl::Status status = grown.status();
  const uint32_t held = status.ok() ? pages : group.pages;
  if (!status.ok()) grown = Allocate(group, held);
  if (!grown.ok()) {
    group.pages = 0;
    return lost_ = absl::DataLossError(absl::StrCat(
               "the memory of the cache could not be taken back: ", grown.status().message()));
  }
  group.buffer = *std::move(grown);
  group.pages = held;
  for (uint32_t i = 0; i < group.layers; ++i) {
    FATHOM_RETURN_IF_ERROR(Upload(device_, absl::MakeConstSpan(saved).subspan(i * bytes, bytes),
                                  {group.buffer.get(), i * Stride(held)}));
  }
  return status;
}

}  // namespace fathom
