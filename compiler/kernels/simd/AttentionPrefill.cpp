// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention_prefill: grouped-query attention of every token of one sequence, for one kv head (or
// one query head), a block of query rows at a time.
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/QueryBlock.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

constexpr int64_t kLanes = 16;
// Query rows of a block: a page's keys and values are packed once for them.
constexpr int64_t kBlockRows = 256;

struct Shape {
  int64_t heads, kvHeads, headDim, qLd, window, gridHeads;
  double scale;
  Cache cache;
  Words form;

  int64_t group() const { return heads / gridHeads; }  // query heads of a workgroup
};

Shape readShape(KernelBuilder& k) {
  Config& cfg = k.cfg();
  Shape s;
  s.heads = cfg.in("heads", 1, 1 << 16);
  s.kvHeads = cfg.in("kv_heads", 1, 1 << 16);
  s.headDim = cfg.in("head_dim", 16, 1 << 12, 16);
  s.scale = cfg.f("scale");
  s.qLd = cfg.in("q_ld", 0, kMaxStride);
  s.window = cfg.in("window", 0, 1 << 30);
  s.gridHeads = cfg.in("grid_heads", 1, 1 << 16);
  s.cache = Cache::read(cfg, s.headDim, /*runs=*/2 * s.kvHeads);
  if (cfg.failed()) return s;
  cfg.require(s.heads % s.kvHeads == 0,
              "heads " + Twine(s.heads) + " is not a multiple of kv_heads " + Twine(s.kvHeads));
  cfg.require(s.gridHeads == s.kvHeads || s.gridHeads == s.heads,
              "grid_heads " + Twine(s.gridHeads) + " is neither heads nor kv_heads");
  s.form = Words::choose(k.profile(), s.cache);
  return s;
}

// The page's keys and values of one kv head, of which `rows` tokens are there.
void packPage(KernelBuilder& k, const Shape& s, QueryBlock& block, Buf cache, Val page, Val kvHead,
              Val rows) {
  int64_t per = s.form.per(), rowWords = s.headDim / per;
  Buf words = k.view(cache, page, s.form.pairs ? k.i32() : s.cache.elem(k));
  auto decoded = [&](Val v) { return s.form.pairs ? v : s.cache.decode(v); };
  k.forLoop(k.idx(0), rows, kLanes, [&](Val t) {
    Val from = t * rowWords + kvHead * (s.cache.runElements() / per);
    transposeRows(
        k, rowWords,
        [&](int64_t r, Val w, Val count) {
          return decoded(k.load(words, from + w + r * rowWords, kLanes, count));
        },
        block.keys, t, s.cache.pageTokens);
  });
  Buf elements = k.view(cache, page, s.cache.elem(k));
  Val values = (kvHead + s.kvHeads) * s.cache.runElements();
  k.forLoop(k.idx(0), rows, per, [&](Val t) {
    Val first = values + t * s.headDim;
    Val second = values + min(t + 1, rows - 1) * s.headDim;
    Val there = t + 1 < rows;
    k.forLoop(k.idx(0), k.idx(s.headDim), kLanes, [&](Val i) {
      Val a = s.cache.decode(k.load(elements, first + i, kLanes)), b;
      if (s.form.pairs) {
        b = s.cache.decode(k.load(elements, second + i, kLanes));
        b = select(there, b, k.zero());
      }
      block.storeValue(t, i, a, b);
    });
  });
}

}  // namespace

LogicalResult emitAttentionPrefill(KernelBuilder& k) {
  Shape s = readShape(k);
  if (k.cfg().failed()) return failure();
  Buf q = k.in(k.f32()), sequence = k.in(k.i32()), positions = k.in(k.i32());
  Buf pageTable = k.in(k.i32()), contextLength = k.in(k.i32()), cache = k.in(k.i8());
  Buf out = k.out(k.f32());
  Val tokens = k.push(), pages = k.push();
  (void)contextLength;  // positions say it per token

  int64_t group = s.group(), blockTokens = std::max<int64_t>(kBlockRows / group, 1);
  QueryBlock block(k, s.form, blockTokens * group, s.headDim, s.headDim, s.cache.pageTokens,
                   s.scale, s.window);
  Val head0 = k.x() * group, b = k.y();
  Val kvHead = s.gridHeads == s.kvHeads ? k.x() : k.x() / (s.heads / s.kvHeads);
  Val base = b * pages, outLd = k.idx(s.heads * s.headDim);
  auto range = tokensOf(k, sequence, tokens, b);
  Val end = range.second;
  k.forLoop(range.first, end, blockTokens, [&](Val token0) {
    Val count = min(end - token0, k.idx(blockTokens)), rows = count * group;
    block.begin();
    // The most and the least that a row sees: the pages to visit.
    Val none = k.constant(k.i32(), 0), all = k.constant(k.i32(), 1 << 30);
    Vals seen = k.forLoop(k.idx(0), rows, 1, {none, all}, [&](Val r, ArrayRef<Val> in) {
      Val token = token0 + r / group;
      Val mine = toIndex(k.load(sequence, token)) == b;
      Val visible = select(mine, k.load(positions, token) + 1, none);
      block.setRow(r, visible, q, token * s.qLd + (head0 + r % group) * s.headDim);
      return Vals{max(in[0], visible), select(mine, min(in[1], visible), in[1])};
    });
    Val padded = block.pad(rows), most = toIndex(seen[0]);
    Val first = k.idx(0);
    if (s.window) first = max(toIndex(seen[1]) - s.window, first) / s.cache.pageTokens;
    Val last = (most + (s.cache.pageTokens - 1)) / s.cache.pageTokens;
    k.forLoop(first, last, 1, [&](Val p) {
      Val row0 = p * s.cache.pageTokens;
      Val inPage = min(most - row0, k.idx(s.cache.pageTokens));
      packPage(k, s, block, cache, s.cache.pageAt(k, pageTable, base, p), kvHead, inPage);
      block.attend(row0, padded);
    });
    k.forLoop(k.idx(0), rows, 1, [&](Val r) {
      Val token = token0 + r / group;
      k.ifThen(toIndex(k.load(sequence, token)) == b,
               [&] { block.finish(r, out, token * outLd + (head0 + r % group) * s.headDim); });
    });
  });
  return success();
}

}  // namespace fathom::kernels
