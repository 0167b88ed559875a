// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// norm: y = x rsqrt(mean(x^2) + eps) gamma per row, as float32 and/or as an activation record.
#include "compiler/kernels/simd/Norm.h"

#include "compiler/kernels/simd/Emitters.h"

using namespace mlir;

namespace fathom::kernels {

// Four partial sums hide the latency of the additions; their order is fixed.
Val inverseRms(KernelBuilder& k, Buf x, Val from, int64_t n, double eps) {
  auto add = [&](Val sum, Val i, Val count) {
    Val v = k.load(x, from + i, 16, count);
    return fma(v, v, sum);
  };
  int64_t whole = n / 64 * 64;
  Vals sums(4, k.zero());
  if (whole)
    sums = k.forLoop(k.idx(0), k.idx(whole), 64, sums, [&](Val i, ArrayRef<Val> s) {
      Vals next;
      for (int64_t j = 0; j < 4; ++j) next.push_back(add(s[j], i + 16 * j, Val()));
      return next;
    });
  for (int64_t i = whole, j = 0; i < n; i += 16, ++j)
    sums[j] = add(sums[j], k.idx(i), n - i < 16 ? k.idx(n - i) : Val());
  Val total = reduceAdd((sums[0] + sums[1]) + (sums[2] + sums[3]));
  Val mean = total * (1.0 / static_cast<double>(n));
  return number(mean, 1) / sqrt(mean + eps);
}

RowSink RowSink::at(KernelBuilder& k, const RowOutput& output, Buf buf, Val row) {
  RowSink sink;
  if (output.form == RowForm::kF32) {
    sink.rows = buf;
    sink.to = row * (output.stride / 4);
  } else if (output) {
    sink.record.emplace(k, output.form, buf, row * output.stride, output.width);
  }
  return sink;
}

void normaliseRow(KernelBuilder& k, Buf x, Val from, Buf gamma, int64_t n, double eps,
                  RowSink& to) {
  Val scale = inverseRms(k, x, from, n, eps);
  auto half = [&](Val i, Val count) {
    Val y = k.load(x, from + i, 16, count) * scale * k.load(gamma, i, 16, count);
    if (to.rows.mem) k.store(y, to.rows, to.to + i, count);
    return y;
  };
  forPairs(k, n, [&](Val i, Val countLo, Val countHi) {
    Val lo = half(i, countLo);
    Val hi = half(i + 16, countHi);
    if (to.record) to.record->put(i, lo, hi);
  });
  if (to.record) to.record->fill();
}

LogicalResult emitNorm(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t n = cfg.in("n", 1, kMaxWidth);
  double eps = cfg.f("eps");
  int64_t inLd = cfg.in("in_ld", n, kMaxStride);
  int64_t inOffset = cfg.in("in_offset", 0, kMaxStride);
  int64_t perToken = cfg.in("rows_per_token", 1, 1 << 20);
  bool gather = cfg.b("gather"), outF32 = cfg.b("out_f32");
  int outAct = cfg.oneOf("out_act", {"none", "bf16", "i8"});
  int64_t outLd = outF32 ? cfg.in("out_ld", n, kMaxStride) : 0;
  int64_t outOffset = outF32 ? cfg.in("out_offset", 0, kMaxStride) : 0;
  auto form = outAct == 1 ? RowForm::kBf16 : RowForm::kI8;
  int64_t least = rowBytes(form, n);
  int64_t actStride = outAct ? cfg.in("act_stride", least, kMaxStride, 64) : 0;
  int64_t inTokenLd = perToken > 1 ? cfg.in("in_token_ld", 0, kMaxStride) : 0;
  int64_t outTokenLd = perToken > 1 && outF32 ? cfg.in("out_token_ld", 0, kMaxStride) : 0;
  cfg.require(outF32 || outAct, "no output: out_f32 is false and out_act is none");
  cfg.require(perToken == 1 || !outAct, "out_act must be none when rows_per_token > 1");
  cfg.require(perToken == 1 || !gather, "gather must be false when rows_per_token > 1");
  if (cfg.failed()) return failure();

  Buf x = k.in(k.f32(), true), gamma = k.in(k.f32()), rows, out, act;
  if (gather) rows = k.in(k.i32());
  if (outF32) out = k.out(k.f32(), true);
  if (outAct) act = k.out(k.i8());

  Val row = k.x();
  Val from = (gather ? toIndex(k.load(rows, row)) : row) * inLd + inOffset;
  Val to = row * outLd + outOffset;
  if (perToken > 1) {
    from = row * inTokenLd + k.y() * inLd + inOffset;
    to = row * outTokenLd + k.y() * outLd + outOffset;
  }
  RowSink sink;
  if (outF32) {
    sink.rows = out;
    sink.to = to;
  }
  if (outAct) sink.record.emplace(k, form, act, row * actStride, n);
  normaliseRow(k, x, from, gamma, n, eps, sink);
  return success();
}

}  // namespace fathom::kernels
