// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention_combine: merges what the splits of a context found.
#include <limits>

#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/SplitMerge.h"

using namespace mlir;

namespace fathom::kernels {

SplitMerge::SplitMerge(KernelBuilder& k, Buf partial, int64_t splits, int64_t heads, int64_t width)
    : k_(k), partial_(partial), splits_(splits), heads_(heads), width_(width) {
  factor_ = k.scratch(k.f32(), 4 * splits);
  seen_ = k.scratch(k.i32(), 4 * splits);
}

Val SplitMerge::at(Val split) const {
  return ((token_ * splits_ + split) * heads_ + head_) * (width_ + 16);
}

void SplitMerge::begin(Val token, Val head) {
  token_ = token;
  head_ = head;
  Val first = k_.idx(0), last = k_.idx(splits_);
  Val never = k_.constant(k_.f32(), -std::numeric_limits<double>::infinity());
  Val top = k_.forLoop(first, last, 1, {never}, [&](Val s, ArrayRef<Val> m) {
    return Vals{max(k_.load(partial_, at(s) + width_), m[0])};
  })[0];
  Vals all = k_.forLoop(
      first, last, 1, {number(top, 0), first}, [&](Val s, ArrayRef<Val> in) {
        Val m = k_.load(partial_, at(s) + width_), f = exp(m - top);
        k_.store(f, factor_, in[1]);
        k_.store(toInt(s, k_.i32()), seen_, in[1]);
        return Vals{fma(f, k_.load(partial_, at(s) + (width_ + 1)), in[0]),
                    in[1] + select(m > never, k_.idx(1), first)};
      });
  Val sum = all[0];
  count_ = all[1];
  inverse_ = select(sum > 0.0, number(sum, 1) / sum, sum);
}

Val SplitMerge::value(Val i) const {
  Val u = k_.forLoop(k_.idx(0), count_, 1, {k_.zero()}, [&](Val n, ArrayRef<Val> acc) {
    Val from = at(toIndex(k_.load(seen_, n))) + i;
    return Vals{fma(k_.load(partial_, from, 16), k_.load(factor_, n), acc[0])};
  })[0];
  return u * inverse_;
}

void SplitMerge::write(Buf out, Val to) const {
  k_.forLoop(k_.idx(0), k_.idx(width_), 16, [&](Val i) { k_.store(value(i), out, to + i); });
}

void SplitMerge::write(RecordWriter& record, Val from) const {
  int64_t whole = width_ / 32 * 32;
  k_.forLoop(k_.idx(0), k_.idx(whole), 32,
             [&](Val i) { record.put(from + i, value(i), value(i + 16)); });
  if (whole < width_) record.put(k_.idx(whole), value(k_.idx(whole)), k_.zero());
}

// As rows, or as the records that the next projection reads.
LogicalResult emitAttentionCombine(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16);
  int64_t width = cfg.in("width", 16, kMaxWidth, 16);
  int64_t splits = cfg.in("splits", 1, 4096);
  int outAct = cfg.has("out_act") ? cfg.oneOf("out_act", {"none", "bf16", "i8"}) : 0;
  int64_t outLd = outAct ? 0 : cfg.in("out_ld", heads * width, kMaxStride);
  auto form = outAct == 1 ? RowForm::kBf16 : RowForm::kI8;
  int64_t actStride = outAct ? cfg.in("act_stride", 64, kMaxStride, 64) : 0;
  int64_t headStride = outAct ? cfg.in("act_batch_stride", 0, kMaxStride, 64) : 0;
  // Heads that share a record own whole groups of it, and leave nothing behind them to fill.
  cfg.require(!outAct || headStride || (width % 32 == 0 && heads * width % 64 == 0),
              "one record for all heads needs a width that is a multiple of 32, and of 64 in all");
  if (cfg.failed()) return failure();
  Buf partial = k.in(k.f32()), out = k.out(outAct ? k.i8() : k.f32());
  Val t = k.x(), h = k.y();
  SplitMerge merge(k, partial, splits, heads, width);
  merge.begin(t, h);
  if (!outAct) {
    merge.write(out, t * outLd + h * width);
    return success();
  }
  RecordWriter record(k, form, out, t * actStride + h * headStride,
                      headStride ? width : heads * width);
  merge.write(record, headStride ? k.idx(0) : h * width);
  if (headStride) record.fill();
  return success();
}

}  // namespace fathom::kernels
