// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention_prefill and latent_attention_expanded on GPUs: a block of tokens of one head, whatever
// sequences they belong to.
#include "compiler/kernels/simt/AttentionBlock.h"
#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Shape.h"
#include "compiler/kernels/simt/Weights.h"

using namespace mlir;

namespace fathom::kernels::simt {
namespace {

// A workgroup's tokens and the walk over their sequences.
struct Prefill {
  SimtBuilder& k;
  const CacheRows& cache;
  AttentionBlock& block;
  int64_t queries, window;
  Buf positions, sequence, pageTable;
  Val tokens, pages;

  Val first() { return k.y() * queries; }
  Val count() { return min(tokens - first(), k.idx(queries)); }
  // The token of query q; queries behind the last repeat it.
  Val token(Val q) { return first() + min(q, count() - 1); }

  // Softmax sums of the block's queries, which are in place. Each sequence among its tokens is
  // walked once, when its first token comes; the queries of others see no row then.
  Vals run(Val keyAt, Val valueAt) {
    Vals start = block.begin();
    Val none = k.constant(k.i32(), 0), all = k.constant(k.i32(), 1 << 30), zero = k.idx(0);
    return k.forLoop(zero, count(), 1, start, [&](Val i, ArrayRef<Val> in) {
      Val own = k.load(sequence, first() + i);
      Val earlier = k.forLoop(zero, i, 1, {none}, [&](Val j, ArrayRef<Val> found) {
        Val same = k.load(sequence, first() + j) == own;
        return Vals{select(same, number(none, 1), found[0])};
      })[0];
      // Everyone is done with what the last sequence saw.
      k.barrier();
      k.forLanes(queries, [&](Val q) {
        Val mine = (k.load(sequence, token(q)) == own) & (q < count());
        k.store(select(mine, k.load(positions, token(q)) + 1, none), block.visible(), q);
      });
      k.barrier();
      Vals seen = k.forLoop(zero, count(), 1, {none, all}, [&](Val q, ArrayRef<Val> range) {
        Val rows = k.load(block.visible(), q);
        return Vals{max(range[0], rows), select(rows > 0, min(range[1], rows), range[1])};
      });
      Val most = toIndex(seen[0]), least = zero;
      if (window) least = max(toIndex(seen[1]) - window, zero) / cache.pageTokens;
      Val last = (most + (cache.pageTokens - 1)) / cache.pageTokens;
      last = select(earlier == 0, last, least);
      return block.attend(pageTable, toIndex(own) * pages, least, last, most, keyAt, valueAt,
                          Vals(in.begin(), in.end()));
    });
  }

  // 1 / the sum of a query's exponentials; 0 when it saw no row.
  Val inverse(Val q) {
    Val sum = block.total(q);
    Val some = sum > 0.0;
    return select(some, number(sum, 1) / select(some, sum, number(sum, 1)), number(sum, 0));
  }
};

}  // namespace

LogicalResult emitAttentionPrefill(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16), kvHeads = cfg.in("kv_heads", 1, 1 << 16);
  int64_t headDim = cfg.in("head_dim", 16, 1 << 12, 16);
  double scale = cfg.f("scale");
  int64_t qLd = cfg.in("q_ld", 0, kMaxOffset), window = cfg.in("window", 0, 1 << 28);
  int64_t gridHeads = cfg.in("grid_heads", 1, 1 << 16);
  CacheRows cache = CacheRows::read(cfg, headDim, /*runs=*/2 * kvHeads);
  if (cfg.failed()) return failure();
  cfg.require(heads % kvHeads == 0,
              "heads " + Twine(heads) + " is not a multiple of kv_heads " + Twine(kvHeads));
  cfg.require(gridHeads == kvHeads || gridHeads == heads,
              "grid_heads " + Twine(gridHeads) + " is neither heads nor kv_heads");
  if (cfg.failed()) return failure();
  int64_t queries = AttentionShape::prefill(k.gpu(), headDim, headDim).queries;

  Buf q = k.f32View(k.input()), sequence = k.i32View(k.input());
  Buf positions = k.i32View(k.input()), pageTable = k.i32View(k.input());
  k.binding();  // context lengths: positions say it per token
  SimtBuilder::Binding rows = k.input();
  Buf out = k.f32View(k.binding());
  Val tokens = k.push(), pages = k.push();
  k.keepSumsInRegisters();
  AttentionBlock block(k, cache, rows, {queries, headDim, headDim, window, true});
  Prefill prefill{k, cache, block, queries, window, positions, sequence, pageTable, tokens, pages};

