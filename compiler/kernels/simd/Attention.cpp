// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention: config and bindings, rotated queries, the walk over a split, partial sums.
#include "compiler/kernels/simd/Attention.h"

#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/Rope.h"

using namespace mlir;

namespace fathom::kernels {

AttentionInputs::AttentionInputs(KernelBuilder& k) {
  Config& cfg = k.cfg();
  heads = cfg.in("heads", 1, 1 << 16);
  kvHeads = cfg.in("kv_heads", 1, 1 << 16);
  headDim = cfg.in("head_dim", 16, 1 << 12, 16);
  scale = cfg.f("scale");
  qLd = cfg.in("q_ld", 0, kMaxStride);
  splits = cfg.in("splits", 1, 4096);
  evenSplits = cfg.in("even_splits", 0, splits, 1, 0);
  window = cfg.in("window", 0, kMaxStride);
  unitsFrom = cfg.in("units_from", 0, kMaxStride, 1, 1024);
  rotate = cfg.b("rotate", false);
  if (rotate) {
    dim = cfg.in("dim", 2, headDim, 2);
    interleaved = cfg.b("interleaved");
    mscale = cfg.f("mscale");
  }
  cache = Cache::read(cfg, headDim, /*runs=*/2 * kvHeads);
  if (cfg.failed()) return;
  cfg.require(heads % kvHeads == 0,
              "heads " + Twine(heads) + " is not a multiple of kv_heads " + Twine(kvHeads));
  if (cfg.failed()) return;
  form = Words::choose(k.profile(), cache);
  q = k.in(k.f32());
  positions = k.in(k.i32());
  sequence = k.in(k.i32());
  pageTable = k.in(k.i32());
  if (rotate) angles = k.in(k.f32());
  rows = k.in(k.i8());
  partial = k.out(k.f32());
  pages = k.push();
}

bool AttentionInputs::units(const TargetProfile& profile) const {
  // The products' K is unrolled: rows of any length would be kernels of any size. One or two heads
  // are as fast by vectors, which overlap with reading better.
  constexpr int64_t kMostElements = 512, kLeastGroup = 3, kMostGroup = 16;
  return profile.amx && cache.bf16 && cache.pageTokens == 64 && headDim % 32 == 0 &&
         headDim <= kMostElements && group() >= kLeastGroup && group() <= kMostGroup;
}

// Queries of the workgroup's heads into rotated_.
void Attention::rotateQueries(Val from, Val heads, Val position) {
  Rope rope(k_, in_.dim, in_.interleaved, in_.mscale);
  rope.setPosition(in_.angles, position);
  k_.forLoop(k_.idx(0), heads, 1, [&](Val g) {
    Val head = from + g * in_.headDim, to = g * in_.headDim;
    rope.rotate(in_.q, head,
                [&](Val i, Val v, Val count) { k_.store(v, rotated_, to + i, count); });
    k_.forRow(in_.headDim - in_.dim, kLanes, [&](Val i, Val count) {
      Val v = k_.load(in_.q, head + i + in_.dim, kLanes, count);
      k_.store(v, rotated_, to + i + in_.dim, count);
    });
  });
}

void Attention::writePartial(Val to0, Val heads) {
  k_.forLoop(k_.idx(0), heads, 1, [&](Val g) {
    Val to = (to0 + g) * (in_.headDim + 16);
    readSums(g, [&](Val i, Val v) { k_.store(v, in_.partial, to + i); });
    auto [m, l] = readWeights(g);
    Val lane = k_.iota();
    Val tail = select(lane == 0, splat(m), k_.zero());
    k_.store(select(lane == 1, splat(l), tail), in_.partial, to + in_.headDim);
  });
}

// A split without pages: nobody reads the sums beside an m of -inf.
void Attention::writeNothing(Val to0, Val heads) {
  Val tail = select(k_.iota() == 0, k_.constant(k_.vec(k_.f32()), kNever), k_.zero());
  k_.forLoop(k_.idx(0), heads, 1, [&](Val g) {
    k_.store(tail, in_.partial, (to0 + g) * (in_.headDim + 16) + in_.headDim);
  });
}

void Attention::emit() {
  if (in_.rotate) rotated_ = k_.scratch(k_.f32(), 4 * together_ * in_.group() * in_.headDim);
  allocate();

  int64_t pageTokens = in_.cache.pageTokens, group = in_.group();
  Val token = k_.y();
  Val position = toIndex(k_.load(in_.positions, token)), visible = position + 1;
  Val first = in_.window ? max(visible - in_.window, k_.idx(0)) : k_.idx(0);
  tableAt_ = toIndex(k_.load(in_.sequence, token)) * in_.pages;
  Val page0 = first / pageTokens;
  Val used = (visible + (pageTokens - 1)) / pageTokens - page0;
  Val splits =
      in_.evenSplits ? splitsForWorkers(k_, used, in_.splits, in_.evenSplits) : k_.idx(in_.splits);
  auto beginOf = [&](Val x) { return page0 + used * (x * splits / in_.splits) / splits; };
  Val begin = beginOf(k_.x()), end = beginOf(k_.x() + 1);
  lastPage_ = page0 + used - 1;
  kvHeads_ = together_ == 1 ? k_.idx(1) : min(k_.idx(in_.kvHeads) - firstHead(), k_.idx(together_));
  Val heads = kvHeads_ * group, head0 = firstHead() * group;
  Val to0 = (token * in_.splits + k_.x()) * in_.heads + head0;
  k_.ifThen(begin < end, [&] {
    Val from = token * in_.qLd + head0 * in_.headDim;
    if (in_.rotate) rotateQueries(from, heads, position);
    this->begin(in_.rotate ? rotated_ : in_.q, in_.rotate ? k_.idx(0) : from);
    k_.forLoop(begin, end, 1, [&](Val page) {
      Val row0 = page * pageTokens;
      attend(page, min(visible - row0, k_.idx(pageTokens)), first - row0);
    });
    writePartial(to0, heads);
  });
  k_.ifThen(begin >= end, [&] { writeNothing(to0, heads); });
}

LogicalResult emitAttention(KernelBuilder& k) {
  AttentionInputs in(k);
  if (k.cfg().failed()) return failure();
  if (!in.units(k.profile())) {
    makeAttentionVector(k, std::move(in))->emit();
    return success();
  }
  Val seen = toIndex(k.load(in.positions, k.y())) + 1;
  if (in.window) seen = min(seen, k.idx(in.window));
  k.ifThenApart(seen > in.unitsFrom, [&] { makeAttentionMatrix(k, in)->emit(); });
  k.ifThen(seen <= in.unitsFrom, [&] { makeAttentionVector(k, in)->emit(); });
  return success();
}

}  // namespace fathom::kernels
