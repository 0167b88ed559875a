// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The walk over a workgroup's tiles and the epilogues of projections on GPUs.
#include "compiler/kernels/simt/Projection.h"

using namespace mlir;

namespace fathom::kernels::simt {

Projection::Projection(SimtBuilder& k, ArrayRef<StringRef> epilogues, int64_t batch) : k_(k) {
  Config& cfg = k.cfg();
  rows_ = cfg.in("rows", 1, kMaxExtent);
  cols_ = cfg.in("cols", 1, kMaxExtent);
  enc_ = readEnc(cfg);
  actForm_ = readAct(cfg);
  actStride_ = cfg.in("act_stride", 4, kMaxOffset, 4);
  actOffset_ = cfg.in("act_offset", 0, GpuProfile::kBindingAlignment, 4, 0);
  outForm_ = recordForm(cfg, "out_act");
  outWidth_ = batch * rows_;
  if (outForm_)
    outStride_ = cfg.in("out_stride", rowBytes(*outForm_, outWidth_), kMaxOffset, 64);
  else
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
  cfg.require(!outForm_ || (rows_ % kGroup == 0 && outWidth_ % kSuperblock == 0),
              "config entry 'rows' must be a multiple of 32, and batch x rows one of 64, with "
              "'out_act', found " +
                  Twine(rows_));
  cfg.require(!outForm_ || cfg.s("epilogue") != "residual",
              "config entry 'epilogue' must not be 'residual' with 'out_act'");
  bool heads = cfg.has("head_act") && cfg.s("head_act") != "none";
  shape_ = ProjectionShape::of(k.gpu(), {form, cfg.s("enc"), cfg.s("act"), cfg.s("epilogue"),
                                         cfg.has("experts"), outForm_ || heads, rows_});
  k.setLanes(shape_.lanes);
  if (shape_.tokens > 1 || shape_.together > 1 || swiglu_) k.keepSumsInRegisters();
  cfg.require(panelTiles_ == shape_.tiles, "config entry 'panel_tiles' must be " +
                                               Twine(shape_.tiles) + ", found " +
                                               Twine(panelTiles_));
  input = ProjectionInput(k, actForm_, cols_);
  input.usesOffset(actStride_);
  input.usesOffset(actOffset_);
}

void Projection::emit(Val panel, Val matrix, Val first, Val end, function_ref<Row(Val)> at) {
  if (weights_.empty()) {
    weights_.push_back(Weights(k_, weight, enc_, rows_, cols_));
    if (swiglu_) weights_.push_back(Weights(k_, weight2, enc_, rows_, cols_));
  }
  if (shape_.matrixUnits) {
    k_.cfg().require(input.aligned(),
                     "config entries 'act_stride', 'act_batch_stride' and 'act_offset' must be "
                     "multiples of 16 for this target");
    return emitByMatrixUnits(panel, matrix, first, end, at);
  }
  if (staged() && !stage_.mem) stage_ = k_.shared(k_.f32(), stageFloats());
  places_.clear();
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    places_.push_back(at(t ? min(first + t, end - 1) : first));
    places_.back().act = places_.back().act + actOffset_ / 4;
  }
  if (shape_.ownRows) return emitOwnRows(panel, matrix, first, at);
  int64_t allTiles = weights_[0].layout().tiles;
  Val rest = k_.lane() / 4, quad = k_.lane() % 4, slice = rest % shape_.slices;
  Val tile = rest / shape_.slices * shape_.together;
  SmallVector<Part> parts;
  for (int64_t e = 0; e < shape_.together; ++e) {
    Val number = min(panel * shape_.tiles + tile + e, k_.idx(allTiles - 1));
    parts.push_back({matrix + number * weights_[0].tileWords(), quad});
  }
  // Two matrices are enough to read at once.
  Vals acc;
  if (swiglu_)
    for (const Part& part : parts) acc.append(sums(part, slice));
  else
    acc = sums(parts, slice);
  if (shape_.slices == 1) {
    if (staged()) k_.barrier();
    finish(acc, panel, tile * kTileRows + quad * 4, 4, first, end);
  } else {
    addAndFinish(acc, panel, first, end);
  }
  if (staged()) writeRecords(panel, first, end, at);
}

// A lane's rows, side by side. One token.
void Projection::emitOwnRows(Val panel, Val matrix, Val first, function_ref<Row(Val)> at) {
  int64_t allTiles = weights_[0].layout().tiles, quads = shape_.ownRows / 4;
  Val tile = k_.lane() * quads / 4, quad = k_.lane() * quads % 4;
  Val number = panel * shape_.tiles + tile, there = number < allTiles;
  auto compute = [&] {
    Val tileAt = matrix + number * weights_[0].tileWords();
    SmallVector<Part> parts;
    for (int64_t i = 0; i < quads; ++i) parts.push_back({tileAt, quad + i});
    Vals acc = sums(parts, k_.idx(0)), out;
    size_t each = weights_.size();
    for (int64_t i = 0; i < quads; ++i) {
      Val inPanel = tile * kTileRows + (quad + i) * 4;
      Val column = panel * (shape_.tiles * kTileRows) + inPanel;
      Val v = output(ArrayRef<Val>(acc).slice(i * each, each), biasOf(column, 4));
      put(v, k_.idx(0), places_[0].out + column, inPanel, 4);
      out.push_back(v);
    }
    return out;
  };
  if (!staged()) return k_.ifThen(there, [&] { compute(); });
  Vals nothing(quads, k_.zero(4));
  writeOwnRecords(k_.ifElse(there, compute, [&] { return nothing; }), panel, first, at);
}

