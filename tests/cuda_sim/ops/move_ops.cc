// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Moves, packing and unpacking of vectors, addresses of one space in another, special registers.
#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {
namespace {

struct Wide {
  uint64_t low, high;
};

template <typename T>
void RunMove(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  ForLanes(mask, [&](int lane) { d[lane] = a[lane]; });
}

Handler MoveFor(Type type) {
  switch (SizeOf(type)) {
    case 1:
    case 2:
      return RunMove<uint16_t>;
    case 4:
      return RunMove<uint32_t>;
    case 8:
      return RunMove<uint64_t>;
    case 16:
      return RunMove<Wide>;
    default:
      return nullptr;
  }
}

// The elements in `list`, the first in the lowest bits, to or from the value in row[0]. param is
// the size of an element, offset that of the value.
void RunPack(Warp& warp, const Op& op, Mask mask) {
  uint8_t* whole = warp.Row<uint8_t>(op.row[0]);
  const size_t bytes = static_cast<size_t>(op.offset), element = op.param;
  for (size_t i = 0; i < op.list.size(); ++i) {
    const uint8_t* part = warp.Row<uint8_t>(op.list[i]);
    ForLanes(mask, [&](int lane) {
      std::memcpy(whole + bytes * lane + element * i, part + element * lane, element);
    });
  }
}

void RunUnpack(Warp& warp, const Op& op, Mask mask) {
  // The value may be overwritten by its first element: work on a copy.
  alignas(16) uint8_t whole[16 * kLanes];
  const size_t bytes = static_cast<size_t>(op.offset), element = op.param;
  std::memcpy(whole, warp.Row<uint8_t>(op.row[0]), bytes * kLanes);
  for (size_t i = 0; i < op.list.size(); ++i) {
    if (op.list[i] == kNoRow) continue;
    uint8_t* part = warp.Row<uint8_t>(op.list[i]);
    ForLanes(mask, [&](int lane) {
      std::memcpy(part + element * lane, whole + bytes * lane + element * i, element);
    });
  }
}

Type BitsType(size_t bytes) {
  switch (bytes) {
    case 2:
      return Type::b16;
    case 4:
      return Type::b32;
    case 8:
      return Type::b64;
    default:
      return Type::none;
  }
}

void DecodeMove(Decoder& d) {
  const Type type = d.TakeType();
  d.ExpectCount(2);
  const bool unpack = d.operand(0).kind == Operand::Kind::vector;
  const bool pack = d.operand(1).kind == Operand::Kind::vector;
  if (!unpack && !pack) {
    d.op.row[0] = d.Dest(0, type);
    d.op.row[1] = d.Source(1, type);
    SetHandler(d, MoveFor(type));
    return;
  }
  if (unpack && pack) d.Fail("only one side can be a vector");
  const size_t count = d.operand(unpack ? 0 : 1).items.size();
  const auto bytes = static_cast<size_t>(SizeOf(type));
  const Type element = bytes % count == 0 ? BitsType(bytes / count) : Type::none;
  if (element == Type::none) d.Fail("a vector of such elements does not fit");
  d.op.offset = static_cast<int64_t>(bytes);
  d.op.param = static_cast<uint32_t>(bytes / count);
  if (unpack) {
    d.op.list = d.DestList(0, count, element);
    d.op.row[0] = d.Source(1, type);
    d.op.run = RunUnpack;
  } else {
    d.op.row[0] = d.Dest(0, type);
    d.op.list = d.SourceList(1, count, element);
    if (d.op.row[0] == kNoRow) d.Fail("the destination is missing");
    d.op.run = RunPack;
  }
}

// Shared and local addresses are offsets in their windows; global ones are generic already.
void RunConvertAddress(Warp& warp, const Op& op, Mask mask) {
  uint64_t* d = warp.Row<uint64_t>(op.row[0]);
  const uint64_t* a = warp.Row<uint64_t>(op.row[1]);
  const auto offset = static_cast<uint64_t>(op.offset);
  ForLanes(mask, [&](int lane) { d[lane] = a[lane] + offset; });
}

void DecodeConvertAddress(Decoder& d) {
  const bool to = d.Take("to");
  const int space = d.TakeOneOf({"global", "const", "param", "shared", "local", "shared::cta"});
  const Type type = d.TakeType();
  if (space < 0) d.Fail("unknown space");
  if (type != Type::u64 && type != Type::b64) d.Fail("expected u64");
  if (space == 2) d.Fail("generic addresses of parameters are not supported");
  const bool shared = space == 3 || space == 5;
  const uint64_t window = shared ? kSharedWindow : space == 4 ? kLocalWindow : 0;
  d.ExpectCount(2);
  d.op.row[0] = d.Dest(0, Type::b64);
  d.op.row[1] = d.Source(1, Type::b64);
  d.op.offset = static_cast<int64_t>(to ? ~window + 1 : window);
  d.op.run = RunConvertAddress;
}

// isspacep.space p, a.
void RunIsSpace(Warp& warp, const Op& op, Mask mask) {
  const uint64_t* a = warp.Row<uint64_t>(op.row[1]);
  Mask value = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool shared = a[lane] - kSharedWindow < kWindowBytes;
    const bool local = a[lane] - kLocalWindow < kWindowBytes;
    const bool is = op.space == Space::shared  ? shared
                    : op.space == Space::local ? local
                                               : !shared && !local;
    value |= Mask{is} << lane;
  }
  warp.SetPredicate(op.row[0], mask, value);
}

void DecodeIsSpace(Decoder& d) {
  const int space = d.TakeOneOf({"global", "shared", "local", "shared::cta"});
  if (space < 0) d.Fail("unknown space");
  d.ExpectCount(2);
  d.op.row[0] = d.DestPredicate(0);
  d.op.row[1] = d.Source(1, Type::b64);
  d.op.space = space == 0 ? Space::global : space == 2 ? Space::local : Space::shared;
  d.op.run = RunIsSpace;
}

}  // namespace

void AddMoveOps(DecoderTable& table) {
  table.Add({"mov"}, Group::any, DecodeMove);
  table.Add({"cvta"}, Group::any, DecodeConvertAddress);
  table.Add({"isspacep"}, Group::any, DecodeIsSpace);
}

}  // namespace fathom::cuda_sim
