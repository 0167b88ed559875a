// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// dp4a and dp2a: dot products of packed bytes.
#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {
namespace {

template <typename A, typename B>
void RunDp4a(Warp& warp, const Op& op, Mask mask) {
  uint32_t* d = warp.Row<uint32_t>(op.row[0]);
  const uint32_t* a = warp.Row<uint32_t>(op.row[1]);
  const uint32_t* b = warp.Row<uint32_t>(op.row[2]);
  const uint32_t* c = warp.Row<uint32_t>(op.row[3]);
  ForLanes(mask, [&](int lane) {
    uint32_t sum = c[lane];
    for (int i = 0; i < 4; ++i) {
      sum += static_cast<uint32_t>(int32_t{static_cast<A>(a[lane] >> (8 * i))} *
                                   int32_t{static_cast<B>(b[lane] >> (8 * i))});
    }
    d[lane] = sum;
  });
}

// Two 16-bit values of a with two bytes of b; flag: the upper two.
template <typename A, typename B>
void RunDp2a(Warp& warp, const Op& op, Mask mask) {
  uint32_t* d = warp.Row<uint32_t>(op.row[0]);
  const uint32_t* a = warp.Row<uint32_t>(op.row[1]);
  const uint32_t* b = warp.Row<uint32_t>(op.row[2]);
  const uint32_t* c = warp.Row<uint32_t>(op.row[3]);
  ForLanes(mask, [&](int lane) {
    uint32_t sum = c[lane];
    for (int i = 0; i < 2; ++i) {
      sum += static_cast<uint32_t>(int32_t{static_cast<A>(a[lane] >> (16 * i))} *
                                   int32_t{static_cast<B>(b[lane] >> (8 * i + 16 * op.flag))});
    }
    d[lane] = sum;
  });
}

void DecodeDot(Decoder& d) {
  const bool four = d.name() == "dp4a";
  if (!four) {
    const int half = d.TakeOneOf({"lo", "hi"});
    if (half < 0) d.Fail("expected .lo or .hi");
    d.op.flag = half == 1;
  }
  const Type a = d.TakeType(), b = d.TakeType();
  if ((a != Type::u32 && a != Type::s32) || (b != Type::u32 && b != Type::s32)) {
    d.Fail("expected u32 or s32, twice");
  }
  DecodeSameType(d, Type::b32, 3);
  const int signs = (a == Type::s32 ? 2 : 0) + (b == Type::s32 ? 1 : 0);
  constexpr Handler kFour[] = {RunDp4a<uint8_t, uint8_t>, RunDp4a<uint8_t, int8_t>,
                               RunDp4a<int8_t, uint8_t>, RunDp4a<int8_t, int8_t>};
  constexpr Handler kTwo[] = {RunDp2a<uint16_t, uint8_t>, RunDp2a<uint16_t, int8_t>,
                              RunDp2a<int16_t, uint8_t>, RunDp2a<int16_t, int8_t>};
  d.op.run = four ? kFour[signs] : kTwo[signs];
}

}  // namespace

void AddDotOps(DecoderTable& table) { table.Add({"dp4a", "dp2a"}, Group::any, DecodeDot); }

}  // namespace fathom::cuda_sim