  Val head = k.x(), kvHead = head / (heads / kvHeads);
  block.fillQueries(0, headDim, [&](Val query, Val i) {
    return k.load(q, prefill.token(query) * qLd + head * headDim + i) * scale;
  });
  int64_t words = cache.runWords();
  Vals sums = prefill.run(kvHead * words, (kvHead + kvHeads) * words);
  block.forSums(sums, [&](int64_t i, Val column, Val sum) {
    Val query = k.idx(i);
    k.ifThen(query < prefill.count(), [&] {
      Val at = prefill.token(query) * (heads * headDim) + head * headDim + column;
      k.store(sum * prefill.inverse(query), out, at);
    });
  });
  return success();
}

// Keys and values are never expanded: (W_UK c) . q = c . (W_UK^T q), and the weighted sum of values
// W_UV c is W_UV times the weighted sum of c. The queries are taken into the latent space once.
LogicalResult emitLatentAttentionExpanded(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16), rank = cfg.in("rank", 16, 1 << 16, 16);
  int64_t dim = cfg.in("dim", 2, 1 << 16, 2), nope = cfg.in("nope", 1, 1 << 16);
  int64_t v = cfg.in("v", 1, 1 << 16);
  double scale = cfg.f("scale");
  int64_t qLd = cfg.in("q_ld", 0, kMaxOffset), qHeadLd = cfg.in("q_head_ld", 0, kMaxOffset);
  int64_t qOffset = cfg.in("q_offset", 0, kMaxOffset);
  int64_t outLd = cfg.in("out_ld", heads * v, kMaxOffset, 1, roundUp(heads * v, kTileRows));
  Enc enc = readEnc(cfg);
  CacheRows cache = CacheRows::read(cfg, rank + dim);
  if (cfg.failed()) return failure();
  int64_t width = rank + dim;
  int64_t queries = AttentionShape::prefill(k.gpu(), width, rank).queries;

  Buf q = k.f32View(k.input());
  Weights uk(k, k.input(), enc, nope, rank), uv(k, k.input(), enc, v, rank);
  Buf sequence = k.i32View(k.input()), positions = k.i32View(k.input());
  Buf pageTable = k.i32View(k.input());
  k.binding();  // context lengths
  SimtBuilder::Binding rows = k.input();
  Buf out = k.f32View(k.binding());
  Val tokens = k.push(), pages = k.push();
  k.keepSumsInRegisters();
  AttentionBlock block(k, cache, rows, {queries, width, rank, 0});
  Prefill prefill{k, cache, block, queries, 0, positions, sequence, pageTable, tokens, pages};

  Val head = k.x();
  auto place = [&](Val query) { return prefill.token(query) * qLd + head * qHeadLd + qOffset; };
  k.forLanes(rank, [&](Val r) {
    Vals zero(queries, k.constant(k.f32(), 0));
    Vals sum = k.forLoop(k.idx(0), k.idx(nope), 1, zero, [&](Val n, ArrayRef<Val> in) {
      Val w = uk.element(head * uk.matrixWords(), n, r);
      Vals next;
      for (int64_t i = 0; i < queries; ++i)
        next.push_back(fma(w, k.load(q, place(k.idx(i)) + n), in[i]));
      return next;
    });
    for (int64_t i = 0; i < queries; ++i) k.store(sum[i] * scale, block.query(), r + i * width);
  });
  k.forLanes(queries * dim, [&](Val i) {
    Val x = k.load(q, place(i / dim) + i % dim + nope);
    k.store(x * scale, block.query(), i / dim * width + i % dim + rank);
  });
  Vals sums = prefill.run(k.idx(0), k.idx(0));
  // The queries are done with: their memory takes the weighted sums of the latent rows.
  k.barrier();
  block.forSums(sums, [&](int64_t i, Val column, Val sum) {
    k.store(sum * prefill.inverse(k.idx(i)), block.query(), column + i * width);
  });
  k.barrier();
  k.forLanes(v, [&](Val n) {
    Vals zero(queries, k.constant(k.f32(), 0));
    Vals sum = k.forLoop(k.idx(0), k.idx(rank), 1, zero, [&](Val r, ArrayRef<Val> in) {
      Val w = uv.element(head * uv.matrixWords(), n, r);
      Vals next;
      for (int64_t i = 0; i < queries; ++i)
        next.push_back(fma(w, k.load(block.query(), r + i * width), in[i]));
      return next;
    });
    for (int64_t i = 0; i < queries; ++i)
      k.ifThen(prefill.count() > i,
               [&] { k.store(sum[i], out, prefill.token(k.idx(i)) * outLd + head * v + n); });
  });
  return success();
}

}  // namespace fathom::kernels::simt
