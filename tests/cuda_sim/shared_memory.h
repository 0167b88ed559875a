// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The shared memory of a block, with bounds, initialisation and data races checked at each access.
#ifndef FATHOM_TESTS_CUDA_SIM_SHARED_MEMORY_H_
#define FATHOM_TESTS_CUDA_SIM_SHARED_MEMORY_H_

#include <vector>

#include "tests/cuda_sim/memory.h"
#include "tests/cuda_sim/program.h"

namespace fathom::cuda_sim {

// Who accesses: what a race is judged by.
struct Access {
  uint32_t thread = 0;  // number in the block
  uint32_t sync = 0;    // how often the warp has synchronised itself (bar.warp.sync)
  uint32_t line = 0;
  bool atomic = false;
};

// Two accesses of different threads to the same bytes, one of them a write, race unless a barrier
// of the block lies between them, or, inside one warp, a bar.warp.sync. Two atomics never race, nor
// do two lanes of one store that write the same value.
//
// Bookkeeping is by granule, the smallest access of the kernel: every access is aligned to its own
// size, so it covers whole granules.
class SharedMemory {
 public:
  SharedMemory(const Kernel& kernel, uint32_t dynamic_bytes, Uninitialised mode);

  // A new block: nothing is written yet.
  void Reset();
  // All threads of the block have met.
  void Barrier() { ++epoch_; }

  // Each returns the place of the bytes or throws Fault.
  const uint8_t* Read(uint64_t address, uint32_t bytes, const Access& access);
  // `value`: the bytes about to be written, for stores of several lanes to one place.
  uint8_t* Write(uint64_t address, uint32_t bytes, const Access& access, const void* value);
  // Of an atomic, which reads and writes; access.atomic is set.
  uint8_t* Update(uint64_t address, uint32_t bytes, const Access& access);
  // An asynchronous copy has been issued: until Land the bytes can neither be read nor written.
  void Issue(uint64_t address, uint32_t bytes, const Access& access);
  void Land(uint64_t address, uint32_t bytes, const Access& access, const void* value);

  uint32_t bytes() const { return static_cast<uint32_t>(data_.size()); }

 private:
  static constexpr uint16_t kSeveral = 0xffff;  // more than one thread has read

  struct Record {
    uint32_t write_epoch = 0;
    uint32_t write_sync = 0;
    uint32_t write_line = 0;
    uint32_t read_epoch = 0;
    uint32_t read_sync = 0;
    uint32_t read_line = 0;
    uint32_t read_warps = 0;
    uint16_t write_thread = 0;
    uint16_t read_thread = 0;
    bool atomic = false;   // the last write
    bool pending = false;  // an asynchronous copy is under way
  };

  void CheckBounds(uint64_t address, uint32_t bytes) const;
  void CheckWritten(const Record& record, uint64_t address) const;
  void CheckWrite(Record& record, uint64_t address, const Access& access, bool same_value);
  std::string Where(uint64_t address) const;
  std::string Who(uint32_t thread) const;
  [[noreturn]] void Race(uint64_t address, const char* now, const Access& access,
                         const char* before, uint32_t thread, uint32_t line) const;

  const Kernel& kernel_;
  const Uninitialised mode_;
  const uint32_t dynamic_bytes_;
  const uint32_t shift_;  // log2 of the granule
  uint32_t epoch_ = 1;
  uint32_t first_epoch_ = 1;  // of this block
  std::vector<uint8_t> data_;
  std::vector<uint8_t> owner_;  // of each byte: number of its variable, 0 for none
  std::vector<Record> records_;
};

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_SHARED_MEMORY_H_
