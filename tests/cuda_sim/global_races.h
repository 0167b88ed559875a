// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Races in global memory inside one launch: between blocks, and between warps of a block that no
// barrier separates.
#ifndef FATHOM_TESTS_CUDA_SIM_GLOBAL_RACES_H_
#define FATHOM_TESTS_CUDA_SIM_GLOBAL_RACES_H_

#include <cstdint>

#include "tests/cuda_sim/types.h"

namespace fathom::cuda_sim {

// Who accesses global memory.
struct GlobalAccess {
  uint64_t launch = 0;  // counts from 1
  uint32_t block = 0;   // number in the grid
  uint32_t warp = 0;
  uint32_t epoch = 0;  // barriers of the block so far
  uint32_t line = 0;
  bool atomic = false;
};

// The last write and the reads of four bytes. `write` and `read` are single words, because blocks
// on two threads look at them at once; the rest is read only by the block that wrote it.
struct GlobalRecord {
  uint64_t write = 0;
  uint64_t read = 0;
  uint32_t write_line = 0, write_when = 0;
  uint32_t read_line = 0, read_when = 0;
};
inline constexpr uint64_t kRecordBytes = 4;  // that a record stands for

// `records`: that of byte 0, which `begin` is the address of. Throws Fault. `same` says that the
// bytes hold the value about to be written: two blocks may write one value.
void NoteGlobalRead(GlobalRecord* records, uint64_t begin, uint64_t address, uint32_t bytes,
                    const GlobalAccess& access);
void NoteGlobalWrite(GlobalRecord* records, uint64_t begin, uint64_t address, uint32_t bytes,
                     const GlobalAccess& access, bool same);

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_GLOBAL_RACES_H_
