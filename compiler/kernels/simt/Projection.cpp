// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The walk over a workgroup's tiles and the epilogues of projections on GPUs.
#include "compiler/kernels/simt/Projection.h"

using namespace mlir;

namespace fathom::kernels::simt {

Projection::Projection(SimtBuilder& k, ArrayRef<StringRef> epilogues) : k_(k) {
  Config& cfg = k.cfg();
  rows_ = cfg.in("rows", 1, kMaxExtent);
  cols_ = cfg.in("cols", 1, kMaxExtent);
  enc_ = readEnc(cfg);
  actForm_ = readAct(cfg);
  actStride_ = cfg.in("act_stride", 4, kMaxOffset, 4);
  actOffset_ = cfg.in("act_offset", 0, GpuProfile::kBindingAlignment, 4, 0);
  outLd_ = cfg.in("out_ld", roundUp(rows_, kTileRows), kMaxOffset, 4);
  panelTiles_ = cfg.in("panel_tiles", 1, kMaxExtent);
  swiglu_ = epilogues[cfg.oneOf("epilogue", epilogues)] == "swiglu";
  StringRef form = cfg.s("form", "few");
  cfg.require(form == "few" || form == "many",
              "config entry 'form' must be 'few' or 'many', found '" + form + "'");
  if (cfg.failed()) return;
  bool allowed = actForm_ == Act::f32 || (actForm_ == Act::bf16 && enc_ == Enc::bf16) ||
                 (actForm_ == Act::i8 && quantised());
  cfg.require(allowed,
              "config entry 'act' must be 'f32', 'bf16' with enc = 'bf16', or 'i8' with enc = "
              "'q8' or 'q4', found '" +
                  cfg.s("act") + "' with enc = '" + cfg.s("enc") + "'");
  shape_ = ProjectionShape::of(k.gpu(), form);
  cfg.require(panelTiles_ == shape_.tiles, "config entry 'panel_tiles' must be " +
                                               Twine(shape_.tiles) + ", found " +
                                               Twine(panelTiles_));
  usesOffset(actStride_);
  usesOffset(actOffset_);
}

void Projection::emit(Val panel, Val matrix, Val first, Val end, function_ref<Row(Val)> at) {
  if (weights_.empty()) {
    weights_.push_back(Weights(k_, weight, enc_, rows_, cols_));
    if (swiglu_) weights_.push_back(Weights(k_, weight2, enc_, rows_, cols_));
  }
  places_.clear();
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    places_.push_back(at(t ? min(first + t, end - 1) : first));
    places_.back().act = places_.back().act + actOffset_ / 4;
  }
  Val quad = k_.lane() % 4, rest = k_.lane() / 4;
  int64_t allTiles = weights_[0].layout().tiles;
  if (shape_.slices == 1) {
    Val tile = panel * shape_.tiles + rest;
    Val tileThere = tile < allTiles;
    tile = min(tile, k_.idx(allTiles - 1));
    Vals acc = sums(matrix + tile * weights_[0].tileWords(), quad, k_.idx(0));
    finish(acc, tile * kTileRows + quad * 4, 4, first, end, tileThere);
    return;
  }
  Vals acc = addSlices(sums(matrix + panel * weights_[0].tileWords(), quad, rest));
  finish(acc, panel * kTileRows + k_.lane() % kTileRows, 1, first, end, k_.lane() < kTileRows);
}

// acc[token * weights + w]: four rows each.
Vals Projection::sums(Val tileAt, Val quad, Val slice) {
  Vals acc(shape_.tokens * weights_.size(), k_.zero(4));
  // Records are filled with zeros up to whole groups; other activations end where K ends.
  int64_t cols = actForm_ == Act::i8 ? roundUp(cols_, kSuperblock) : cols_;
  int64_t whole = cols / unitColumns(), rest = cols % unitColumns();
  if (whole)
    acc = k_.forLoop(slice, k_.idx(whole), shape_.slices, acc, [&](Val u, ArrayRef<Val> in) {
      Vals out(in.begin(), in.end());
      unit(u, unitColumns(), tileAt, quad, out);
      return out;
    });
  if (!rest) return acc;
  auto last = [&] {
    Vals out = acc;
    unit(k_.idx(whole), rest, tileAt, quad, out);
    return out;
  };
  if (shape_.slices == 1) return last();
  return k_.ifElse(slice == whole % shape_.slices, last, [&] { return acc; });
}

// The slices' parts of a tile, added in order; lane r % 16 holds row r, a scalar.
Vals Projection::addSlices(const Vals& parts) {
  int64_t each = k_.lanes() * 4;
  if (!slices_.mem) slices_ = k_.shared(k_.f32(), each * parts.size());
  k_.barrier();
  for (size_t i = 0; i < parts.size(); ++i)
    for (int64_t r = 0; r < 4; ++r)
      k_.store(kernels::lane(parts[i], r), slices_, k_.lane() * 4 + (r + each * i));
  k_.barrier();
  Vals zero(parts.size(), k_.constant(k_.f32(), 0));
  Val row = k_.lane() % kTileRows;
  return k_.forLoop(k_.idx(0), k_.idx(shape_.slices), 1, zero, [&](Val s, ArrayRef<Val> in) {
    Vals out(in.begin(), in.end());
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = out[i] + k_.load(slices_, s * kTileRows + row + each * i);
    return out;
  });
}

// `width` (1 or 4) rows from `column` on, of every token.
void Projection::finish(const Vals& sums, Val column, int64_t width, Val first, Val end,
                        Val tileThere) {
  Type elem = width == 4 ? k_.vec(k_.f32(), 4) : k_.f32();
  Val addend;
  if (bias) {
    Vals each;
    Buf biases = k_.f32View(bias);
    for (int64_t r = 0; r < width; ++r) {
      Val row = column + r;
      Val b = k_.load(biases, min(row, k_.idx(rows_ - 1)));
      each.push_back(select(row < rows_, b, number(b, 0)));
    }
    addend = width == 4 ? fromLanes(each) : each[0];
  }
  Buf to = k_.view(out, elem), before;
  if (residual) before = k_.view(residual, elem);
  size_t n = weights_.size();
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    Val v = sums[t * n];
    if (swiglu_) v = silu(v) * sums[t * n + 1];
    if (bias) v = v + addend;
    Val there = t || shape_.tokens > 1 ? tileThere & (first + t < end) : tileThere;
    k_.ifThen(there, [&] {
      Val at = (places_[t].out + column) / width;
      k_.store(residual ? v + k_.load(before, at) : v, to, at);
    });
  }
}

}  // namespace fathom::kernels::simt
