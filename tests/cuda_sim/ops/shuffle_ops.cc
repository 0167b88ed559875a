// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// shfl.sync: values of other lanes.
#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {
namespace {

enum class Shuffle : uint32_t { up, down, bfly, idx };

struct Partner {
  int lane;
  bool inside;  // of the segment: the predicate
};

// The segments and bounds of the PTX manual: c holds a clamp value and, eight bits up, a mask that
// splits the warp.
Partner PartnerOf(Shuffle mode, int lane, uint32_t b, uint32_t c) {
  const int offset = static_cast<int>(b & 31);
  const int clamp = static_cast<int>(c & 31), segment = static_cast<int>(c >> 8 & 31);
  const int last = (lane & segment) | (clamp & ~segment);
  const int first = lane & segment;
  int partner = 0;
  bool inside = false;
  switch (mode) {
    case Shuffle::up:
      partner = lane - offset;
      inside = partner >= last;
      break;
    case Shuffle::down:
      partner = lane + offset;
      inside = partner <= last;
      break;
    case Shuffle::bfly:
      partner = lane ^ offset;
      inside = partner <= last;
      break;
    case Shuffle::idx:
      partner = first | (offset & ~segment);
      inside = partner <= last;
      break;
  }
  return {inside ? partner : lane, inside};
}

void RunShuffle(Warp& warp, const Op& op, Mask mask) {
  uint32_t values[kLanes];
  std::memcpy(values, warp.Row<uint32_t>(op.row[2]), sizeof(values));
  uint32_t* d = op.row[0] == kNoRow ? nullptr : warp.Row<uint32_t>(op.row[0]);
  uint32_t result[kLanes];
  const uint32_t* b = warp.Row<uint32_t>(op.row[3]);
  const uint32_t* c = warp.Row<uint32_t>(op.row[4]);
  Mask inside = 0;
  ForLanes(mask, [&](int lane) {
    const Partner partner = PartnerOf(static_cast<Shuffle>(op.param), lane, b[lane], c[lane]);
    if ((mask >> partner.lane & 1) == 0) {
      throw Fault{Error::launch_failed,
                  "the shuffle reads lane " + std::to_string(partner.lane) +
                      ", which is not in the member mask " + Hex(mask),
                  lane};
    }
    result[lane] = values[partner.lane];
    inside |= Mask{partner.inside} << lane;
  });
  if (d != nullptr) ForLanes(mask, [&](int lane) { d[lane] = result[lane]; });
  warp.SetPredicate(op.row[1], mask, inside);
}

// shfl.sync.mode.b32 d{|p}, a, b, c, members
void DecodeShuffle(Decoder& d) {
  if (!d.Take("sync")) d.Fail("only shfl.sync is supported");
  const int mode = d.TakeOneOf({"up", "down", "bfly", "idx"});
  if (mode < 0 || d.TakeType() != Type::b32) d.Fail("expected shfl.sync.{up,down,bfly,idx}.b32");
  const size_t first = d.paired() ? 2 : 1;
  d.ExpectCount(first + 4);
  d.op.row[0] = d.Dest(0, Type::b32);
  if (d.paired()) d.op.row[1] = d.DestPredicate(1);
  d.op.row[2] = d.Source(first, Type::b32);
  d.op.row[3] = d.Source(first + 1, Type::b32);
  d.op.row[4] = d.Source(first + 2, Type::b32);
  d.op.members = d.Source(first + 3, Type::b32);
  d.op.param = static_cast<uint32_t>(mode);
  d.op.kind = OpKind::members;
  d.op.run = RunShuffle;
}

}  // namespace

void AddShuffleOps(DecoderTable& table) { table.Add({"shfl"}, Group::any, DecodeShuffle); }

}  // namespace fathom::cuda_sim
