// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Records of activations, and the encode kernel.
#include "compiler/kernels/simt/Record.h"

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simt/Emitters.h"

using namespace mlir;

namespace fathom::kernels::simt {

int64_t recordBytes(RecordForm form, int64_t n) {
  if (form == RecordForm::kBf16) return roundUp(2 * n, 64);
  int64_t padded = roundUp(n, 64);
  return roundUp(padded + padded / 4, 64);
}

namespace {

// Below this a group counts as zero: 127 / amax would not be a float any more.
constexpr double kLeastAmax = 1e-36;

// Group `g` of a record of `padded` elements; `element` answers 0 beyond the last.
void writeGroup(SimtBuilder& k, Buf words, Val at, Val g, int64_t padded,
                function_ref<Val(int64_t)> element) {
  Vals x;
  Val amax;
  for (int64_t i = 0; i < kGroup; ++i) {
    x.push_back(element(i));
    amax = amax ? max(amax, abs(x[i])) : abs(x[i]);
  }
  Val some = amax > kLeastAmax;
  // No division by zero on the way: a device may do anything with it.
  Val divisor = select(some, amax, number(amax, 1));
  Val inverse = select(some, number(amax, 127) / divisor, number(amax, 0));
  Val scale = select(some, amax * (1.0 / 127), number(amax, 0));
  Val sum;
  for (int64_t j = 0; j < kGroup / 4; ++j) {
    Val word;
    for (int64_t b = 0; b < 4; ++b) {
      Val q = truncToI32(k.roundEven(x[4 * j + b] * inverse));
      sum = sum ? sum + q : q;
      Val byte = b == 3 ? shl(q, 24) : shl(q & 255, static_cast<int>(8 * b));
      word = word ? word | byte : byte;
    }
    k.store(word, words, at + g * 8 + j);
  }
  k.store(bitcast(scale, k.i32()), words, at + g + padded / 4);
  k.store(sum * -8, words, at + g + (padded / 4 + padded / 32));
}

}  // namespace

void writeRecord(SimtBuilder& k, RecordForm form, Buf words, Val at, int64_t n,
                 function_ref<Val(Val)> element) {
  // An element that may lie beyond the last, which is not there to be read then.
  auto orZero = [&](Val i) {
    Val last = k.idx(n - 1);
    Val v = element(min(i, last));
    return select(i < n, v, number(v, 0));
  };
  if (form == RecordForm::kBf16) {
    k.forLanes(n / 2, [&](Val i) {
      k.store(packBf16(element(i * 2), element(i * 2 + 1)), words, at + i);
    });
    if (n % 2)
      k.ifThen(k.lane() == 0, [&] {
        Val last = element(k.idx(n - 1));
        k.store(packBf16(last, number(last, 0)), words, at + n / 2);
      });
    return;
  }
  int64_t padded = roundUp(n, kSuperblock), whole = n / kGroup;
  k.forLanes(whole, [&](Val g) {
    writeGroup(k, words, at, g, padded, [&](int64_t i) { return element(g * kGroup + i); });
  });
  for (int64_t g = whole; g < padded / kGroup; ++g)
    k.ifThen(k.lane() == g % k.lanes(), [&] {
      writeGroup(k, words, at, k.idx(g), padded,
                 [&](int64_t i) { return orZero(k.idx(g * kGroup + i)); });
    });
}

LogicalResult emitEncode(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t n = cfg.in("n", 1, kMaxWidth);
  int64_t groups = cfg.in("groups", 1, 1 << 20);
  int64_t inLd = cfg.in("in_ld", 0, kMaxOffset);
  int64_t inOffset = cfg.in("in_offset", 0, kMaxOffset);
  auto form = static_cast<RecordForm>(cfg.oneOf("act", {"bf16", "i8"}));
  int64_t stride = cfg.in("act_stride", 64, kMaxOffset, 64);
  int64_t inGroupLd = 0, batchStride = 0;
  if (groups > 1) {
    inGroupLd = cfg.in("in_group_ld", 0, kMaxOffset);
    batchStride = cfg.in("act_batch_stride", recordBytes(form, n), kMaxOffset, 64);
  }
  if (cfg.failed()) return failure();
  Buf x = k.f32View(k.binding()), out = k.i32View(k.binding());
  Val from = k.x() * inLd + k.y() * inGroupLd + inOffset;
  Val to = k.x() * (stride / 4) + k.y() * (batchStride / 4);
  writeRecord(k, form, out, to, n, [&](Val i) { return k.load(x, from + i); });
  return success();
}

}  // namespace fathom::kernels::simt
