// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention and latent_attention on GPUs: one token's heads over a split of its context.
#include <limits>

#include "compiler/kernels/simt/AttentionBlock.h"
#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Record.h"
#include "compiler/kernels/simt/Shape.h"

using namespace mlir;

namespace fathom::kernels::simt {
namespace {

// What both families have in common once their queries are in place.
struct Decode {
  SimtBuilder& k;
  const CacheRows& cache;
  AttentionBlock& block;
  int64_t splits, heads, width, window, queries;
  Buf positions, sequence, pageTable, partial;
  Val pages;

  // Workgroup (split, token, z) serves `count` heads from `head` on.
  void run(Val head, Val count, Val keyAt, Val valueAt, int64_t keyAlign) {
    Val token = k.y();
    Val seen = toIndex(k.load(positions, token)) + 1;
    k.forLanes(queries, [&](Val q) { k.store(toInt(seen, k.i32()), block.visible(), q); });
    Vals sums = block.begin();
    k.barrier();
    Val first = window ? max(seen - window, k.idx(0)) : k.idx(0);
    Val page0 = first / cache.pageTokens;
    Val used = (seen + (cache.pageTokens - 1)) / cache.pageTokens - page0;
    Val begin = page0 + used * k.x() / splits, end = page0 + used * (k.x() + 1) / splits;
    Val tableAt = toIndex(k.load(sequence, token)) * pages;
    sums = block.attend(pageTable, tableAt, begin, end, seen, keyAt, valueAt, keyAlign, sums);
    int64_t record = width + 16;
    Val to = ((token * splits + k.x()) * heads + head) * record;
    block.forSums(sums, [&](int64_t q, Val column, Val sum) {
      k.ifThen(count > q, [&] { k.store(sum, partial, to + q * record + column); });
    });
    // The maximum, the sum, and what fills the record up.
    k.forLanes(queries * 16, [&](Val i) {
      Val q = i / 16, part = i % 16;
      Val tail = select(part == 1, block.total(q), k.constant(k.f32(), 0));
      tail = select(part == 0, block.maximum(q), tail);
      k.ifThen(q < count, [&] { k.store(tail, partial, to + q * record + part + width); });
    });
  }
};

}  // namespace

LogicalResult emitAttention(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16), kvHeads = cfg.in("kv_heads", 1, 1 << 16);
  int64_t headDim = cfg.in("head_dim", 16, 1 << 12, 16);
  double scale = cfg.f("scale");
  int64_t qLd = cfg.in("q_ld", 0, kMaxOffset), splits = cfg.in("splits", 1, 4096);
  int64_t window = cfg.in("window", 0, kMaxOffset);
  CacheRows cache = CacheRows::read(cfg, 2 * kvHeads * headDim);
  if (cfg.failed()) return failure();
  if (!cfg.require(heads % kvHeads == 0,
                   "heads " + Twine(heads) + " is not a multiple of kv_heads " + Twine(kvHeads)))
    return failure();
  int64_t group = heads / kvHeads;
  int64_t queries = AttentionShape::decode(k.gpu(), group, headDim, headDim).queries;
  int64_t blocks = (group + queries - 1) / queries;

  Buf q = k.f32View(k.binding()), positions = k.i32View(k.binding());
  Buf sequence = k.i32View(k.binding()), pageTable = k.i32View(k.binding());
  SimtBuilder::Binding rows = k.binding();
  Buf partial = k.f32View(k.binding());
  Val pages = k.push();
  AttentionBlock block(k, cache, rows, {queries, headDim, headDim, window});

  Val kvHead = k.z() / blocks, inGroup = k.z() % blocks * queries;
  Val head = kvHead * group + inGroup, count = min(k.idx(group) - inGroup, k.idx(queries));
  k.forLanes(queries * headDim, [&](Val i) {
    Val row = min(i / headDim, count - 1);
    Val v = k.load(q, k.y() * qLd + (head + row) * headDim + i % headDim);
    k.store(v * scale, block.query(), i);
  });
  int64_t per = cache.perWord();
  Decode decode{k,       cache,     block,    splits,    heads,   headDim, window,
                queries, positions, sequence, pageTable, partial, pages};
  decode.run(head, count, kvHead * (headDim / per), (kvHead + kvHeads) * (headDim / per),
             headDim / per);
  return success();
}

