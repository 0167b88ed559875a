// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// latent_append and kv_append: write the cache row of a token.
#include "compiler/kernels/simd/Cache.h"
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/Norm.h"
#include "compiler/kernels/simd/Rope.h"

using namespace mlir;

namespace fathom::kernels {

Val Cache::pageAt(KernelBuilder& k, Buf table, Val base, Val page) const {
  return toIndex(k.load(table, base + page)) * pageBytes;
}

Val Cache::rowAt(KernelBuilder& k, Buf table, Val pages, Val sequence, Val position) const {
  Val page = pageAt(k, table, sequence * pages, position / pageTokens);
  return page + position % pageTokens * rowBytes;
}

// The row of a latent model: [rms_norm(c) gamma | rope(k_pe)]; with `q_norm` also the latent that
// queries are made of, normalised.
LogicalResult emitLatentAppend(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t rank = cfg.in("rank", 16, kMaxWidth, 16);
  int64_t dim = cfg.in("dim", 2, kMaxWidth, 2);
  double eps = cfg.f("eps"), mscale = cfg.f("mscale");
  int64_t inLd = cfg.in("in_ld", 0, kMaxStride), inOffset = cfg.in("in_offset", 0, kMaxStride);
  bool interleaved = cfg.b("interleaved");
  Cache cache = Cache::read(cfg, rank + dim);
  int64_t qWidth = cfg.has("q_norm") ? cfg.in("q_n", 1, kMaxWidth) : 0;
  RowOutput query = RowOutput::read(cfg, "q_norm", "q_stride", qWidth, kMaxStride);
  int64_t qOffset = query ? cfg.in("q_offset", 0, kMaxStride) : 0;
  double qEps = query ? cfg.f("q_eps") : 0;
  if (cfg.failed()) return failure();
  Buf x = k.in(k.f32()), gamma = k.in(k.f32()), qGamma, queries;
  if (query) qGamma = k.in(k.f32());
  Buf positions = k.in(k.i32()), sequence = k.in(k.i32());
  Buf pageTable = k.in(k.i32()), table = k.in(k.f32()), rows = k.out(k.i8());
  if (query) queries = k.out(query.isRecord() ? k.i8() : k.f32());
  Val pages = k.push();

  Val t = k.x();
  Val position = toIndex(k.load(positions, t));
  Val at = cache.rowAt(k, pageTable, pages, toIndex(k.load(sequence, t)), position);
  Buf row = k.view(rows, at, cache.elem(k));
  Val from = t * inLd + inOffset;
  Val scale = inverseRms(k, x, from, rank, eps);
  k.forRow(rank, 16, [&](Val i, Val) {
    k.store(cache.encode(k.load(x, from + i, 16) * scale * k.load(gamma, i, 16)), row, i);
  });
  Rope rope(k, dim, interleaved, mscale);
  rope.setPosition(table, position);
  rope.rotate(x, from + rank,
              [&](Val i, Val v, Val count) { k.store(cache.encode(v), row, i + rank, count); });
  if (query) {
    RowSink sink = RowSink::at(k, query, queries, t);
    normaliseRow(k, x, t * inLd + qOffset, qGamma, qWidth, qEps, sink);
  }
  return success();
}

// The rows of a GQA layer: head_dim of rope(k) for each of kv_heads, then of v.
LogicalResult emitKvAppend(KernelBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("kv_heads", 1, 1 << 16);
  int64_t headDim = cfg.in("head_dim", 16, 1 << 16, 16);
  int64_t dim = cfg.in("dim", 0, headDim, 2);
  bool interleaved = cfg.b("interleaved");
  double mscale = cfg.f("mscale");
  int64_t kLd = cfg.in("k_ld", 0, kMaxStride), kOffset = cfg.in("k_offset", 0, kMaxStride);
  int64_t vLd = cfg.in("v_ld", 0, kMaxStride), vOffset = cfg.in("v_offset", 0, kMaxStride);
  Cache cache = Cache::read(cfg, headDim, /*runs=*/2 * heads);
  if (cfg.failed()) return failure();
  Buf keys = k.in(k.f32()), values = k.in(k.f32());
  Buf positions = k.in(k.i32()), sequence = k.in(k.i32()), pageTable = k.in(k.i32());
  Buf table = k.in(k.f32()), rows = k.out(k.i8());
  Val pages = k.push();

  Val t = k.x();
  Val position = toIndex(k.load(positions, t));
  Val at = cache.rowAt(k, pageTable, pages, toIndex(k.load(sequence, t)), position);
  Buf row = k.view(rows, at, cache.elem(k));
  Rope rope(k, dim, interleaved, mscale);
  if (dim) rope.setPosition(table, position);
  k.forLoop(k.idx(0), k.idx(heads), 1, [&](Val h) {
    Val from = t * kLd + h * headDim + kOffset, to = h * cache.runElements();
    if (dim)
      rope.rotate(keys, from,
                  [&](Val i, Val v, Val count) { k.store(cache.encode(v), row, to + i, count); });
    k.forRow(headDim - dim, 16, [&](Val i, Val count) {
      k.store(cache.encode(k.load(keys, from + i + dim, 16, count)), row, to + i + dim, count);
    });
    Val value = t * vLd + h * headDim + vOffset, valueTo = to + heads * cache.runElements();
    k.forRow(headDim, 16, [&](Val i, Val) {
      k.store(cache.encode(k.load(values, value + i, 16)), row, valueTo + i);
    });
  });
  return success();
}

}  // namespace fathom::kernels
