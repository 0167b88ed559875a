// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention_combine: merges what the splits of a context found.
#include <limits>

#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/Record.h"

using namespace mlir;

namespace fathom::kernels {

// As rows, or as the records that the next projection reads: out[t, h, :] = sum_s exp(m_s - m) u_s
// / sum_s exp(m_s - m) l_s; zeros if no split saw a row.
LogicalResult emitAttentionCombine(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16);
  int64_t width = cfg.in("width", 16, kMaxWidth, 16);
  int64_t splits = cfg.in("splits", 1, 4096);
  int outAct = cfg.has("out_act") ? cfg.oneOf("out_act", {"none", "bf16", "i8"}) : 0;
  int64_t outLd = outAct ? 0 : cfg.in("out_ld", heads * width, kMaxStride);
  auto form = outAct == 1 ? RecordWriter::Form::kBf16 : RecordWriter::Form::kI8;
  int64_t actStride = outAct ? cfg.in("act_stride", 64, kMaxStride, 64) : 0;
  int64_t headStride = outAct ? cfg.in("act_batch_stride", 0, kMaxStride, 64) : 0;
  // Heads that share a record own whole groups of it, and leave nothing behind them to fill.
  cfg.require(!outAct || headStride || (width % 32 == 0 && heads * width % 64 == 0),
              "one record for all heads needs a width that is a multiple of 32, and of 64 in all");
  if (cfg.failed()) return failure();
  Buf partial = k.in(k.f32()), out = k.out(outAct ? k.i8() : k.f32());
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
  auto value = [&](Val i) {
    Val u = k.forLoop(first, last, 1, {k.zero()}, [&](Val s, ArrayRef<Val> acc) {
      return Vals{fma(k.load(partial, at(s) + i, 16), k.load(factor, s), acc[0])};
    })[0];
    return u * inverse;
  };
  if (!outAct) {
    k.forLoop(first, k.idx(width), 16,
              [&](Val i) { k.store(value(i), out, t * outLd + h * width + i); });
    return success();
  }
  RecordWriter writer(k, form, out, t * actStride + h * headStride,
                      headStride ? width : heads * width);
  Val from = headStride ? k.idx(0) : h * width;
  int64_t whole = width / 32 * 32;
  k.forLoop(first, k.idx(whole), 32, [&](Val i) { writer.put(from + i, value(i), value(i + 16)); });
  if (whole < width) writer.put(k.idx(whole), value(k.idx(whole)), k.zero());
  if (headStride) writer.fill();
  return success();
}

}  // namespace fathom::kernels
