// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// rope on GPUs: a workgroup per token, a lane per pair.
#include "compiler/kernels/simt/Rope.h"

#include "compiler/kernels/simt/Emitters.h"

using namespace mlir;

namespace fathom::kernels::simt {

// Rows of the first level: positions below this have a row of their own (docs/spec/kernels.md).
constexpr int64_t kRopeLevel = 512;

void Rope::setPosition(Buf table, Val position) {
  table_ = table;
  low_ = position % kRopeLevel * dim_;
  high_ = (position / kRopeLevel + kRopeLevel) * dim_;
}

std::pair<Val, Val> Rope::places(Val i) const {
  if (interleaved_) return {i * 2, i * 2 + 1};
  return {i, i + dim_ / 2};
}

std::pair<Val, Val> Rope::rotate(Val i, Val a, Val b) const {
  int64_t pairs = dim_ / 2;
  Val ca = k_.load(table_, low_ + i), sa = k_.load(table_, low_ + i + pairs);
  Val cb = k_.load(table_, high_ + i), sb = k_.load(table_, high_ + i + pairs);
  Val c = fma(ca, cb, -(sa * sb)), s = fma(sa, cb, ca * sb);
  if (mscale_ != 1) {
    c = c * mscale_;
    s = s * mscale_;
  }
  return {fma(a, c, -(b * s)), fma(b, c, a * s)};
}

Val Rope::element(Buf in, Val from, Val e) const {
  Val i = interleaved_ ? e / 2 : e % (dim_ / 2);
  auto [first, second] = places(i);
  auto [a, b] = rotate(i, k_.load(in, from + first), k_.load(in, from + second));
  return select(e == first, a, b);
}

LogicalResult emitRope(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 20);
  int64_t dim = cfg.in("dim", 2, kMaxWidth, 2);
  bool interleaved = cfg.b("interleaved");
  int64_t inLd = cfg.in("in_ld", 0, kMaxOffset), outLd = cfg.in("out_ld", 0, kMaxOffset);
  int64_t inHeadLd = cfg.in("in_head_ld", 0, kMaxOffset);
  int64_t outHeadLd = cfg.in("out_head_ld", 0, kMaxOffset);
  int64_t inOffset = cfg.in("in_offset", 0, kMaxOffset);
  int64_t outOffset = cfg.in("out_offset", 0, kMaxOffset);
  double mscale = cfg.f("mscale");
  if (cfg.failed()) return failure();
  Buf x = k.f32View(k.binding()), positions = k.i32View(k.input());
  Buf table = k.f32View(k.input()), out = k.f32View(k.binding());
  Val t = k.x();
  Rope rope(k, dim, interleaved, mscale);
  rope.setPosition(table, toIndex(k.load(positions, t)));
  k.forLanes(heads * (dim / 2), [&](Val pair) {
    Val h = pair / (dim / 2), i = pair % (dim / 2);
    Val from = t * inLd + h * inHeadLd + inOffset, to = t * outLd + h * outHeadLd + outOffset;
    auto [first, second] = rope.places(i);
    auto [a, b] = rope.rotate(i, k.load(x, from + first), k.load(x, from + second));
    k.store(a, out, to + first);
    k.store(b, out, to + second);
  });
  return success();
}

}  // namespace fathom::kernels::simt
