// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The memory of the simulated device: allocations with bounds, and which bytes have been written.
#ifndef FATHOM_TESTS_CUDA_SIM_MEMORY_H_
#define FATHOM_TESTS_CUDA_SIM_MEMORY_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "tests/cuda_sim/global_races.h"
#include "tests/cuda_sim/types.h"

namespace fathom::cuda_sim {

// Generic addresses: windows for shared and local memory, everything above is global.
inline constexpr uint64_t kSharedWindow = 0x600000000000;
inline constexpr uint64_t kLocalWindow = 0x610000000000;
inline constexpr uint64_t kWindowBytes = 0x10000000;
inline constexpr uint64_t kGlobalBegin = 0x700000000000;

// What a read of memory that nothing has written does.
enum class Uninitialised : uint8_t { report, poison };
inline constexpr uint8_t kPoison = 0xff;  // a NaN in every floating-point type

// One allocation as kernels see it.
struct Region {
  uint64_t begin = 0;
  uint64_t bytes = 0;
  uint8_t* data = nullptr;
  uint8_t* valid = nullptr;  // a byte for each byte, 1 once written; null: all are valid
  GlobalRecord* records = nullptr;
  // Set by the first write of a kernel: what kernels only read needs no record of reads.
  std::atomic<bool>* written = nullptr;
};

// Sorted by begin; what a launch works on.
using RegionList = std::vector<Region>;

// The region that holds [address, address + bytes), or null.
const Region* FindRegion(const RegionList& regions, uint64_t address, uint64_t bytes);
// Names the nearest allocation, for messages: "16 bytes behind the end of the allocation of ...".
std::string DescribeAddress(const RegionList& regions, uint64_t address);

// The allocations of a context. Not thread-safe.
class DeviceMemory {
 public:
  DeviceMemory(uint64_t limit, Uninitialised mode) : limit_(limit), mode_(mode) {}
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // Aligned to 256 bytes and no more, with a gap before the next one. 0 when memory is used up.
  uint64_t Allocate(uint64_t bytes);
  bool Free(uint64_t begin);
  // Host memory at another address; all of it counts as written.
  uint64_t Map(void* host, uint64_t bytes);
  bool Unmap(uint64_t begin);

  uint64_t limit() const { return limit_; }
  uint64_t used() const { return used_; }
  const RegionList& regions() const { return regions_; }
  // Copies and fills from the host; Fault{invalid_value} outside an allocation.
  void Write(uint64_t to, const void* from, uint64_t bytes);
  void Read(void* to, uint64_t from, uint64_t bytes);
  void Copy(uint64_t to, uint64_t from, uint64_t bytes);
  void Fill(uint64_t to, uint8_t value, uint64_t bytes);

 private:
  const Region& Find(uint64_t address, uint64_t bytes) const;
  uint64_t Insert(uint64_t bytes, uint8_t* data, uint8_t* valid);
  void Release(const Region& region);
  bool Remove(uint64_t begin, bool mapped);

  const uint64_t limit_;
  const Uninitialised mode_;
  uint64_t used_ = 0;
  uint64_t next_ = kGlobalBegin + 256;
  RegionList regions_;
};

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_MEMORY_H_
