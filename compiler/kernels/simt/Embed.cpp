// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// embed on GPUs: a workgroup per token, a lane per column.
#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Weights.h"

using namespace mlir;

namespace fathom::kernels::simt {

LogicalResult emitEmbed(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t vocab = cfg.in("vocab", 1, kMaxExtent);
  int64_t hidden = cfg.in("hidden", 1, kMaxExtent);
  int64_t outLd = cfg.in("out_ld", hidden, kMaxExtent, 16);
  bool part = cfg.has("first");
  int64_t first = cfg.in("first", 0, kMaxExtent - vocab, 1, 0);
  Enc enc = readEnc(cfg);
  if (cfg.failed()) return failure();
  Buf tokens = k.i32View(k.input());
  Weights table(k, k.input(), enc, vocab, hidden);
  Buf out = k.f32View(k.binding());
  Val token = toIndex(k.load(tokens, k.x()));
  if (first) token = token - first;
  Val good = (token >= 0) & (token < vocab);
  auto decode = [&](Val row) {
    k.forLanes(hidden,
               [&](Val i) { k.store(table.element(k.idx(0), row, i), out, k.x() * outLd + i); });
  };
  if (part)
    k.ifThen(good, [&] { decode(token); });
  else
    decode(select(good, token, k.idx(0)));
  return success();
}

}  // namespace fathom::kernels::simt
