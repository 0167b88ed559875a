// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A warp: its register file, its lanes' program counters, its asynchronous copies.
#ifndef FATHOM_TESTS_CUDA_SIM_WARP_H_
#define FATHOM_TESTS_CUDA_SIM_WARP_H_

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "tests/cuda_sim/memory.h"
#include "tests/cuda_sim/program.h"
#include "tests/cuda_sim/shared_memory.h"

namespace fathom::cuda_sim {

class Block;

// Calls f(lane) for each lane of `mask`.
template <typename F>
inline void ForLanes(Mask mask, F&& f) {
  if (mask == kAllLanes) {
    for (int lane = 0; lane < kLanes; ++lane) f(lane);
    return;
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) f(std::countr_zero(rest));
}

class Warp {
 public:
  enum class State { ready, at_barrier, finished };

  // Warp `number` of `block`, with `lanes` threads.
  Warp(Block& block, uint32_t number, uint32_t lanes);

  // Starts a new block: registers poisoned, every lane at the first instruction.
  void Reset();
  // Runs until the warp ends, waits at a barrier, or has done `steps` instructions.
  State Run(uint64_t steps);
  void LeaveBarrier();

  State state() const { return state_; }
  uint32_t number() const { return number_; }
  const Op* current() const { return current_; }
  uint32_t current_index() const { return current_index_; }
  uint64_t steps() const { return steps_; }

  // --- what handlers use ---
  template <typename T>
  T* Row(uint32_t row) {
    return reinterpret_cast<T*>(file_ + row);
  }
  Mask& Predicate(uint32_t predicate) { return predicates_[predicate]; }
  // Stores `value` for the lanes of `mask`; kNoRow is ignored.
  void SetPredicate(uint32_t predicate, Mask mask, Mask value) {
    if (predicate == kNoRow) return;
    Mask& old = predicates_[predicate];
    old = (old & ~mask) | (value & mask);
  }
  Block& block() { return block_; }
  uint32_t thread(int lane) const { return number_ * kLanes + static_cast<uint32_t>(lane); }
  Mask existing() const { return existing_; }
  Mask live() const { return existing_ & ~exited_; }
  Access AccessOf(const Op& op, int lane) const { return {thread(lane), sync_, op.line, false}; }
  // bar.warp.sync.
  void Synchronise() { ++sync_; }

  // The address of each lane of `mask`, from row `at`.
  void Addresses(const Op& op, size_t at, Mask mask, uint64_t* out);
  // The place of `bytes` bytes (a power of two) at an address of op.space, checked.
  const uint8_t* Read(const Op& op, Space space, uint64_t address, uint32_t bytes, int lane);
  uint8_t* Write(const Op& op, Space space, uint64_t address, uint32_t bytes, int lane,
                 const void* value);
  uint8_t* Update(const Op& op, Space space, uint64_t address, uint32_t bytes, int lane);

  // --- asynchronous copies ---
  struct Copy {
    uint64_t to = 0;
    uint32_t bytes = 0;
    uint8_t data[16] = {};
  };
  void Issue(int lane, const Copy& copy) { copies_[lane].open.push_back(copy); }
  void Commit(int lane);
  // Lands all groups but the newest `keep`.
  void Wait(const Op& op, int lane, size_t keep);

 private:
  // Lanes that share a program counter and do not run now.
  struct Group {
    uint32_t pc = 0;
    Mask lanes = 0;
    bool waiting = false;  // for others to arrive
  };
  struct Copies {
    std::vector<Copy> open;
    std::deque<std::vector<Copy>> groups;
  };

  void Switch();
  bool PickNext();
  void Park(uint32_t pc, Mask lanes, bool waiting);
  void UpdateNextPc();
  void Jump(Mask taken, uint32_t target);
  void JumpByTable(const Op& op, Mask mask);
  void Exit(Mask mask);
  bool Arrive(const Op& op, Mask mask);
  Mask MembersOf(const Op& op, Mask mask);
  const uint8_t* ReadGlobal(const Op& op, uint64_t address, uint32_t bytes, int lane);
  uint8_t* WriteGlobal(const Op& op, uint64_t address, uint32_t bytes, int lane, const void* value);
  void CheckWritten(uint64_t address, uint32_t bytes, int lane) const;
  GlobalAccess GlobalAccessOf(const Op& op) const;
  uint8_t* PlaceGlobal(uint64_t address, uint32_t bytes, const char* what, int lane);
  [[noreturn]] void Deadlock();

  Block& block_;
  const Kernel& kernel_;
  const uint32_t number_;
  const Mask existing_;
  std::unique_ptr<uint8_t[]> storage_;
  uint8_t* file_ = nullptr;  // 64-byte aligned
  std::vector<Mask> predicates_;

  State state_ = State::ready;
  uint32_t pc_ = 0;
  Mask lanes_ = 0;  // that run
  Mask exited_ = 0;
  std::vector<Group> groups_;      // that do not
  uint32_t next_pc_ = UINT32_MAX;  // of the groups that are not waiting
  uint32_t sync_ = 0;
  uint64_t steps_ = 0;
  const Op* current_ = nullptr;
  uint32_t current_index_ = 0;
  Region recent_;               // where the last global access was
  std::vector<Copies> copies_;  // of each lane
};

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_WARP_H_
