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
  if (shape_.tokens > 1) k.keepSumsInRegisters();
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
  int64_t allTiles = weights_[0].layout().tiles, lanesOfQuads = 4 / shape_.quads;
  Val rest = k_.lane() / lanesOfQuads;
  Vals quads;
  for (int64_t q = 0; q < shape_.quads; ++q)
    quads.push_back(shape_.quads == 1 ? k_.lane() % 4 : k_.idx(q));
  Val tile = panel * shape_.tiles + rest / shape_.slices;
  Val tileThere = tile < allTiles;
  tile = min(tile, k_.idx(allTiles - 1));
  Vals acc = sums(matrix + tile * weights_[0].tileWords(), quads, rest % shape_.slices);
  if (shape_.slices == 1)
    finish(acc, tile * kTileRows + quads[0] * 4, 4, first, end, tileThere);
  else
    addAndFinish(acc, panel, first, end);
}

// acc[(quad * tokens + token) * weights + w]: four rows each.
Vals Projection::sums(Val tileAt, ArrayRef<Val> quads, Val slice) {
  size_t each = shape_.tokens * weights_.size();
  Vals acc(each * quads.size(), k_.zero(4));
  auto allQuads = [&](Val u, int64_t columns, ArrayRef<Val> in) {
    Vals out;
    for (size_t q = 0; q < quads.size(); ++q) {
      Vals own(in.begin() + q * each, in.begin() + (q + 1) * each);
      unit(u, columns, tileAt, quads[q], own);
      out.append(own);
    }
    return out;
  };
  // Records are filled with zeros up to whole groups; other activations end where K ends.
  int64_t cols = actForm_ == Act::i8 ? roundUp(cols_, kSuperblock) : cols_;
  int64_t whole = cols / unitColumns(), rest = cols % unitColumns();
  if (whole)
    acc = k_.forLoop(slice, k_.idx(whole), shape_.slices, acc,
                     [&](Val u, ArrayRef<Val> in) { return allQuads(u, unitColumns(), in); });
  if (!rest) return acc;
  auto last = [&] { return allQuads(k_.idx(whole), rest, acc); };
  if (shape_.slices == 1) return last();
  return k_.ifElse(slice == whole % shape_.slices, last, [&] { return acc; });
}

// Row `row` of a tile of the workgroup: the slices' parts, added in order.
Vals Projection::addSlices(Val tile, Val row, size_t count) {
  int64_t each = shape_.tiles * shape_.slices * kTileRows;
  Vals zero(count, k_.constant(k_.f32(), 0));
  return k_.forLoop(k_.idx(0), k_.idx(shape_.slices), 1, zero, [&](Val s, ArrayRef<Val> in) {
    Vals out(in.begin(), in.end());
    for (size_t i = 0; i < count; ++i)
      out[i] = out[i] + k_.load(slices_, (tile * shape_.slices + s) * kTileRows + row + each * i);
    return out;
  });
}

// The parts go through workgroup memory; then a lane has a row.
void Projection::addAndFinish(const Vals& parts, Val panel, Val first, Val end) {
  size_t count = parts.size() / shape_.quads;
  int64_t each = shape_.tiles * shape_.slices * kTileRows;
  if (!slices_.mem) slices_ = k_.shared(k_.f32(), each * count);
  k_.barrier();
  for (int64_t q = 0; q < shape_.quads; ++q)
    for (size_t i = 0; i < count; ++i)
      for (int64_t r = 0; r < 4; ++r)
        k_.store(kernels::lane(parts[q * count + i], r), slices_,
                 k_.lane() * (4 * shape_.quads) + (4 * q + r + each * i));
  k_.barrier();
  int64_t allTiles = weights_[0].layout().tiles;
  k_.forLanes(shape_.tiles * kTileRows, [&](Val i) {
    Val tile = i / kTileRows, row = i % kTileRows;
    Val number = panel * shape_.tiles + tile;
    finish(addSlices(tile, row, count), number * kTileRows + row, 1, first, end, number < allTiles);
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
    Val there = shape_.tokens > 1 ? tileThere & (first + t < end) : tileThere;
    k_.ifThen(there, [&] {
      Val at = (places_[t].out + column) / width;
      k_.store(residual ? v + k_.load(before, at) : v, to, at);
    });
  }
}

}  // namespace fathom::kernels::simt
