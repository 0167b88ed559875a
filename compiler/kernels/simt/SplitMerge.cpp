// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The merge of attention's splits, and its kernel.
#include "compiler/kernels/simt/SplitMerge.h"

#include <limits>

#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Record.h"

using namespace mlir;

namespace fathom::kernels::simt {

void SplitMerge::begin(Val token, Val head) {
  from_ = (token * (splits_ * heads_) + head) * (width_ + 16);
  factor_ = k_.shared(k_.f32(), splits_);
  Val first = k_.idx(0), last = k_.idx(splits_);
  Val never = k_.constant(k_.f32(), -std::numeric_limits<double>::infinity());
  Val top = k_.forLoop(first, last, 1, {never}, [&](Val s, ArrayRef<Val> in) {
    return Vals{max(k_.load(partial_, at(s) + width_), in[0])};
  })[0];
  k_.forLanes(splits_,
              [&](Val s) { k_.store(exp(k_.load(partial_, at(s) + width_) - top), factor_, s); });
  k_.barrier();
  Val sum = k_.forLoop(first, last, 1, {number(top, 0)}, [&](Val s, ArrayRef<Val> in) {
    return Vals{fma(k_.load(factor_, s), k_.load(partial_, at(s) + (width_ + 1)), in[0])};
  })[0];
  Val some = sum > 0.0;
  inverse_ = select(some, number(sum, 1) / select(some, sum, number(sum, 1)), number(sum, 0));
}

// Splits that count for nothing, most of them in a short context, are not read.
Val SplitMerge::element(Val i) const {
  Val zero = number(inverse_, 0);
  Val u = k_.forLoop(k_.idx(0), k_.idx(splits_), 1, {zero}, [&](Val s, ArrayRef<Val> in) {
    Val factor = k_.load(factor_, s);
    return k_.ifElse(
        factor != 0, [&] { return Vals{fma(k_.load(partial_, at(s) + i), factor, in[0])}; },
        [&] { return Vals{in[0]}; });
  })[0];
  return u * inverse_;
}

LogicalResult emitAttentionCombine(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16);
  int64_t width = cfg.in("width", 16, kMaxWidth, 16);
  int64_t splits = cfg.in("splits", 1, 4096);
  std::optional<RowForm> form = recordForm(cfg, "out_act");
  int64_t outLd = form ? 0 : cfg.in("out_ld", heads * width, kMaxOffset);
  int64_t actStride = form ? cfg.in("act_stride", 64, kMaxOffset, 64) : 0;
  int64_t headStride =
      form ? cfg.in("act_batch_stride", rowBytes(*form, width), kMaxOffset, 64) : 0;
  if (cfg.failed()) return failure();
  Buf partial = k.f32View(k.input());
  SimtBuilder::Binding out = k.binding();
  Val t = k.x(), h = k.y();
  SplitMerge merge(k, partial, splits, heads, width);
  merge.begin(t, h);
  auto element = [&](Val i) { return merge.element(i); };
  if (form) {
    Val to = t * (actStride / 4) + h * (headStride / 4);
    writeRecord(k, *form, k.i32View(out), to, width, element);
    return success();
  }
  k.forLanes(width, [&](Val i) { k.store(element(i), k.f32View(out), t * outLd + h * width + i); });
  return success();
}

}  // namespace fathom::kernels::simt