LogicalResult emitLatentAttention(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16), rank = cfg.in("rank", 16, 1 << 16, 16);
  int64_t dim = cfg.in("dim", 2, 1 << 16, 2), splits = cfg.in("splits", 1, 4096);
  double scale = cfg.f("scale");
  int64_t qLd = cfg.in("q_ld", 0, kMaxOffset), qHeadLd = cfg.in("q_head_ld", 0, kMaxOffset);
  int64_t qOffset = cfg.in("q_offset", 0, kMaxOffset);
  CacheRows cache = CacheRows::read(cfg, rank + dim);
  if (cfg.failed()) return failure();
  int64_t width = rank + dim;
  int64_t queries = AttentionShape::decode(k.gpu(), heads, width, rank).queries;

  Buf latent = k.f32View(k.binding()), q = k.f32View(k.binding());
  Buf positions = k.i32View(k.binding()), sequence = k.i32View(k.binding());
  Buf pageTable = k.i32View(k.binding());
  SimtBuilder::Binding rows = k.binding();
  Buf partial = k.f32View(k.binding());
  Val pages = k.push();
  AttentionBlock block(k, cache, rows, {queries, width, rank, 0});

  Val head = k.z() * queries, count = min(k.idx(heads) - head, k.idx(queries));
  auto fill = [&](int64_t n, int64_t to, function_ref<Val(Val h, Val i)> element) {
    k.forLanes(queries * n, [&](Val i) {
      Val h = head + min(i / n, count - 1);
      k.store(element(h, i % n) * scale, block.query(), i / n * width + i % n + to);
    });
  };
  fill(rank, 0, [&](Val h, Val i) { return k.load(latent, (k.y() * heads + h) * rank + i); });
  fill(dim, rank, [&](Val h, Val i) { return k.load(q, k.y() * qLd + h * qHeadLd + i + qOffset); });
  Decode decode{k,       cache,     block,    splits,    heads,   rank, 0,
                queries, positions, sequence, pageTable, partial, pages};
  decode.run(head, count, k.idx(0), k.idx(0), 0);
  return success();
}

// out[t, h, :] = sum_s exp(m_s - m) u_s / sum_s exp(m_s - m) l_s; zeros if no split saw a row.
LogicalResult emitAttentionCombine(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16);
  int64_t width = cfg.in("width", 16, kMaxWidth, 16);
  int64_t splits = cfg.in("splits", 1, 4096);
  int outAct = cfg.has("out_act") ? cfg.oneOf("out_act", {"none", "bf16", "i8"}) : 0;
  int64_t outLd = outAct ? 0 : cfg.in("out_ld", heads * width, kMaxOffset);
  auto form = outAct == 1 ? RecordForm::kBf16 : RecordForm::kI8;
  int64_t actStride = outAct ? cfg.in("act_stride", 64, kMaxOffset, 64) : 0;
  int64_t headStride =
      outAct ? cfg.in("act_batch_stride", recordBytes(form, width), kMaxOffset, 64) : 0;
  if (cfg.failed()) return failure();
  Buf partial = k.f32View(k.binding());
  SimtBuilder::Binding output = k.binding();
  Buf out = outAct ? k.i32View(output) : k.f32View(output);
  int64_t record = width + 16;
  Val t = k.x(), h = k.y();
  auto at = [&](Val s) { return ((t * splits + s) * heads + h) * record; };
  Val first = k.idx(0), last = k.idx(splits);
  Buf factor = k.shared(k.f32(), splits);
  Val never = k.constant(k.f32(), -std::numeric_limits<double>::infinity());
  Val top = k.forLoop(first, last, 1, {never}, [&](Val s, ArrayRef<Val> in) {
    return Vals{max(k.load(partial, at(s) + width), in[0])};
  })[0];
  k.forLanes(splits, [&](Val s) { k.store(exp(k.load(partial, at(s) + width) - top), factor, s); });
  k.barrier();
  Val sum = k.forLoop(first, last, 1, {number(top, 0)}, [&](Val s, ArrayRef<Val> in) {
    return Vals{fma(k.load(factor, s), k.load(partial, at(s) + (width + 1)), in[0])};
  })[0];
  Val some = sum > 0.0;
  Val inverse = select(some, number(sum, 1) / select(some, sum, number(sum, 1)), number(sum, 0));
  auto value = [&](Val i) {
    Val u = k.forLoop(first, last, 1, {number(top, 0)}, [&](Val s, ArrayRef<Val> in) {
      return Vals{fma(k.load(partial, at(s) + i), k.load(factor, s), in[0])};
    })[0];
    return u * inverse;
  };
  if (outAct)
    writeRecord(k, form, out, t * (actStride / 4) + h * (headStride / 4), width, value);
  else
    k.forLanes(width, [&](Val i) { k.store(value(i), out, t * outLd + h * width + i); });
  return success();
}

}  // namespace fathom::kernels::simt
