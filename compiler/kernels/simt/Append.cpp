// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// latent_append and kv_append on GPUs: a workgroup writes the cache row of a token.
#include "compiler/kernels/simt/CacheRows.h"
#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Norm.h"
#include "compiler/kernels/simt/Rope.h"

using namespace mlir;

namespace fathom::kernels::simt {

CacheRows CacheRows::read(Config& cfg, int64_t elements, int64_t runs) {
  CacheRows rows;
  static_cast<CacheLayout&>(rows) = CacheLayout::read(cfg, elements, runs);
  cfg.require(cfg.failed() || (elements % 2 == 0 && rows.pageBytes % 4 == 0),
              "page_bytes and rows of the cache must be multiples of 4 bytes");
  return rows;
}

Val CacheRows::pageAt(SimtBuilder& k, Buf table, Val base, Val page) const {
  return toIndex(k.load(table, base + page)) * (pageBytes / 4);
}

Val CacheRows::rowAt(SimtBuilder& k, Buf table, Val pages, Val sequence, Val position) const {
  Val page = pageAt(k, table, sequence * pages, position / pageTokens);
  return page + position % pageTokens * rowWords();
}

Vals CacheRows::load(SimtBuilder& k, SimtBuilder::Binding cache, Val at, int64_t count) const {
  Vals words, out;
  if (count == 4) {
    Val four = k.load(k.view(cache, k.vec(k.i32(), 4)), at / 4);
    for (int64_t i = 0; i < 4; ++i) words.push_back(lane(four, i));
  } else {
    for (int64_t i = 0; i < count; ++i) words.push_back(k.load(k.i32View(cache), at + i));
  }
  for (Val word : words) {
    if (bf16) {
      out.push_back(lowBf16(word));
      out.push_back(highBf16(word));
    } else {
      out.push_back(bitcast(word, k.f32()));
    }
  }
  return out;
}

void CacheRows::write(SimtBuilder& k, Buf words, Val row, int64_t count,
                      function_ref<Val(Val)> place, function_ref<Val(Val)> element) const {
  k.forLanes(count / perWord(), [&](Val j) {
    Val i = bf16 ? j * 2 : j;
    Val word = bf16 ? packBf16(element(i), element(i + 1)) : bitcast(element(i), k.i32());
    k.store(word, words, row + (bf16 ? place(i) / 2 : place(i)));
  });
}

// The row of a latent model: [rms_norm(c) gamma | rope(k_pe)].
LogicalResult emitLatentAppend(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t rank = cfg.in("rank", 16, kMaxWidth, 16);
  int64_t dim = cfg.in("dim", 2, kMaxWidth, 2);
  double eps = cfg.f("eps"), mscale = cfg.f("mscale");
  int64_t inLd = cfg.in("in_ld", 0, kMaxOffset), inOffset = cfg.in("in_offset", 0, kMaxOffset);
  bool interleaved = cfg.b("interleaved");
  CacheRows cache = CacheRows::read(cfg, rank + dim);
  // A query that lies in the same row can be normalised as well.
  bool withQuery = cfg.has("q_norm") && cfg.s("q_norm") != "none";
  int64_t qn = withQuery ? cfg.in("q_n", 1, kMaxWidth) : 1;
  int64_t qOffset = withQuery ? cfg.in("q_offset", 0, kMaxOffset) : 0;
  double qEps = withQuery ? cfg.f("q_eps") : 0;
  NormedRow query(k, "q_norm", "q_stride", qn);
  if (cfg.failed()) return failure();
  Buf x = k.f32View(k.input()), gamma = k.f32View(k.input()), qGamma;
  if (query) qGamma = k.f32View(k.input());
  Buf positions = k.i32View(k.input()), sequence = k.i32View(k.input());
  Buf pageTable = k.i32View(k.input()), table = k.f32View(k.input());
  Buf rows = k.i32View(k.binding());
  if (query) query.bind();
  Val pages = k.push();

  Val t = k.x();
  Val position = toIndex(k.load(positions, t));
  Val row = cache.rowAt(k, pageTable, pages, toIndex(k.load(sequence, t)), position);
  Val from = t * inLd + inOffset;
  Val scale = inverseRms(k, x, from, rank, eps);
  cache.write(
      k, rows, row, rank, [](Val i) { return i; },
      [&](Val i) { return k.load(x, from + i) * scale * k.load(gamma, i); });
  Rope rope(k, dim, interleaved, mscale);
  rope.setPosition(table, position);
  cache.write(
      k, rows, row, dim, [&](Val i) { return i + rank; },
      [&](Val i) { return rope.element(x, from + rank, i); });
  if (!query) return success();
  Val qFrom = t * inLd + qOffset, qScale = inverseRms(k, x, qFrom, qn, qEps);
  query.write(t, [&](Val i) { return k.load(x, qFrom + i) * qScale * k.load(qGamma, i); });
  return success();
}

// The rows of a GQA layer: head_dim of rope(k) for each of kv_heads, then of v.
LogicalResult emitKvAppend(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("kv_heads", 1, 1 << 16);
  int64_t headDim = cfg.in("head_dim", 16, 1 << 16, 16);
  int64_t dim = cfg.in("dim", 0, headDim, 2);
  bool interleaved = cfg.b("interleaved");
  double mscale = cfg.f("mscale");
  int64_t kLd = cfg.in("k_ld", 0, kMaxOffset), kOffset = cfg.in("k_offset", 0, kMaxOffset);
  int64_t vLd = cfg.in("v_ld", 0, kMaxOffset), vOffset = cfg.in("v_offset", 0, kMaxOffset);
  CacheRows cache = CacheRows::read(cfg, headDim, /*runs=*/2 * heads);
  if (cfg.failed()) return failure();
  Buf keys = k.f32View(k.input()), values = k.f32View(k.input());
  Buf positions = k.i32View(k.input()), sequence = k.i32View(k.input());
  Buf pageTable = k.i32View(k.input()), table = k.f32View(k.input());
  Buf rows = k.i32View(k.binding());
  Val pages = k.push();

  Val t = k.x();
  Val position = toIndex(k.load(positions, t));
  Val row = cache.rowAt(k, pageTable, pages, toIndex(k.load(sequence, t)), position);
  Val from = t * kLd + kOffset;
  int64_t run = cache.runElements();
  if (dim) {
    Rope rope(k, dim, interleaved, mscale);
    rope.setPosition(table, position);
    cache.write(
        k, rows, row, heads * dim, [&](Val i) { return i / dim * run + i % dim; },
        [&](Val i) { return rope.element(keys, from + i / dim * headDim, i % dim); });
  }
  if (int64_t plain = headDim - dim)
    cache.write(
        k, rows, row, heads * plain, [&](Val i) { return i / plain * run + i % plain + dim; },
        [&](Val i) { return k.load(keys, from + i / plain * headDim + i % plain + dim); });
  cache.write(
      k, rows, row, heads * headDim,
      [&](Val i) { return (i / headDim + heads) * run + i % headDim; },
      [&](Val i) { return k.load(values, t * vLd + i + vOffset); });
  return success();
}

}  // namespace fathom::kernels::simt
