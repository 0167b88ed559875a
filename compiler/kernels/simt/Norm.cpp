// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// norm on GPUs: a workgroup per row; rows, records or both.
#include "compiler/kernels/simt/Norm.h"

#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Record.h"

using namespace mlir;

namespace fathom::kernels::simt {

Val inverseRms(SimtBuilder& k, Buf x, Val from, int64_t n, double eps) {
  Vals sum = k.forLanes(k.idx(n), {k.constant(k.f32(), 0)}, [&](Val i, ArrayRef<Val> in) {
    Val v = k.load(x, from + i);
    return Vals{fma(v, v, in[0])};
  });
  Val mean = k.sumOfLanes(sum[0]) * (1.0 / static_cast<double>(n));
  return number(mean, 1) / sqrt(mean + eps);
}

NormedRow::NormedRow(SimtBuilder& k, StringRef name, StringRef stride, int64_t n)
    : k_(k), output_(RowOutput::read(k.cfg(), name, stride, n, kMaxOffset)) {}

void NormedRow::write(Val row, function_ref<Val(Val)> element) {
  Val at = row * (output_.stride / 4);
  if (output_.isRecord())
    return writeRecord(k_, output_.form, k_.i32View(out_), at, output_.width, element);
  k_.forLanes(output_.width, [&](Val i) { k_.store(element(i), k_.f32View(out_), at + i); });
}

LogicalResult emitNorm(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t n = cfg.in("n", 1, kMaxWidth);
  double eps = cfg.f("eps");
  int64_t inLd = cfg.in("in_ld", n, kMaxOffset);
  int64_t inOffset = cfg.in("in_offset", 0, kMaxOffset);
  int64_t perToken = cfg.in("rows_per_token", 1, 1 << 20);
  bool gather = cfg.b("gather"), outF32 = cfg.b("out_f32");
  int outAct = cfg.oneOf("out_act", {"none", "bf16", "i8"});
  int64_t outLd = outF32 ? cfg.in("out_ld", n, kMaxOffset) : 0;
  int64_t outOffset = outF32 ? cfg.in("out_offset", 0, kMaxOffset) : 0;
  auto form = outAct == 1 ? RowForm::kBf16 : RowForm::kI8;
  int64_t actStride = outAct ? cfg.in("act_stride", rowBytes(form, n), kMaxOffset, 64) : 0;
  int64_t inTokenLd = perToken > 1 ? cfg.in("in_token_ld", 0, kMaxOffset) : 0;
  int64_t outTokenLd = perToken > 1 && outF32 ? cfg.in("out_token_ld", 0, kMaxOffset) : 0;
  cfg.require(outF32 || outAct, "no output: out_f32 is false and out_act is none");
  cfg.require(perToken == 1 || !outAct, "out_act must be none when rows_per_token > 1");
  cfg.require(perToken == 1 || !gather, "gather must be false when rows_per_token > 1");
  if (cfg.failed()) return failure();

  Buf x = k.f32View(k.binding()), gamma = k.f32View(k.input()), rows, out, act;
  if (gather) rows = k.i32View(k.input());
  if (outF32) out = k.f32View(k.binding());
  if (outAct) act = k.i32View(k.binding());

  Val row = k.x();
  Val from = (gather ? toIndex(k.load(rows, row)) : row) * inLd + inOffset;
  Val to = row * outLd + outOffset;
  if (perToken > 1) {
    from = row * inTokenLd + k.y() * inLd + inOffset;
    to = row * outTokenLd + k.y() * outLd + outOffset;
  }
  Val scale = inverseRms(k, x, from, n, eps);
  auto element = [&](Val i) { return k.load(x, from + i) * scale * k.load(gamma, i); };
  // The record reads x itself: before out, which may be x, replaces it. A lane reads what it
  // writes.
  if (outAct) writeRecord(k, form, act, row * (actStride / 4), n, element);
  if (outF32) k.forLanes(n, [&](Val i) { k.store(element(i), out, to + i); });
  return success();
}

}  // namespace fathom::kernels::simt
