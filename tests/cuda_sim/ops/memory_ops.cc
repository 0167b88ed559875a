// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loads and stores of every space, vectors included.
#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {
namespace {

// How an element of memory becomes a register; see Op::param.
struct Layout {
  uint32_t count = 1;      // elements of a vector
  uint32_t bytes = 4;      // of an element
  uint32_t width = 4;      // of a register
  bool is_signed = false;  // narrow elements are extended by their sign

  uint32_t Pack() const { return count | bytes << 8 | width << 16 | (is_signed ? 1u << 31 : 0); }
  static Layout Unpack(uint32_t packed) {
    return {packed & 0xff, packed >> 8 & 0xff, packed >> 16 & 0x7f, packed >> 31 != 0};
  }
};

// Elements of N bytes into registers of the same size.
template <typename T>
void RunLoadSame(Warp& warp, const Op& op, Mask mask) {
  const auto count = static_cast<uint32_t>(op.list.size());
  uint64_t addresses[kLanes];
  warp.Addresses(op, 1, mask, addresses);
  T* rows[8];
  for (uint32_t i = 0; i < count; ++i) {
    rows[i] = op.list[i] == kNoRow ? nullptr : warp.Row<T>(op.list[i]);
  }
  const uint32_t bytes = count * sizeof(T);
  ForLanes(mask, [&](int lane) {
    const uint8_t* from = warp.Read(op, op.space, addresses[lane], bytes, lane);
    for (uint32_t i = 0; i < count; ++i) {
      if (rows[i] != nullptr) std::memcpy(&rows[i][lane], from + i * sizeof(T), sizeof(T));
    }
  });
}

uint64_t Extend(uint64_t value, uint32_t bytes, bool is_signed) {
  const uint32_t shift = 64 - 8 * bytes;
  if (is_signed) return static_cast<uint64_t>(static_cast<int64_t>(value << shift) >> shift);
  return value << shift >> shift;
}

// Elements narrower than their registers.
void RunLoadExtend(Warp& warp, const Op& op, Mask mask) {
  const Layout layout = Layout::Unpack(op.param);
  uint64_t addresses[kLanes];
  warp.Addresses(op, 1, mask, addresses);
  ForLanes(mask, [&](int lane) {
    const uint8_t* from =
        warp.Read(op, op.space, addresses[lane], layout.count * layout.bytes, lane);
    for (uint32_t i = 0; i < layout.count; ++i) {
      if (op.list[i] == kNoRow) continue;
      uint64_t value = 0;
      std::memcpy(&value, from + i * layout.bytes, layout.bytes);
      value = Extend(value, layout.bytes, layout.is_signed);
      std::memcpy(warp.Row<uint8_t>(op.list[i]) + layout.width * static_cast<uint32_t>(lane),
                  &value, layout.width);
    }
  });
}

// Registers at least as wide as the elements.
void RunStore(Warp& warp, const Op& op, Mask mask) {
  const Layout layout = Layout::Unpack(op.param);
  uint64_t addresses[kLanes];
  warp.Addresses(op, 1, mask, addresses);
  const uint32_t bytes = layout.count * layout.bytes;
  ForLanes(mask, [&](int lane) {
    uint8_t value[32];
    for (uint32_t i = 0; i < layout.count; ++i) {
      std::memcpy(value + i * layout.bytes,
                  warp.Row<uint8_t>(op.list[i]) + layout.width * static_cast<uint32_t>(lane),
                  layout.bytes);
    }
    std::memcpy(warp.Write(op, op.space, addresses[lane], bytes, lane, value), value, bytes);
  });
}

Space TakeSpace(Decoder& d) {
  switch (d.TakeOneOf({"global", "const", "shared", "shared::cta", "local", "param"})) {
    case 0:
      return Space::global;
    case 1:
      return Space::constant;
    case 2:
    case 3:
      return Space::shared;
    case 4:
      return Space::local;
    case 5:
      return Space::param;
    default:
      return Space::generic;
  }
}

// Orders and scopes: lanes and blocks run one after another here, so memory is always consistent.
void TakeOrder(Decoder& d) {
  d.TakeOneOf({"weak", "volatile", "relaxed", "acquire", "release"});
  d.TakeOneOf({"cta", "cluster", "gpu", "sys"});
}

uint32_t TakeCount(Decoder& d) {
  switch (d.TakeOneOf({"v2", "v4", "v8"})) {
    case 0:
      return 2;
    case 1:
      return 4;
    case 2:
      return 8;
    default:
      return 1;
  }
}

// The registers of a vector operand, all of one width, at least `bytes` wide.
Layout DecodeRegisters(Decoder& d, size_t at, uint32_t count, Type type, bool load) {
  Layout layout;
  layout.count = count;
  layout.bytes = static_cast<uint32_t>(SizeOf(type));
  layout.is_signed = IsSigned(type);
  const Operand& operand = d.operand(at);
  const bool vector = operand.kind == Operand::Kind::vector;
  int width = 0;
  for (size_t i = 0; i < (vector ? operand.items.size() : 1); ++i) {
    const Operand& item = vector ? operand.items[i] : operand;
    const int found = d.Width(item);
    if (found == 0) continue;
    if (width != 0 && found != width) d.Fail("registers of different sizes in one vector");
    width = found;
  }
  if (width == 0) width = std::max(2, SizeOf(type));  // constants only
  if (width < static_cast<int>(layout.bytes)) d.Fail("a register is narrower than the element");
  const Type as = width == 2   ? Type::b16
                  : width == 4 ? Type::b32
                  : width == 8 ? Type::b64
                               : Type::b128;
  if ((IsFloat(type) || IsSmallFloat(type)) && width != static_cast<int>(layout.bytes)) {
    d.Fail("a register has another size than the floating-point element");
  }
  layout.width = static_cast<uint32_t>(width);
  d.op.list = load ? d.DestList(at, count, as) : d.SourceList(at, count, as);
  return layout;
}

void CheckVector(Decoder& d, uint32_t count, Type type) {
  const uint32_t bytes = count * static_cast<uint32_t>(SizeOf(type));
  if (bytes > 16) {
    if (bytes != 32 || d.op.space != Space::global) d.Fail("a vector has at most 16 bytes");
    d.RequireTarget(100);
    d.RequireVersion(88);
  }
  if (SizeOf(type) == 0 || type == Type::pred) d.Fail("unknown type");
}

void DecodeLoad(Decoder& d) {
  const bool uniform = d.name() == "ldu";
  TakeOrder(d);
  const Space space = TakeSpace(d);
  const bool read_only = d.Take("nc");
  d.TakeHints();
  if ((read_only || uniform) && space != Space::global) d.Fail("only global memory is read-only");
  const uint32_t count = TakeCount(d);
  const Type type = d.TakeType();
  d.ExpectCount(2);
  d.op.space = space;
  CheckVector(d, count, type);
  const Layout layout = DecodeRegisters(d, 0, count, type, true);
  d.Address(1, 1, space);
  d.NoteGranule(layout.count * layout.bytes);
  d.op.param = layout.Pack();
  if (layout.width != layout.bytes) {
    d.op.run = RunLoadExtend;
    return;
  }
  struct Wide {
    uint64_t low, high;
  };
  d.op.run = layout.width == 2   ? RunLoadSame<uint16_t>
             : layout.width == 4 ? RunLoadSame<uint32_t>
             : layout.width == 8 ? RunLoadSame<uint64_t>
                                 : RunLoadSame<Wide>;
}

void DecodeStore(Decoder& d) {
  TakeOrder(d);
  const Space space = TakeSpace(d);
  d.TakeHints();
  if (space == Space::constant || space == Space::param) d.Fail("the space is read-only");
  const uint32_t count = TakeCount(d);
  const Type type = d.TakeType();
  d.ExpectCount(2);
  d.op.space = space;
  CheckVector(d, count, type);
  const Layout layout = DecodeRegisters(d, 1, count, type, false);
  d.Address(0, 1, space);
  d.NoteGranule(layout.count * layout.bytes);
  d.op.param = layout.Pack();
  d.op.run = RunStore;
}

void RunNothing(Warp&, const Op&, Mask) {}

void DecodePrefetch(Decoder& d) {
  TakeSpace(d);
  d.TakeOneOf({"L1", "L2"});
  d.TakeHints();
  d.ExpectCount(1);
  d.op.run = RunNothing;
}

}  // namespace

void AddMemoryOps(DecoderTable& table) {
  table.Add({"ld", "ldu"}, Group::any, DecodeLoad);
  table.Add({"st"}, Group::any, DecodeStore);
  table.Add({"prefetch", "prefetchu"}, Group::any, DecodePrefetch);
}

}  // namespace fathom::cuda_sim
