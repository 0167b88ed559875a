// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// rope: rotary position embedding of the heads of a row.
#include "compiler/kernels/simd/Rope.h"

#include "compiler/kernels/simd/Emitters.h"

using namespace mlir;

namespace fathom::kernels {

// Rows of the first level: positions below this have a row of their own (docs/spec/kernels.md).
constexpr int64_t kRopeLevel = 512;

static int64_t padded(int64_t pairs) { return (pairs + 15) / 16 * 16; }

void Rope::setPosition(Buf table, Val position) {
  int64_t pairs = dim_ / 2;
  angles_ = k_.scratch(k_.f32(), 2 * padded(pairs) * 4);
  Val a = position % kRopeLevel * dim_;
  Val b = (position / kRopeLevel + kRopeLevel) * dim_;
  k_.forRow(pairs, 16, [&](Val i, Val count) {
    Val ca = k_.load(table, a + i, 16, count), sa = k_.load(table, a + i + pairs, 16, count);
    Val cb = k_.load(table, b + i, 16, count), sb = k_.load(table, b + i + pairs, 16, count);
    Val c = fma(ca, cb, -(sa * sb)), s = fma(sa, cb, ca * sb);
    if (mscale_ != 1) {
      c = c * mscale_;
      s = s * mscale_;
    }
    k_.store(c, angles_, i);
    k_.store(s, angles_, i + padded(pairs));
  });
}

void Rope::rotate(Buf in, Val from, function_ref<void(Val, Val, Val)> put) {
  int64_t pairs = dim_ / 2;
  k_.forRow(pairs, 16, [&](Val i, Val count) {
    Val c = k_.load(angles_, i, 16), s = k_.load(angles_, i + padded(pairs), 16);
    if (!interleaved_) {
      Val a = k_.load(in, from + i, 16, count), b = k_.load(in, from + i + pairs, 16, count);
      put(i, fma(a, c, -(b * s)), count);
      put(i + pairs, fma(b, c, a * s), count);
      return;
    }
    Val countLo, countHi;
    if (count) {
      int64_t rest = 2 * (pairs % 16);
      if (rest < 16) countLo = k_.idx(rest);
      countHi = k_.idx(std::max<int64_t>(rest - 16, 0));
    }
    Val lo = k_.load(in, from + i * 2, 16, countLo);
    Val hi = k_.load(in, from + i * 2 + 16, 16, countHi);
    SmallVector<int64_t> even, odd, low, high;
    for (int64_t l = 0; l < 16; ++l) {
      even.push_back(2 * l);
      odd.push_back(2 * l + 1);
      low.push_back(l / 2 + l % 2 * 16);
      high.push_back(8 + l / 2 + l % 2 * 16);
    }
    Val a = permute(lo, hi, even), b = permute(lo, hi, odd);
    Val x = fma(a, c, -(b * s)), y = fma(b, c, a * s);
    put(i * 2, permute(x, y, low), countLo);
    put(i * 2 + 16, permute(x, y, high), countHi);
  });
}

LogicalResult emitRope(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 20);
  int64_t dim = cfg.in("dim", 2, kMaxWidth, 2);
  bool interleaved = cfg.b("interleaved");
  int64_t inLd = cfg.in("in_ld", 0, kMaxStride), outLd = cfg.in("out_ld", 0, kMaxStride);
  int64_t inHeadLd = cfg.in("in_head_ld", 0, kMaxStride);
  int64_t outHeadLd = cfg.in("out_head_ld", 0, kMaxStride);
  int64_t inOffset = cfg.in("in_offset", 0, kMaxStride);
  int64_t outOffset = cfg.in("out_offset", 0, kMaxStride);
  double mscale = cfg.f("mscale");
  if (cfg.failed()) return failure();
  Buf x = k.in(k.f32(), true), positions = k.in(k.i32()), table = k.in(k.f32());
  Buf out = k.out(k.f32(), true);
  Val t = k.x();
  Rope rope(k, dim, interleaved, mscale);
  rope.setPosition(table, toIndex(k.load(positions, t)));
  k.forLoop(k.idx(0), k.idx(heads), 1, [&](Val h) {
    Val to = t * outLd + h * outHeadLd + outOffset;
    rope.rotate(x, t * inLd + h * inHeadLd + inOffset,
                [&](Val i, Val v, Val count) { k.store(v, out, to + i, count); });
  });
  return success();
}

}  // namespace fathom::kernels
