// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Allocations on anonymous mappings.
#include "tests/cuda_sim/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace fathom::cuda_sim {
namespace {

uint8_t* MapPages(uint64_t bytes) {
  void* pages = ::mmap(nullptr, std::max<uint64_t>(bytes, 1), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return pages == MAP_FAILED ? nullptr : static_cast<uint8_t*>(pages);
}

void UnmapPages(uint8_t* pages, uint64_t bytes) {
  if (pages != nullptr) ::munmap(pages, std::max<uint64_t>(bytes, 1));
}

uint64_t RecordsBytes(uint64_t bytes) { return (bytes / kRecordBytes + 1) * sizeof(GlobalRecord); }

bool Holds(const Region& region, uint64_t address, uint64_t bytes) {
  return address >= region.begin && address - region.begin <= region.bytes &&
         bytes <= region.bytes - (address - region.begin);
}

}  // namespace

const Region* FindRegion(const RegionList& regions, uint64_t address, uint64_t bytes) {
  auto it = std::upper_bound(regions.begin(), regions.end(), address,
                             [](uint64_t a, const Region& region) { return a < region.begin; });
  if (it == regions.begin()) return nullptr;
  --it;
  return Holds(*it, address, bytes) ? &*it : nullptr;
}

std::string DescribeAddress(const RegionList& regions, uint64_t address) {
  const auto name = [](const Region& region) {
    return "the allocation of " + std::to_string(region.bytes) + " bytes at " + Hex(region.begin);
  };
  auto it = std::upper_bound(regions.begin(), regions.end(), address,
                             [](uint64_t a, const Region& region) { return a < region.begin; });
  if (it != regions.begin()) {
    const Region& before = *std::prev(it);
    const uint64_t at = address - before.begin;
    if (at < before.bytes) return "byte " + std::to_string(at) + " of " + name(before);
    return std::to_string(at - before.bytes) + " bytes behind the end of " + name(before);
  }
  if (it == regions.end()) return "there is no allocation";
  return std::to_string(it->begin - address) + " bytes before " + name(*it);
}

DeviceMemory::~DeviceMemory() {
  for (const Region& region : regions_) Release(region);
}

void DeviceMemory::Release(const Region& region) {
  UnmapPages(reinterpret_cast<uint8_t*>(region.records), RecordsBytes(region.bytes));
  delete region.written;
  if (region.valid == nullptr) return;  // somebody else's memory
  UnmapPages(region.data, region.bytes);
  UnmapPages(region.valid, region.bytes);
}

uint64_t DeviceMemory::Allocate(uint64_t bytes) {
  if (bytes == 0 || bytes > limit_ - used_) return 0;
  uint8_t* data = MapPages(bytes);
  uint8_t* valid = MapPages(bytes);
  if (data == nullptr || valid == nullptr) {
    UnmapPages(data, bytes);
    UnmapPages(valid, bytes);
    return 0;
  }
  if (mode_ == Uninitialised::poison) std::memset(data, kPoison, bytes);
  used_ += bytes;
  return Insert(bytes, data, valid);
}

uint64_t DeviceMemory::Insert(uint64_t bytes, uint8_t* data, uint8_t* valid) {
  const uint64_t begin = next_;  // an odd multiple of 256
  next_ += (bytes + 4096 + 511) / 512 * 512;
  // Pages that no kernel writes to are never touched.
  auto* records = reinterpret_cast<GlobalRecord*>(MapPages(RecordsBytes(bytes)));
  regions_.push_back({begin, bytes, data, valid, records, new std::atomic<bool>(false)});
  return begin;
}

uint64_t DeviceMemory::Map(void* host, uint64_t bytes) {
  return Insert(bytes, static_cast<uint8_t*>(host), nullptr);
}

bool DeviceMemory::Remove(uint64_t begin, bool mapped) {
  const auto it = std::find_if(regions_.begin(), regions_.end(),
                               [&](const Region& region) { return region.begin == begin; });
  if (it == regions_.end() || (it->valid == nullptr) != mapped) return false;
  Release(*it);
  if (!mapped) used_ -= it->bytes;
  regions_.erase(it);
  return true;
}

bool DeviceMemory::Free(uint64_t begin) { return Remove(begin, false); }
bool DeviceMemory::Unmap(uint64_t begin) { return Remove(begin, true); }

const Region& DeviceMemory::Find(uint64_t address, uint64_t bytes) const {
  const Region* region = FindRegion(regions_, address, bytes);
  if (region != nullptr) return *region;
  throw Fault{Error::invalid_value, "a copy of " + std::to_string(bytes) + " bytes at " +
                                        Hex(address) + ": " + DescribeAddress(regions_, address)};
}

void DeviceMemory::Write(uint64_t to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  const Region& region = Find(to, bytes);
  std::memcpy(region.data + (to - region.begin), from, bytes);
  if (region.valid != nullptr) std::memset(region.valid + (to - region.begin), 1, bytes);
}

void DeviceMemory::Read(void* to, uint64_t from, uint64_t bytes) {
  if (bytes == 0) return;
  const Region& region = Find(from, bytes);
  std::memcpy(to, region.data + (from - region.begin), bytes);
}

void DeviceMemory::Copy(uint64_t to, uint64_t from, uint64_t bytes) {
  if (bytes == 0) return;
  const Region& source = Find(from, bytes);
  const Region& target = Find(to, bytes);
  const uint64_t source_at = from - source.begin, target_at = to - target.begin;
  std::memmove(target.data + target_at, source.data + source_at, bytes);
  if (target.valid == nullptr) return;
  if (source.valid != nullptr) {
    std::memmove(target.valid + target_at, source.valid + source_at, bytes);
  } else {
    std::memset(target.valid + target_at, 1, bytes);
  }
}

void DeviceMemory::Fill(uint64_t to, uint8_t value, uint64_t bytes) {
  if (bytes == 0) return;
  const Region& region = Find(to, bytes);
  std::memset(region.data + (to - region.begin), value, bytes);
  if (region.valid != nullptr) std::memset(region.valid + (to - region.begin), 1, bytes);
}

}  // namespace fathom::cuda_sim
