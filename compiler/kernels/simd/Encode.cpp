// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// encode: float32 rows to activation records, and the writer of records that norm shares.
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/Record.h"

using namespace mlir;

namespace fathom::kernels {

// Below this a group counts as zero: 127 / amax would not be a float any more.
constexpr double kLeastAmax = 1e-36;

void RecordWriter::put(Val i, Val lo, Val hi) {
  if (form_ == RowForm::kBf16) {
    Buf row = k_.view(acts_, at_, k_.i16());
    k_.store(f32ToBf16(lo), row, i);
    k_.store(f32ToBf16(hi), row, i + 16);
    return;
  }
  int64_t padded = roundUp(n_, 64);
  Val amax = reduceMax(max(abs(lo), abs(hi)));
  Val some = amax > kLeastAmax;
  Val inverse = select(some, number(amax, 127) / amax, number(amax, 0));
  Val scale = select(some, amax * (1.0 / 127), number(amax, 0));
  // Half to even, and the integer in the low mantissa bits: one instruction rounds.
  Val magic = k_.constant(lo.type(), 12582912.0);
  Val zeroBits = bitcast(magic, k_.i32());
  Val qLo = bitcast(fma(lo, inverse, magic), k_.i32()) - zeroBits;
  Val qHi = bitcast(fma(hi, inverse, magic), k_.i32()) - zeroBits;
  k_.store(toInt(qLo, k_.i8()), acts_, at_ + i);
  k_.store(toInt(qHi, k_.i8()), acts_, at_ + i + 16);
  Val group = i / 32;
  k_.store(scale, k_.view(acts_, at_ + padded, k_.f32()), group);
  Val bias = reduceAdd(qLo + qHi) * -8;
  k_.store(bias, k_.view(acts_, at_ + (padded + padded / 8), k_.i32()), group);
}

void RecordWriter::fill() {
  int64_t last = roundUp(n_, 32);
  if (form_ == RowForm::kI8 && last % 64) put(k_.idx(last), k_.zero(), k_.zero());
}

void forPairs(KernelBuilder& k, int64_t n, function_ref<void(Val, Val, Val)> body) {
  int64_t rest = n % 32;
  k.forRow(n - rest, 32, [&](Val i, Val) { body(i, Val(), Val()); });
  if (!rest) return;
  body(k.idx(n - rest), rest >= 16 ? Val() : k.idx(rest), k.idx(std::max<int64_t>(rest - 16, 0)));
}

LogicalResult emitEncode(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t n = cfg.in("n", 1, kMaxWidth);
  int64_t groups = cfg.in("groups", 1, 1 << 20);
  int64_t inLd = cfg.in("in_ld", 0, kMaxStride);
  int64_t inOffset = cfg.in("in_offset", 0, kMaxStride);
  auto form = readRecordForm(cfg, "act");
  int64_t stride = cfg.in("act_stride", 64, kMaxStride, 64);
  int64_t inGroupLd = 0, batchStride = 0;
  if (groups > 1) {
    inGroupLd = cfg.in("in_group_ld", 0, kMaxStride);
    batchStride = cfg.in("act_batch_stride", rowBytes(form, n), kMaxStride, 64);
  }
  if (cfg.failed()) return failure();
  Buf x = k.in(k.f32()), out = k.out(k.i8());
  Val from = k.x() * inLd + k.y() * inGroupLd + inOffset;
  RecordWriter record(k, form, out, k.x() * stride + k.y() * batchStride, n);
  forPairs(k, n, [&](Val i, Val countLo, Val countHi) {
    record.put(i, k.load(x, from + i, 16, countLo), k.load(x, from + i + 16, 16, countHi));
  });
  record.fill();
  return success();
}

}  // namespace fathom::kernels
