// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running a warp: divergence, meeting again, and the checks of its memory accesses.
//
// Lanes with one program counter form a group. The group that is furthest behind runs, so groups
// meet again where a compiler's layout lets them. Where lanes must meet (shuffles, votes, matrix
// instructions, barriers), a group waits until the others have come; if they cannot, that is
// reported.
#include "tests/cuda_sim/warp.h"

#include <algorithm>

#include "tests/cuda_sim/block.h"

namespace fathom::cuda_sim {
namespace {

constexpr uint8_t kPoisonRegister = 0xff;
constexpr Mask kPoisonPredicate = 0xa5a5a5a5;

std::string LaneList(Mask lanes) { return Hex(lanes); }

}  // namespace

Warp::Warp(Block& block, uint32_t number, uint32_t lanes)
    : block_(block),
      kernel_(*block.launch().kernel),
      number_(number),
      existing_(lanes == kLanes ? kAllLanes : (Mask{1} << lanes) - 1),
      storage_(new uint8_t[kernel_.file_bytes + 64]),
      predicates_(kernel_.predicates),
      copies_(kLanes) {
  const auto address = reinterpret_cast<uintptr_t>(storage_.get());
  file_ = storage_.get() + (64 - address % 64) % 64;
  for (const ConstantRow& constant : kernel_.constants) {
    for (int lane = 0; lane < kLanes; ++lane) {
      uint8_t* place = file_ + constant.row + lane * constant.bytes;
      std::memset(place, 0, static_cast<size_t>(constant.bytes));
      std::memcpy(place, &constant.value, static_cast<size_t>(std::min(constant.bytes, 8)));
    }
  }
}

namespace {

uint32_t SpecialValue(Special special, const Block& block, uint32_t thread) {
  const Launch& launch = block.launch();
  const auto& size = launch.threads;
  const uint32_t lane = thread % kLanes;
  const Mask bit = Mask{1} << lane;
  switch (special) {
    case Special::tid_x:
      return thread % size[0];
    case Special::tid_y:
      return thread / size[0] % size[1];
    case Special::tid_z:
      return thread / size[0] / size[1];
    case Special::ntid_x:
    case Special::ntid_y:
    case Special::ntid_z:
      return size[static_cast<size_t>(special) - static_cast<size_t>(Special::ntid_x)];
    case Special::ctaid_x:
    case Special::ctaid_y:
    case Special::ctaid_z:
      return block.index()[static_cast<size_t>(special) - static_cast<size_t>(Special::ctaid_x)];
    case Special::nctaid_x:
    case Special::nctaid_y:
    case Special::nctaid_z:
      return launch.grid[static_cast<size_t>(special) - static_cast<size_t>(Special::nctaid_x)];
    case Special::laneid:
      return lane;
    case Special::warpid:
      return thread / kLanes;
    case Special::nwarpid:
      return (block.thread_count() + kLanes - 1) / kLanes;
    case Special::lanemask_eq:
      return bit;
    case Special::lanemask_lt:
      return bit - 1;
    case Special::lanemask_le:
      return bit | (bit - 1);
    case Special::lanemask_gt:
      return ~(bit | (bit - 1));
    case Special::lanemask_ge:
      return ~(bit - 1);
    case Special::dynamic_smem_size:
      return launch.dynamic_bytes;
    case Special::total_smem_size:
      return launch.kernel->shared_bytes + launch.dynamic_bytes;
  }
  return 0;
}

}  // namespace

void Warp::Reset() {
  std::memset(file_, kPoisonRegister, kernel_.register_bytes);
  std::fill(predicates_.begin(), predicates_.end(), kPoisonPredicate);
  predicates_[kernel_.predicates - 2] = 0;
  predicates_[kernel_.predicates - 1] = kAllLanes;
  for (const SpecialRow& special : kernel_.specials) {
    for (int lane = 0; lane < kLanes; ++lane) {
      Row<uint32_t>(special.row)[lane] = SpecialValue(special.special, block_, thread(lane));
    }
  }
  state_ = State::ready;
  pc_ = 0;
  lanes_ = existing_;
  exited_ = 0;
  groups_.clear();
  next_pc_ = UINT32_MAX;
  steps_ = 0;
  current_ = nullptr;
  for (Copies& copies : copies_) {
    copies.open.clear();
    copies.groups.clear();
  }
}

Warp::State Warp::Run(uint64_t steps) {
  const auto end = static_cast<uint32_t>(kernel_.ops.size());
  for (; steps > 0; --steps) {
    if (pc_ >= next_pc_) Switch();
    if (lanes_ == 0 && !PickNext()) return state_ = State::finished;
    if (pc_ >= end) {
      Exit(lanes_);
      continue;
    }
    const Op& op = kernel_.ops[pc_];
    current_ = &op;
    current_index_ = pc_;
    ++steps_;
    Mask mask = lanes_;
    if (op.guard >= 0) {
      const Mask guard = predicates_[static_cast<size_t>(op.guard)];
      mask &= op.guard_not ? ~guard : guard;
    }
    switch (op.kind) {
      case OpKind::plain:
        if (mask != 0) op.run(*this, op, mask);
        ++pc_;
        break;
      case OpKind::branch:
        Jump(mask, op.target);
        break;
      case OpKind::branch_index:
        JumpByTable(op, mask);
        break;
      case OpKind::exit:
        Exit(mask);
        ++pc_;
        break;
      default:
        if (mask != 0 && !Arrive(op, mask)) break;
        ++pc_;
        if (mask != 0 && op.kind == OpKind::barrier) return state_ = State::at_barrier;
    }
  }
  return state_;
}

void Warp::LeaveBarrier() { state_ = State::ready; }

void Warp::UpdateNextPc() {
  next_pc_ = UINT32_MAX;
  for (const Group& group : groups_) {
    if (!group.waiting) next_pc_ = std::min(next_pc_, group.pc);
  }
}

void Warp::Park(uint32_t pc, Mask lanes, bool waiting) {
  const auto same = std::find_if(groups_.begin(), groups_.end(), [&](const Group& group) {
    return group.pc == pc && group.waiting == waiting;
  });
  if (same != groups_.end()) {
    same->lanes |= lanes;
  } else {
    groups_.push_back({pc, lanes, waiting});
  }
  if (!waiting) next_pc_ = std::min(next_pc_, pc);
}

// The running group has come to or passed one that is ready.
void Warp::Switch() {
  const auto next = std::find_if(groups_.begin(), groups_.end(), [&](const Group& group) {
    return !group.waiting && group.pc == next_pc_;
  });
  const Group group = *next;
  groups_.erase(next);
  if (group.pc == pc_ || lanes_ == 0) {
    lanes_ |= group.lanes;
  } else {
    Park(pc_, lanes_, false);
    lanes_ = group.lanes;
  }
  pc_ = group.pc;
  UpdateNextPc();
}

bool Warp::PickNext() {
  if (next_pc_ != UINT32_MAX) {
    Switch();
    return true;
  }
  if (groups_.empty()) return false;
  // All wait. Lanes that exited may have been what somebody waited for.
  for (size_t i = 0; i < groups_.size(); ++i) {
    const Group group = groups_[i];
    const Op& op = kernel_.ops[group.pc];
    current_ = &op;
    current_index_ = group.pc;
    if ((MembersOf(op, group.lanes) & ~group.lanes) != 0) continue;
    groups_.erase(groups_.begin() + static_cast<long>(i));
    pc_ = group.pc;
    lanes_ = group.lanes;
    return true;
  }
  Deadlock();
}

void Warp::Deadlock() {
  std::string what = "lanes wait for each other at different places:";
  for (const Group& group : groups_) {
    what += " lanes " + LaneList(group.lanes) + " at PTX line " +
            std::to_string(kernel_.ops[group.pc].line) + ";";
  }
  what.pop_back();
  throw Fault{Error::launch_failed, what};
}

void Warp::Jump(Mask taken, uint32_t target) {
  if (taken == 0) {
    ++pc_;
  } else if (taken == lanes_) {
    pc_ = target;
  } else {
    Park(pc_ + 1, lanes_ & ~taken, false);
    lanes_ = taken;
    pc_ = target;
  }
}

void Warp::JumpByTable(const Op& op, Mask mask) {
  const std::vector<uint32_t>& table = kernel_.branch_tables[op.param];
  const uint32_t* index = Row<uint32_t>(op.row[0]);
  if (mask != lanes_) Park(pc_ + 1, lanes_ & ~mask, false);
  ForLanes(mask, [&](int lane) {
    if (index[lane] >= table.size()) {
      throw Fault{Error::launch_failed,
                  "branch index " + std::to_string(index[lane]) + " is beyond a table of " +
                      std::to_string(table.size()),
                  lane};
    }
    Park(table[index[lane]], Mask{1} << lane, false);
  });
  lanes_ = 0;
  pc_ = 0;
  if (mask != 0) Switch();
}

void Warp::Exit(Mask mask) {
  exited_ |= mask;
  lanes_ &= ~mask;
}

// The lanes that must execute `op` together with the first lane of `mask`.
Mask Warp::MembersOf(const Op& op, Mask mask) {
  if (op.kind != OpKind::members) return live();
  const Mask members = Row<uint32_t>(op.members)[std::countr_zero(mask)];
  const Mask gone = members & ~live();
  if (gone != 0) {
    throw Fault{Error::launch_failed, "the member mask " + Hex(members) + " names lanes " +
                                          LaneList(gone) + ", which have exited or do not exist"};
  }
  return members;
}

// Runs `op` if all who must be there are; otherwise the lanes of `mask` wait and false is returned.
bool Warp::Arrive(const Op& op, Mask mask) {
  Mask all = mask;
  for (const Group& group : groups_) {
    if (group.waiting && group.pc == pc_) all |= group.lanes;
  }
  bool uniform = true;
  if (op.kind == OpKind::members) {
    const Mask* members = Row<uint32_t>(op.members);
    const Mask first = members[std::countr_zero(mask)];
    ForLanes(all, [&](int lane) {
      uniform &= members[lane] == first;
      if ((members[lane] >> lane & 1) == 0) {
        throw Fault{Error::launch_failed,
                    "the member mask " + Hex(members[lane]) + " lacks the lane that executes",
                    lane};
      }
    });
  }
  if (!uniform) {
    // Several teams at once: each must be complete.
    for (Mask rest = all; rest != 0;) {
      const Mask team = MembersOf(op, rest);
      if ((team & ~all) != 0) {
        throw Fault{Error::launch_failed, "lanes " + LaneList(team & ~all) +
                                              " of a member mask did not arrive with the others"};
      }
      if (op.run != nullptr) op.run(*this, op, team);
      rest &= ~team;
    }
  } else {
    const Mask needed = MembersOf(op, mask);
    if ((needed & ~all) != 0) {
      Park(pc_, mask, true);
      lanes_ &= ~mask;
      if (lanes_ != 0) ++pc_;
      return false;
    }
    if (op.run != nullptr) op.run(*this, op, all);
  }
  if (all != mask) {
    groups_.erase(
        std::remove_if(groups_.begin(), groups_.end(),
                       [&](const Group& group) { return group.waiting && group.pc == pc_; }),
        groups_.end());
    lanes_ |= all;
  }
  return true;
}

void Warp::Addresses(const Op& op, size_t at, Mask mask, uint64_t* out) {
  const auto offset = static_cast<uint64_t>(op.offset);
  if (op.narrow) {
    const uint32_t* base = Row<uint32_t>(op.row[at]);
    for (int lane = 0; lane < kLanes; ++lane) {
      out[lane] = base[lane] + static_cast<uint32_t>(offset);
    }
    return;
  }
  const uint64_t* base = Row<uint64_t>(op.row[at]);
  for (int lane = 0; lane < kLanes; ++lane) out[lane] = base[lane] + offset;
}

uint8_t* Warp::PlaceGlobal(uint64_t address, uint32_t bytes, const char* what, int lane) {
  if (address - recent_.begin >= recent_.bytes ||
      bytes > recent_.bytes - (address - recent_.begin)) {
    const RegionList& regions = *block_.launch().regions;
    const Region* region = FindRegion(regions, address, bytes);
    if (region == nullptr) {
      throw Fault{Error::illegal_address,
                  std::string(what) + " of " + std::to_string(bytes) +
                      " bytes out of bounds: address " + Hex(address) + ", " +
                      DescribeAddress(regions, address),
                  lane};
    }
    recent_ = *region;
  }
  return recent_.data + (address - recent_.begin);
}

void Warp::CheckWritten(uint64_t address, uint32_t bytes, int lane) const {
  if (recent_.valid == nullptr || block_.launch().options.uninitialised == Uninitialised::poison) {
    return;
  }
  const uint8_t* valid = recent_.valid + (address - recent_.begin);
  for (uint32_t i = 0; i < bytes; ++i) {
    if (valid[i] != 0) continue;
    throw Fault{Error::launch_failed,
                "read of memory that nothing has written: address " + Hex(address + i) + ", " +
                    DescribeAddress(*block_.launch().regions, address + i),
                lane};
  }
}

GlobalAccess Warp::GlobalAccessOf(const Op& op) const {
  return {block_.launch().number, block_.number(), number_, block_.epoch(), op.line, false};
}

const uint8_t* Warp::ReadGlobal(const Op& op, uint64_t address, uint32_t bytes, int lane) {
  const uint8_t* place = PlaceGlobal(address, bytes, "read", lane);
  CheckWritten(address, bytes, lane);
  if (block_.launch().options.global_races && recent_.written->load(std::memory_order_relaxed)) {
    NoteGlobalRead(recent_.records, recent_.begin, address, bytes, GlobalAccessOf(op));
  }
  return place;
}

uint8_t* Warp::WriteGlobal(const Op& op, uint64_t address, uint32_t bytes, int lane,
                           const void* value) {
  uint8_t* place = PlaceGlobal(address, bytes, "write", lane);
  if (block_.launch().options.global_races) {
    recent_.written->store(true, std::memory_order_relaxed);
    const bool same = value != nullptr && std::memcmp(place, value, bytes) == 0;
    NoteGlobalWrite(recent_.records, recent_.begin, address, bytes, GlobalAccessOf(op), same);
  }
  if (recent_.valid != nullptr) std::memset(recent_.valid + (address - recent_.begin), 1, bytes);
  return place;
}

namespace {

void CheckAlignment(uint64_t address, uint32_t bytes, int lane) {
  if ((address & (bytes - 1)) == 0) return;
  throw Fault{
      Error::misaligned_address,
      "access of " + std::to_string(bytes) + " bytes at the misaligned address " + Hex(address),
      lane};
}

// Turns a generic address into one of a window.
void Resolve(Space* space, uint64_t* address) {
  if (*space != Space::generic) return;
  *space = Space::global;
  if (*address - kSharedWindow < kWindowBytes) {
    *space = Space::shared;
    *address -= kSharedWindow;
  } else if (*address - kLocalWindow < kWindowBytes) {
    *space = Space::local;
    *address -= kLocalWindow;
  }
}

}  // namespace

const uint8_t* Warp::Read(const Op& op, Space space, uint64_t address, uint32_t bytes, int lane) {
  CheckAlignment(address, bytes, lane);
  Resolve(&space, &address);
  switch (space) {
    case Space::shared:
      try {
        return block_.shared().Read(address, bytes, AccessOf(op, lane));
      } catch (Fault& fault) {
        fault.lane = lane;
        throw;
      }
    case Space::local:
      return block_.local().Read(address, bytes, thread(lane));
    case Space::param: {
      const std::vector<uint8_t>& parameters = block_.launch().parameters;
      if (address > parameters.size() || bytes > parameters.size() - address) {
        throw Fault{Error::illegal_address, "read beyond the parameters", lane};
      }
      return parameters.data() + address;
    }
    default:
      return ReadGlobal(op, address, bytes, lane);
  }
}

uint8_t* Warp::Write(const Op& op, Space space, uint64_t address, uint32_t bytes, int lane,
                     const void* value) {
  CheckAlignment(address, bytes, lane);
  Resolve(&space, &address);
  switch (space) {
    case Space::shared:
      try {
        return block_.shared().Write(address, bytes, AccessOf(op, lane), value);
      } catch (Fault& fault) {
        fault.lane = lane;
        throw;
      }
    case Space::local:
      return block_.local().Write(address, bytes, thread(lane));
    case Space::param:
    case Space::constant:
      throw Fault{Error::illegal_address, "write to read-only memory", lane};
    default:
      return WriteGlobal(op, address, bytes, lane, value);
  }
}

uint8_t* Warp::Update(const Op& op, Space space, uint64_t address, uint32_t bytes, int lane) {
  CheckAlignment(address, bytes, lane);
  Resolve(&space, &address);
  if (space == Space::shared) {
    Access access = AccessOf(op, lane);
    access.atomic = true;
    try {
      return block_.shared().Update(address, bytes, access);
    } catch (Fault& fault) {
      fault.lane = lane;
      throw;
    }
  }
  if (space != Space::global)
    throw Fault{Error::illegal_address, "atomics work on memory that threads share", lane};
  uint8_t* place = PlaceGlobal(address, bytes, "atomic", lane);
  CheckWritten(address, bytes, lane);
  if (block_.launch().options.global_races) {
    recent_.written->store(true, std::memory_order_relaxed);
    GlobalAccess access = GlobalAccessOf(op);
    access.atomic = true;
    NoteGlobalWrite(recent_.records, recent_.begin, address, bytes, access, false);
  }
  return place;
}

void Warp::Commit(int lane) {
  Copies& copies = copies_[static_cast<size_t>(lane)];
  copies.groups.push_back(std::move(copies.open));
  copies.open.clear();
}

void Warp::Wait(const Op& op, int lane, size_t keep) {
  Copies& copies = copies_[static_cast<size_t>(lane)];
  while (copies.groups.size() > keep) {
    for (const Copy& copy : copies.groups.front()) {
      block_.shared().Land(copy.to, copy.bytes, AccessOf(op, lane), copy.data);
    }
    copies.groups.pop_front();
  }
}

}  // namespace fathom::cuda_sim
