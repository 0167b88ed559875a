// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ends, traps, barriers, votes, matches and reductions over the lanes of a warp.
#include <algorithm>

#include "tests/cuda_sim/block.h"
#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {
namespace {

void DecodeExit(Decoder& d) {
  d.Take("uni");
  d.ExpectCount(0);
  d.op.kind = OpKind::exit;
}

void RunTrap(Warp&, const Op&, Mask) { throw Fault{Error::launch_failed, "trap"}; }
void RunNothing(Warp&, const Op&, Mask) {}

void DecodeTrap(Decoder& d) {
  d.ExpectCount(0);
  d.op.run = RunTrap;
}

void DecodeNanosleep(Decoder& d) {
  d.TakeType();
  d.ExpectCount(1);
  d.op.run = RunNothing;
}

void RunBarrier(Warp& warp, const Op& op, Mask mask) {
  const uint32_t* expected = op.row[1] == kNoRow ? nullptr : warp.Row<uint32_t>(op.row[1]);
  if (expected == nullptr) return;
  const uint32_t threads = (warp.block().thread_count() + kLanes - 1) / kLanes * kLanes;
  const uint32_t found = expected[std::countr_zero(mask)];
  if (found != threads) {
    throw Fault{Error::launch_failed, "a barrier of " + std::to_string(found) + " of " +
                                          std::to_string(threads) +
                                          " threads: partial barriers are not supported"};
  }
}

void RunWarpBarrier(Warp& warp, const Op&, Mask) { warp.Synchronise(); }

// bar.sync a{, b}; barrier{.cta}{.sync}{.aligned} a{, b}; bar.warp.sync m.
void DecodeBarrier(Decoder& d) {
  if (d.Take("warp")) {
    if (!d.Take("sync")) d.Fail("expected bar.warp.sync");
    d.ExpectCount(1);
    d.op.kind = OpKind::members;
    d.op.members = d.Source(0, Type::b32);
    d.op.run = RunWarpBarrier;
    return;
  }
  d.Take("cta");
  if (!d.Take("sync")) d.Fail("only .sync is supported");
  d.TakeOneOf({"aligned"});
  d.ExpectCount(1, 2);
  if (d.operand(0).kind == Operand::Kind::integer && d.Immediate(0) > 15) {
    d.Fail("barriers are numbered 0 to 15");
  }
  d.op.row[0] = d.Source(0, Type::u32);
  if (d.count() == 2) d.op.row[1] = d.Source(1, Type::u32);
  d.op.kind = OpKind::barrier;
  d.op.run = RunBarrier;
}

void RunActiveMask(Warp& warp, const Op& op, Mask mask) {
  uint32_t* d = warp.Row<uint32_t>(op.row[0]);
  ForLanes(mask, [&](int lane) { d[lane] = mask; });
}

void DecodeActiveMask(Decoder& d) {
  d.TakeType();
  d.ExpectCount(1);
  d.op.row[0] = d.Dest(0, Type::b32);
  d.op.run = RunActiveMask;
}

enum class Vote : uint32_t { all, any, uni, ballot };

void RunVote(Warp& warp, const Op& op, Mask mask) {
  const Mask members = mask;
  const Mask source = op.flag ? ~warp.Predicate(op.row[1]) : warp.Predicate(op.row[1]);
  const Mask set = source & members;
  switch (static_cast<Vote>(op.param)) {
    case Vote::all:
      warp.SetPredicate(op.row[0], mask, set == members ? kAllLanes : 0);
      return;
    case Vote::any:
      warp.SetPredicate(op.row[0], mask, set != 0 ? kAllLanes : 0);
      return;
    case Vote::uni:
      warp.SetPredicate(op.row[0], mask, set == members || set == 0 ? kAllLanes : 0);
      return;
    case Vote::ballot: {
      uint32_t* d = warp.Row<uint32_t>(op.row[0]);
      ForLanes(mask, [&](int lane) { d[lane] = set; });
    }
  }
}

void DecodeVote(Decoder& d) {
  if (!d.Take("sync")) d.Fail("only vote.sync is supported");
  const int what = d.TakeOneOf({"all", "any", "uni", "ballot"});
  if (what < 0) d.Fail("unknown vote");
  d.TakeType();
  d.ExpectCount(3);
  d.op.param = static_cast<uint32_t>(what);
  d.op.row[0] = what == 3 ? d.Dest(0, Type::b32) : d.DestPredicate(0);
  d.op.row[1] = d.SourcePredicate(1, &d.op.flag);
  d.op.members = d.Source(2, Type::b32);
  d.op.kind = OpKind::members;
  d.op.run = RunVote;
}

// match.any: which members hold the same value; match.all: all members, if all do.
template <typename T>
void RunMatch(Warp& warp, const Op& op, Mask mask) {
  uint32_t* d = warp.Row<uint32_t>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  T values[kLanes];
  std::copy_n(a, kLanes, values);
  Mask complete = 0;
  ForLanes(mask, [&](int lane) {
    Mask same = 0;
    ForLanes(mask, [&](int other) {
      if (values[other] == values[lane]) same |= Mask{1} << other;
    });
    if (op.flag && same != mask) same = 0;
    if (same == mask) complete |= Mask{1} << lane;
    d[lane] = same;
  });
  warp.SetPredicate(op.row[2], mask, complete);
}

void DecodeMatch(Decoder& d) {
  const int what = d.TakeOneOf({"any", "all"});
  if (what < 0 || !d.Take("sync")) d.Fail("expected match.{any,all}.sync");
  const Type type = d.TakeType();
  const size_t first = d.paired() ? 2 : 1;
  d.ExpectCount(first + 2);
  d.op.row[0] = d.Dest(0, Type::b32);
  if (d.paired()) d.op.row[2] = d.DestPredicate(1);
  d.op.row[1] = d.Source(first, type);
  d.op.members = d.Source(first + 1, Type::b32);
  d.op.flag = what == 1;
  d.op.kind = OpKind::members;
  d.op.run = SizeOf(type) == 8 ? RunMatch<uint64_t> : RunMatch<uint32_t>;
}

enum class Redux : uint32_t { add, min, max, land, lor, lxor };

template <typename T>
void RunRedux(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  T result = a[std::countr_zero(mask)];
  ForLanes(mask & (mask - 1), [&](int lane) {
    const T v = a[lane];
    switch (static_cast<Redux>(op.param)) {
      case Redux::add:
        result = static_cast<T>(static_cast<uint32_t>(result) + static_cast<uint32_t>(v));
        break;
      case Redux::min:
        result = std::min(result, v);
        break;
      case Redux::max:
        result = std::max(result, v);
        break;
      case Redux::land:
        result &= v;
        break;
      case Redux::lor:
        result |= v;
        break;
      case Redux::lxor:
        result ^= v;
        break;
    }
  });
  ForLanes(mask, [&](int lane) { d[lane] = result; });
}

void DecodeRedux(Decoder& d) {
  if (!d.Take("sync")) d.Fail("expected redux.sync");
  d.RequireTarget(80);
  const int what = d.TakeOneOf({"add", "min", "max", "and", "or", "xor"});
  if (what < 0) d.Fail("unknown reduction");
  const Type type = d.TakeType();
  if (!IsInteger(type) || SizeOf(type) != 4) d.Fail("only 32-bit integers are supported");
  d.ExpectCount(3);
  d.op.row[0] = d.Dest(0, Type::b32);
  d.op.row[1] = d.Source(1, Type::b32);
  d.op.members = d.Source(2, Type::b32);
  d.op.param = static_cast<uint32_t>(what);
  d.op.kind = OpKind::members;
  d.op.run = type == Type::s32 ? RunRedux<int32_t> : RunRedux<uint32_t>;
}

}  // namespace

void AddControlOps(DecoderTable& table) {
  table.Add({"ret", "exit"}, Group::any, DecodeExit);
  table.Add({"trap"}, Group::any, DecodeTrap);
  table.Add({"nanosleep"}, Group::any, DecodeNanosleep);
  table.Add({"bar", "barrier"}, Group::any, DecodeBarrier);
  table.Add({"activemask"}, Group::any, DecodeActiveMask);
  table.Add({"vote"}, Group::any, DecodeVote);
  table.Add({"match"}, Group::any, DecodeMatch);
  table.Add({"redux"}, Group::any, DecodeRedux);
}

}  // namespace fathom::cuda_sim
