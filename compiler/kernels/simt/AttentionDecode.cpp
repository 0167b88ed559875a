// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention and latent_attention on GPUs: one token's heads over a split of its context.
#include "compiler/kernels/simt/AttentionBlock.h"
#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Rope.h"
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

  // Workgroup (split, token, z) serves `count` heads from `head` on. `fillQueries` is for splits
  // that have rows.
  void run(Val head, Val count, Val keyAt, Val valueAt, function_ref<void()> fillQueries) {
    Val token = k.y();
    Val seen = toIndex(k.load(positions, token)) + 1;
    k.forLanes(queries, [&](Val q) { k.store(toInt(seen, k.i32()), block.visible(), q); });
    Vals sums = block.begin();
    Val first = window ? max(seen - window, k.idx(0)) : k.idx(0);
    Val page0 = first / cache.pageTokens;
    Val used = (seen + (cache.pageTokens - 1)) / cache.pageTokens - page0;
    Val begin = page0 + used * k.x() / splits, end = page0 + used * (k.x() + 1) / splits;
    k.ifThen(begin < end, fillQueries);
    k.barrier();
    Val tableAt = toIndex(k.load(sequence, token)) * pages;
    sums = block.attend(pageTable, tableAt, begin, end, seen, keyAt, valueAt, sums);
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

/// With the config entry `rotate`: queries are rotated as they are read, else they are already.
class Rotation {
 public:
  /// `width`: elements of a query, or the rotated ones of it; with readsDim the entry `dim` says
  /// how many are rotated, the first.
  Rotation(SimtBuilder& k, int64_t width, bool readsDim) : k_(k) {
    Config& cfg = k.cfg();
    if (!cfg.b("rotate", false)) return;
    int64_t dim = readsDim ? cfg.in("dim", 2, width, 2) : width;
    bool interleaved = cfg.b("interleaved");
    rope_.emplace(k, dim, interleaved, cfg.f("mscale"));
    plain_ = width - dim;
    dim_ = dim;
  }
  /// The table is the next binding.
  void bind() {
    if (rope_) table_ = k_.f32View(k_.input());
  }
  void begin(Buf positions) {
    if (rope_) rope_->setPosition(table_, toIndex(k_.load(positions, k_.y())));
  }
  /// Element i of the query that begins at q[from].
  Val element(Buf q, Val from, Val i) {
    if (!rope_) return k_.load(q, from + i);
    if (!plain_) return rope_->element(q, from, i);
    return k_.ifElse(
        i < dim_, [&] { return Vals{rope_->element(q, from, i)}; },
        [&] { return Vals{k_.load(q, from + i)}; })[0];
  }

 private:
  SimtBuilder& k_;
  std::optional<Rope> rope_;
  int64_t dim_ = 0, plain_ = 0;
  Buf table_;
};

}  // namespace

LogicalResult emitAttention(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16), kvHeads = cfg.in("kv_heads", 1, 1 << 16);
  int64_t headDim = cfg.in("head_dim", 16, 1 << 12, 16);
  double scale = cfg.f("scale");
  int64_t qLd = cfg.in("q_ld", 0, kMaxOffset), splits = cfg.in("splits", 1, 4096);
  int64_t window = cfg.in("window", 0, kMaxOffset);
  Rotation rotation(k, headDim, /*readsDim=*/true);
  CacheRows cache = CacheRows::read(cfg, headDim, /*runs=*/2 * kvHeads);
  if (cfg.failed()) return failure();
  if (!cfg.require(heads % kvHeads == 0,
                   "heads " + Twine(heads) + " is not a multiple of kv_heads " + Twine(kvHeads)))
    return failure();
  int64_t group = heads / kvHeads;
  int64_t queries = AttentionShape::decode(k.gpu(), group, headDim, headDim).queries;
  int64_t blocks = (group + queries - 1) / queries;

  Buf q = k.f32View(k.input()), positions = k.i32View(k.input());
  Buf sequence = k.i32View(k.input()), pageTable = k.i32View(k.input());
  rotation.bind();
  SimtBuilder::Binding rows = k.input();
  Buf partial = k.f32View(k.binding());
  Val pages = k.push();
  AttentionBlock block(k, cache, rows, {queries, headDim, headDim, window, true});

  rotation.begin(positions);
  Val kvHead = k.z() / blocks, inGroup = k.z() % blocks * queries;
  Val head = kvHead * group + inGroup, count = min(k.idx(group) - inGroup, k.idx(queries));
  Decode decode{k,       cache,     block,    splits,    heads,   headDim, window,
                queries, positions, sequence, pageTable, partial, pages};
  decode.run(head, count, kvHead * cache.runWords(), (kvHead + kvHeads) * cache.runWords(), [&] {
    block.fillQueries(0, headDim, [&](Val row, Val i) {
      Val from = k.y() * qLd + (head + min(row, count - 1)) * headDim;
      return rotation.element(q, from, i) * scale;
    });
  });
  return success();
}

LogicalResult emitLatentAttention(SimtBuilder& k) {
  Config& cfg = k.cfg();
  int64_t heads = cfg.in("heads", 1, 1 << 16), rank = cfg.in("rank", 16, 1 << 16, 16);
  int64_t dim = cfg.in("dim", 2, 1 << 16, 2), splits = cfg.in("splits", 1, 4096);
  double scale = cfg.f("scale");
  int64_t qLd = cfg.in("q_ld", 0, kMaxOffset), qHeadLd = cfg.in("q_head_ld", 0, kMaxOffset);
  int64_t qOffset = cfg.in("q_offset", 0, kMaxOffset);
  Rotation rotation(k, dim, /*readsDim=*/false);
  CacheRows cache = CacheRows::read(cfg, rank + dim);
  if (cfg.failed()) return failure();
  int64_t width = rank + dim;
  int64_t queries = AttentionShape::decode(k.gpu(), heads, width, rank).queries;

  Buf latent = k.f32View(k.input()), q = k.f32View(k.input());
  Buf positions = k.i32View(k.input()), sequence = k.i32View(k.input());
  Buf pageTable = k.i32View(k.input());
  rotation.bind();
  SimtBuilder::Binding rows = k.input();
  Buf partial = k.f32View(k.binding());
  Val pages = k.push();
  AttentionBlock block(k, cache, rows, {queries, width, rank, 0, true});

  Val head = k.z() * queries, count = min(k.idx(heads) - head, k.idx(queries));
  auto fill = [&](int64_t at, int64_t n, function_ref<Val(Val h, Val i)> element) {
    block.fillQueries(
        at, n, [&](Val row, Val i) { return element(head + min(row, count - 1), i) * scale; });
  };
  Decode decode{k,       cache,     block,    splits,    heads,   rank, 0,
                queries, positions, sequence, pageTable, partial, pages};
  decode.run(head, count, k.idx(0), k.idx(0), [&] {
    fill(0, rank, [&](Val h, Val i) { return k.load(latent, (k.y() * heads + h) * rank + i); });
    rotation.begin(positions);
    fill(rank, dim,
         [&](Val h, Val i) { return rotation.element(q, k.y() * qLd + h * qHeadLd + qOffset, i); });
  });
  return success();
}

}  // namespace fathom::kernels::simt
