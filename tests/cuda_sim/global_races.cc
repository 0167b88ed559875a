// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Records of accesses, packed into words.
#include "tests/cuda_sim/global_races.h"

#include <algorithm>

namespace fathom::cuda_sim {
namespace {

// A word: launch (28 bits), block (28), four bytes as a mask, two flags.
constexpr uint64_t kAtomic = 1, kSeveral = 2;  // in a write; in a read: by more than one block
constexpr uint32_t kBlockBits = 28, kLaunchBits = 28;
constexpr uint32_t kSeveralWarps = 32;

uint64_t Pack(const GlobalAccess& access, uint32_t mask, uint64_t flags) {
  const uint64_t launch = access.launch & ((uint64_t{1} << kLaunchBits) - 1);
  const uint64_t block = access.block & ((1u << kBlockBits) - 1);
  return launch << 36 | block << 8 | uint64_t{mask} << 4 | flags;
}
uint64_t Launch(uint64_t word) { return word >> 36; }
uint32_t Block(uint64_t word) { return word >> 8 & ((1u << kBlockBits) - 1); }
uint32_t Bytes(uint64_t word) { return word >> 4 & 15; }

uint64_t Load(const uint64_t& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }
void Store(uint64_t& word, uint64_t value) { __atomic_store_n(&word, value, __ATOMIC_RELAXED); }

uint32_t When(const GlobalAccess& access) { return access.epoch << 6 | access.warp; }

[[noreturn]] void Race(uint64_t address, const char* now, const char* before, uint64_t word,
                       bool several, uint32_t line, const GlobalAccess& access) {
  const bool inside = !several && Block(word) == access.block;
  throw Fault{Error::launch_failed,
              std::string("data race in global memory: ") + now + " after " + before + " by " +
                  (several  ? "other blocks"
                   : inside ? "another warp of the block, without a barrier between them,"
                            : "block number " + std::to_string(Block(word))) +
                  " at PTX line " + std::to_string(line) + " in the same launch, address " +
                  Hex(address)};
}

// Calls f(record, mask of its bytes, address of the first of them).
template <typename F>
void ForRecords(GlobalRecord* records, uint64_t begin, uint64_t address, uint32_t bytes, F&& f) {
  const uint64_t first = address - begin, end = first + bytes;
  for (uint64_t at = first; at < end;) {
    const uint64_t in = at % kRecordBytes;
    const uint64_t count = std::min(kRecordBytes - in, end - at);
    f(records[at / kRecordBytes], static_cast<uint32_t>(((1u << count) - 1) << in), begin + at);
    at += count;
  }
}

// Whether the earlier access of `word`, made at `when`, races with `access` to the bytes in `mask`.
bool Conflicts(uint64_t word, uint32_t when, uint32_t mask, const GlobalAccess& access) {
  if (Launch(word) != Launch(Pack(access, 0, 0)) || (Bytes(word) & mask) == 0) return false;
  if (Block(word) != access.block) return true;
  return when >> 6 == access.epoch && (when & 63) != access.warp;
}

}  // namespace

void NoteGlobalRead(GlobalRecord* records, uint64_t begin, uint64_t address, uint32_t bytes,
                    const GlobalAccess& access) {
  ForRecords(records, begin, address, bytes, [&](GlobalRecord& record, uint32_t mask, uint64_t at) {
    const uint64_t write = Load(record.write);
    if (Conflicts(write, record.write_when, mask, access)) {
      Race(at, "read", (write & kAtomic) != 0 ? "an atomic" : "a write", write, false,
           record.write_line, access);
    }
    const uint64_t read = Load(record.read);
    const uint64_t mine = Pack(access, mask, 0);
    if (Launch(read) != Launch(mine)) {
      record.read_when = When(access);
      Store(record.read, mine);
    } else if (Block(read) != access.block) {
      Store(record.read, mine | kSeveral | (read & 0xf0));
    } else {
      if (record.read_when >> 6 != access.epoch) {
        record.read_when = When(access);
      } else if ((record.read_when & 63) != access.warp) {
        record.read_when = access.epoch << 6 | kSeveralWarps;
      }
      Store(record.read, read | (mine & 0xf0));
    }
    record.read_line = access.line;
  });
}

void NoteGlobalWrite(GlobalRecord* records, uint64_t begin, uint64_t address, uint32_t bytes,
                     const GlobalAccess& access, bool same) {
  ForRecords(records, begin, address, bytes, [&](GlobalRecord& record, uint32_t mask, uint64_t at) {
    const uint64_t write = Load(record.write);
    const bool both_atomic = access.atomic && (write & kAtomic) != 0;
    const char* now = access.atomic ? "atomic" : "write";
    if (!both_atomic && !same && Conflicts(write, record.write_when, mask, access)) {
      Race(at, now, (write & kAtomic) != 0 ? "an atomic" : "a write", write, false,
           record.write_line, access);
    }
    const uint64_t read = Load(record.read);
    const bool several = (read & kSeveral) != 0;
    // Which block read which byte of a word is not known, so only whole words are judged then.
    const bool judged = !several || mask == 15;
    if (!same && judged &&
        ((several && Launch(read) == Launch(Pack(access, 0, 0)) && (Bytes(read) & mask) != 0) ||
         Conflicts(read, record.read_when, mask, access))) {
      Race(at, now, "a read", read, several, record.read_line, access);
    }
    const bool joins = Launch(write) == Launch(Pack(access, 0, 0)) &&
                       Block(write) == access.block && record.write_when == When(access);
    record.write_line = access.line;
    record.write_when = When(access);
    Store(record.write,
          Pack(access, mask, access.atomic ? kAtomic : 0) | (joins ? write & 0xf0 : 0));
  });
}

}  // namespace fathom::cuda_sim
