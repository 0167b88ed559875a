// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention_combine: merges what the splits of a context found.
#include <limits>

#include "compiler/kernels/simd/Emitters.h"

using namespace mlir;

namespace fathom::kernels {

// out[t, h, :] = sum_s exp(m_s - m) u_s / sum_s exp(m_s - m) l_s; zeros if no split saw a row.
LogicalResult emitAttentionCombine(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16);
  int64_t width = cfg.in("width", 16, kMaxWidth, 16);
  int64_t splits = cfg.in("splits", 1, 4096);
  int64_t outLd = cfg.in("out_ld", heads * width, kMaxStride);
  if (cfg.failed()) return failure();
  Buf partial = k.in(k.f32()), out = k.out(k.f32());
  Buf factor = k.scratch(k.f32(), 4 * splits);
  int64_t record = width + 16;
  Val t = k.x(), h = k.y();
  auto at = [&](Val s) { return ((t * splits + s) * heads + h) * record; };

  Val first = k.idx(0), last = k.idx(splits);
  Val never = k.constant(k.f32(), -std::numeric_limits<double>::infinity());
  Val top = k.forLoop(first, last, 1, {never}, [&](Val s, ArrayRef<Val> m) {
    return Vals{max(k.load(partial, at(s) + width), m[0])};
  })[0];
  Val sum = k.forLoop(first, last, 1, {number(top, 0)}, [&](Val s, ArrayRef<Val> l) {
    Val f = exp(k.load(partial, at(s) + width) - top);
    k.store(f, factor, s);
    return Vals{fma(f, k.load(partial, at(s) + (width + 1)), l[0])};
  })[0];
  Val inverse = select(sum > 0.0, number(sum, 1) / sum, sum);
  k.forLoop(first, k.idx(width), 16, [&](Val i) {
    Val u = k.forLoop(first, last, 1, {k.zero()}, [&](Val s, ArrayRef<Val> acc) {
      return Vals{fma(k.load(partial, at(s) + i, 16), k.load(factor, s), acc[0])};
    })[0];
    k.store(u * inverse, out, t * outLd + h * width + i);
  });
  return success();
}

}  // namespace fathom::kernels
