// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Records of activations, and the encode kernel.
#include "compiler/kernels/simt/Record.h"

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simt/Emitters.h"

using namespace mlir;

namespace fathom::kernels::simt {

std::optional<RowForm> recordForm(Config& cfg, StringRef name) {
  int which = cfg.has(name) ? cfg.oneOf(name, {"none", "bf16", "i8"}) : 0;
  if (which <= 0) return {};
  return which == 1 ? RowForm::kBf16 : RowForm::kI8;
}

// Below this a group counts as zero: 127 / amax would not be a float any more.
constexpr double kLeastAmax = 1e-36;

GroupScale::GroupScale(Val amax) {
  Val some = amax > kLeastAmax;
  // No division by zero on the way: a device may do anything with it.
  Val divisor = select(some, amax, number(amax, 1));
  inverse = select(some, number(amax, 127) / divisor, number(amax, 0));
  scale = select(some, amax * (1.0 / 127), number(amax, 0));
}

Val recordWord(SimtBuilder& k, ArrayRef<Val> x, Val inverse, Val& sum) {
  Val word;
  for (int b = 0; b < 4; ++b) {
    Val q = truncToI32(k.roundEven(x[b] * inverse));
    sum = sum ? sum + q : q;
    Val byte = b == 3 ? shl(q, 24) : shl(q & 255, 8 * b);
    word = word ? word | byte : byte;
  }
  return word;
}

void writeRecordGroup(SimtBuilder& k, RowForm form, Buf words, Val at, Val g, int64_t n,
                      function_ref<Val(int64_t)> element) {
  Vals x;
  for (int64_t i = 0; i < kGroup; ++i) x.push_back(element(i));
  if (form == RowForm::kBf16) {
    for (int64_t i = 0; i < kGroup; i += 2)
      k.store(packBf16(x[i], x[i + 1]), words, at + g * (kGroup / 2) + i / 2);
    return;
  }
  int64_t padded = roundUp(n, kSuperblock);
  Val amax;
  for (Val v : x) amax = amax ? max(amax, abs(v)) : abs(v);
  GroupScale group(amax);
  Val sum;
  for (int64_t j = 0; j < kGroup / 4; ++j) {
    Val word = recordWord(k, ArrayRef<Val>(x).slice(4 * j, 4), group.inverse, sum);
    k.store(word, words, at + g * 8 + j);
  }
  k.store(bitcast(group.scale, k.i32()), words, at + g + padded / 4);
  k.store(sum * -8, words, at + g + (padded / 4 + padded / 32));
}

// Through workgroup memory, as many groups at a time as there are lanes: neighbouring lanes read
// neighbouring elements.
void writeRecord(SimtBuilder& k, RowForm form, Buf words, Val at, int64_t n,
                 function_ref<Val(Val)> element) {
  bool pairs = form == RowForm::kBf16;
  int64_t all = roundUp(n, pairs ? 2 : kSuperblock);
  int64_t part = std::min(all, kGroup * k.lanes());
  Buf stage = k.shared(k.f32(), part);
  k.forLoop(k.idx(0), k.idx(ceilDiv(all, part)), 1, [&](Val p) {
    Val first = p * part;
    auto below = [&](int64_t end, Val i, function_ref<void()> then) {
      if (end % part == 0) return then();
      k.ifThen(i < end, then);
    };
    k.barrier();
    k.forLanes(part, [&](Val j) {
      Val i = first + j;
      k.store(k.constant(k.f32(), 0), stage, j);
      below(n, i, [&] { k.store(element(i), stage, j); });
    });
    k.barrier();
    if (pairs) {
      k.forLanes(part / 2, [&](Val j) {
        Val i = first / 2 + j;
        below(all / 2, i, [&] {
          k.store(packBf16(k.load(stage, j * 2), k.load(stage, j * 2 + 1)), words, at + i);
        });
      });
      return;
    }
    k.forLanes(part / kGroup, [&](Val j) {
      Val g = first / kGroup + j;
      below(all / kGroup, g, [&] {
        writeRecordGroup(k, form, words, at, g, n,
                         [&](int64_t i) { return k.load(stage, j * kGroup + i); });
      });
    });
  });
}

LogicalResult emitEncode(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t n = cfg.in("n", 1, kMaxWidth);
  int64_t groups = cfg.in("groups", 1, 1 << 20);
  int64_t inLd = cfg.in("in_ld", 0, kMaxOffset);
  int64_t inOffset = cfg.in("in_offset", 0, kMaxOffset);
  auto form = readRecordForm(cfg, "act");
  int64_t stride = cfg.in("act_stride", 64, kMaxOffset, 64);
  int64_t inGroupLd = 0, batchStride = 0;
  if (groups > 1) {
    inGroupLd = cfg.in("in_group_ld", 0, kMaxOffset);
    batchStride = cfg.in("act_batch_stride", rowBytes(form, n), kMaxOffset, 64);
  }
  if (cfg.failed()) return failure();
  Buf x = k.f32View(k.input()), out = k.i32View(k.binding());
  Val from = k.x() * inLd + k.y() * inGroupLd + inOffset;
  Val to = k.x() * (stride / 4) + k.y() * (batchStride / 4);
  writeRecord(k, form, out, to, n, [&](Val i) { return k.load(x, from + i); });
  return success();
}

}  // namespace fathom::kernels::simt
