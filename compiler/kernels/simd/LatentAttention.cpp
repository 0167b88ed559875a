// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// latent_attention: config and bindings, packed queries, the walk over a split, partial sums.
#include "compiler/kernels/simd/LatentAttention.h"

#include <algorithm>

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/Rope.h"

using namespace mlir;

namespace fathom::kernels {

LatentInputs::LatentInputs(KernelBuilder& k) {
  Config& cfg = k.cfg();
  heads = cfg.in("heads", 1, 1 << 16);
  rank = cfg.in("rank", 16, 1 << 16, 16);
  dim = cfg.in("dim", 2, 1 << 16, 2);
  scale = cfg.f("scale");
  qLd = cfg.in("q_ld", 0, kMaxStride);
  qHeadLd = cfg.in("q_head_ld", 0, kMaxStride);
  qOffset = cfg.in("q_offset", 0, kMaxStride);
  splits = cfg.in("splits", 1, 4096);
  evenSplits = cfg.in("even_splits", 0, splits, 1, 0);
  rotate = cfg.b("rotate", false);
  if (rotate) {
    interleaved = cfg.b("interleaved");
    mscale = cfg.f("mscale");
  }
  cache = Cache::read(cfg, rank + dim);
  if (cfg.failed()) return;
  form = Words::choose(k.profile(), cache);
  shape = LatentShape::of(k.profile(), heads, rank, dim, cache.pageTokens, cache.bf16);
  qLatent = k.in(k.f32());
  q = k.in(k.f32());
  positions = k.in(k.i32());
  sequence = k.in(k.i32());
  pageTable = k.in(k.i32());
  if (rotate) angles = k.in(k.f32());
  rows = k.in(k.i8());
  partial = k.out(k.f32());
  pages = k.push();
}

void LatentAttention::storeQueries(ArrayRef<Val> heads, Val group, int64_t word0, int64_t count) {
  Vals lines = transpose16(heads);
  Val to = group * (rowWords() * kLanes);
  for (int64_t w = 0; w < count; ++w) k_.store(lines[w], query_, to + (word0 + w) * kLanes);
}

// Words of `elements` of each head of a group, transposed into query_ as those from element0 on.
// `from` gives a head's first.
void LatentAttention::packPart(Buf x, function_ref<Val(Val)> from, int64_t elements, Val group,
                               int64_t element0) {
  int64_t per = in_.form.per(), step = 16 * per;
  for (int64_t e = 0; e < elements; e += step) {
    int64_t count = std::min(step, elements - e), word0 = (element0 + e) / per;
    Vals rows;
    for (int64_t h = 0; h < kLanes; ++h)
      rows.push_back(loadQuery(k_, in_.form, x, from(k_.idx(h)) + e, count, in_.scale));
    storeQueries(rows, group, word0, count / per);
    if (count == 32) besidePacking(group, element0 + e);
  }
}

// A group's 16 heads. Heads beyond the last repeat it: their lanes are computed and never written.
void LatentAttention::packQueries(Val token, Val head0, Val group) {
  auto head = [&](Val lane) { return min(head0 + group * kLanes + lane, k_.idx(in_.heads - 1)); };
  Val latent = token * (in_.heads * in_.rank), rotated = token * in_.qLd + in_.qOffset;
  packPart(
      in_.qLatent, [&](Val h) { return latent + head(h) * in_.rank; }, in_.rank, group, 0);
  if (in_.rotate)
    packPart(
        rotated_, [&](Val h) { return h * in_.dim; }, in_.dim, group, in_.rank);
  else
    packPart(
        in_.q, [&](Val h) { return rotated + head(h) * in_.qHeadLd; }, in_.dim, group, in_.rank);
}

// The part of the queries that knows positions, of 16 heads, into rotated_.
void LatentAttention::rotateQueries(Val token, Val head0, Val position) {
  Rope rope(k_, in_.dim, in_.interleaved, in_.mscale);
  rope.setPosition(in_.angles, position);
  k_.forLoop(k_.idx(0), k_.idx(kLanes), 1, [&](Val lane) {
    Val head = min(head0 + lane, k_.idx(in_.heads - 1));
    rope.rotate(in_.q, token * in_.qLd + head * in_.qHeadLd + in_.qOffset,
                [&](Val i, Val v, Val count) { k_.store(v, rotated_, lane * in_.dim + i, count); });
  });
}

// The records of the split; with `sums` u as well, which nobody reads beside an m of -inf.
void LatentAttention::writePartial(Val token, Val head0, bool sums) {
  int64_t rank = in_.rank, record = rank + 16;
  Val to0 = (token * in_.splits + k_.x()) * in_.heads + head0;
  k_.forLoop(k_.idx(0), min(k_.idx(in_.heads) - head0, k_.idx(heads())), 1, [&](Val h) {
    Val to = (to0 + h) * record;
    if (sums) readSums(h, [&](Val i, Val v) { k_.store(v, in_.partial, to + i); });
    Val lane = k_.iota();
    Val tail = select(lane == 0, splat(k_.load(m_, h)), k_.zero());
    tail = select(lane == 1, splat(k_.load(l_, h)), tail);
    k_.store(tail, in_.partial, to + rank);
  });
}

// A power of two, which workers share out evenly, and about as many splits as pages in each: more
// of them add to what is packed, written and merged, fewer would leave cores without work. No more
// than workers want where their number is known.
Val LatentAttention::splitsOf(Val pages) {
  Val splits = k_.idx(1);
  for (int64_t n = 1; n < in_.splits; n *= 2)
    splits = select(pages > (n == 1 ? 1 : 2 * n * n), k_.idx(std::min(2 * n, in_.splits)), splits);
  if (!in_.evenSplits) return splits;
  return min(splits, splitsForWorkers(k_, pages, in_.splits, in_.evenSplits));
}

void LatentAttention::emit() {
  Buf bytes = k_.scratch(k_.i8(), 4 * heads() * roundUp(rowWords(), kLanes));
  query_ = k_.view(bytes, k_.idx(0), in_.form.type(k_));
  queryHalves_ = k_.view(bytes, k_.idx(0), k_.b().getBF16Type());
  for (Buf* of : {&m_, &l_, &alpha_}) *of = k_.scratch(k_.f32(), 4 * heads());
  if (in_.rotate) rotated_ = k_.scratch(k_.f32(), 4 * kLanes * in_.dim);
  allocate();

  int64_t pageTokens = in_.cache.pageTokens;
  Val token = k_.y(), head0 = k_.z() * heads();
  Val position = toIndex(k_.load(in_.positions, token)), rows = position + 1;
  tableAt_ = toIndex(k_.load(in_.sequence, token)) * in_.pages;
  Val used = (rows + (pageTokens - 1)) / pageTokens;
  lastPage_ = used - 1;
  // Workgroups without pages lie between the others, so that workers that claim some in a row get
  // even shares.
  Val splits = splitsOf(used);
  auto begin = [&](Val x) { return used * (x * splits / in_.splits) / splits; };
  pageBegin_ = begin(k_.x());
  pageEnd_ = begin(k_.x() + 1);

  k_.forLoop(k_.idx(0), k_.idx(heads()), kLanes, [&](Val h) {
    k_.store(k_.constant(k_.vec(k_.f32()), kNever), m_, h);
    k_.store(k_.zero(), l_, h);
  });
  k_.ifThen(pageBegin_ < pageEnd_, [&] {
    k_.forLoop(k_.idx(0), k_.idx(in_.shape.groups), 1, [&](Val group) {
      if (in_.rotate) rotateQueries(token, head0 + group * kLanes, position);
      packQueries(token, head0, group);
    });
    attendSplit(rows);
    writePartial(token, head0, /*sums=*/true);
  });
  k_.ifThen(pageBegin_ >= pageEnd_, [&] { writePartial(token, head0, /*sums=*/false); });
}

void LatentAttention::attendSplit(Val rows) {
  int64_t pageTokens = in_.cache.pageTokens;
  clearSums();
  auto block = [&](Val first, function_ref<void(Val last, Val rows)> body) {
    Val last = min(first + blockPages(), pageEnd_);
    body(last, min(rows, last * pageTokens) - first * pageTokens);
  };
  k_.forLoop(pageBegin_, pageEnd_, blockPages(), [&](Val first) {
    block(first, [&](Val last, Val tokens) { attend(first, last, tokens); });
  });
  Val blocks = (pageEnd_ - pageBegin_ - 1) / blockPages();
  Val first = pageBegin_ + blocks * blockPages();
  block(first, [&](Val last, Val tokens) { finish(first, last, tokens); });
}

LogicalResult emitLatentAttention(KernelBuilder& k) {
  LatentInputs in(k);
  if (k.cfg().failed()) return failure();
  auto make = in.shape.units ? makeLatentAttentionMatrix : makeLatentAttentionVector;
  make(k, std::move(in))->emit();
  return success();
}

}  // namespace fathom::kernels