// acc[(part * tokens + token) * weights + w]: four rows each.
Vals Projection::sums(ArrayRef<Part> parts, Val slice) {
  size_t each = shape_.tokens * weights_.size(), count = parts.size();
  Vals acc(each * count, k_.zero(4));
  auto allParts = [&](Val u, int64_t columns, ArrayRef<Val> in) {
    Vals out;
    for (size_t i = 0; i < count; ++i) {
      Vals own(in.begin() + i * each, in.begin() + (i + 1) * each);
      unit(u, columns, parts[i].tileAt, parts[i].quad, own);
      out.append(own);
    }
    return out;
  };
  // Records are filled with zeros up to whole groups; other activations end where K ends.
  int64_t cols = actForm_ == Act::i8 ? roundUp(cols_, kSuperblock) : cols_;
  int64_t whole = cols / unitColumns(), rest = cols % unitColumns();
  if (whole)
    acc = k_.forLoop(slice, k_.idx(whole), shape_.slices, acc,
                     [&](Val u, ArrayRef<Val> in) { return allParts(u, unitColumns(), in); });
  if (!rest) return acc;
  auto last = [&] { return allParts(k_.idx(whole), rest, acc); };
  if (shape_.slices == 1) return last();
  return k_.ifElse(slice == whole % shape_.slices, last, [&] { return acc; });
}

// Row `row` of a tile of the workgroup: the slices' parts, added in order.
Vals Projection::addSlices(Val tile, Val row, size_t count) {
  int64_t each = shape_.tiles * shape_.slices * kTileRows, part = each / shape_.together;
  Val from = tile % shape_.together * part + tile / shape_.together * (shape_.slices * kTileRows);
  Vals zero(count, k_.constant(k_.f32(), 0));
  return k_.forLoop(k_.idx(0), k_.idx(shape_.slices), 1, zero, [&](Val s, ArrayRef<Val> in) {
    Vals out(in.begin(), in.end());
    for (size_t i = 0; i < count; ++i)
      out[i] = out[i] + k_.load(slices_, from + s * kTileRows + row + each * i);
    return out;
  });
}

// The parts go through workgroup memory; then a lane has a row.
void Projection::addAndFinish(const Vals& parts, Val panel, Val first, Val end) {
  size_t count = shape_.tokens * weights_.size();
  int64_t each = shape_.tiles * shape_.slices * kTileRows, part = each / shape_.together;
  if (!slices_.mem) slices_ = k_.shared(k_.f32(), each * count);
  k_.barrier();
  for (int64_t e = 0; e < shape_.together; ++e)
    for (size_t i = 0; i < count; ++i)
      for (int64_t r = 0; r < 4; ++r)
        k_.store(kernels::lane(parts[e * count + i], r), slices_,
                 k_.lane() * 4 + (r + part * e + each * i));
  k_.barrier();
  k_.forLanes(shape_.tiles * kTileRows, [&](Val i) {
    finish(addSlices(i / kTileRows, i % kTileRows, count), panel, i, 1, first, end);
  });
}

// The biases of `width` (1 or 4) rows from `column` on, if there are any.
Val Projection::biasOf(Val column, int64_t width) {
  if (!bias) return {};
  Vals each;
  Buf biases = k_.f32View(bias);
  for (int64_t r = 0; r < width; ++r) {
    Val row = column + r;
    Val b = k_.load(biases, min(row, k_.idx(rows_ - 1)));
    each.push_back(select(row < rows_, b, number(b, 0)));
  }
  return width == 4 ? fromLanes(each) : each[0];
}

// What an output is made of each weight's sum.
Val Projection::output(ArrayRef<Val> sums, Val addend) {
  Val v = sums[0];
  if (swiglu_) v = silu(v) * sums[1];
  return addend ? v + addend : v;
}

// `width` (1 or 4) rows from row `inPanel` of the panel on, of every token.
void Projection::finish(const Vals& sums, Val panel, Val inPanel, int64_t width, Val first,
                        Val end) {
  Val column = panel * (shape_.tiles * kTileRows) + inPanel;
  Val tileThere = column < roundUp(rows_, kTileRows);
  Val addend = biasOf(column, width);
  size_t n = weights_.size();
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    Val there = shape_.tokens > 1 ? tileThere & (first + t < end) : tileThere;
    k_.ifThen(there, [&] {
      Val v = output(ArrayRef<Val>(sums).slice(t * n, n), addend);
      put(v, k_.idx(t), places_[t].out + column, inPanel, width);
    });
  }
}

// Token `token` of the workgroup's; `at` is the element of out unless that takes records.
void Projection::put(Val v, Val token, Val at, Val inPanel, int64_t width) {
  Type elem = width == 4 ? k_.vec(k_.f32(), 4) : k_.f32();
  if (!makesRecords()) {
    at = at / width;
    if (residual) v = v + k_.load(k_.view(residual, elem), at);
    k_.store(v, k_.view(out, elem), at);
  }
  if (!staged() || shape_.ownRows) return;
  // A word of filling behind each group: lanes read groups, each from a bank of its own.
  Val to = inPanel + inPanel / kGroup + token * (stageFloats() / shape_.tokens);
  for (int64_t r = 0; r < width; ++r)
    k_.store(width == 1 ? v : kernels::lane(v, r), stage_, to + r);
}

int64_t Projection::stageFloats() const {
  if (shape_.ownRows) return 2 * shape_.lanes;
  return shape_.tokens * shape_.tiles * kTileRows / kGroup * (kGroup + 1);
}

}  // namespace fathom::kernels::simt
