// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The loops around the register tiles of a projection, and its epilogues.
#include "compiler/kernels/simd/LinearPanel.h"

#include "compiler/kernels/simd/LinearExact.h"
#include "compiler/kernels/simd/LinearMatrix.h"

namespace fathom::kernels {

LinearConfig LinearConfig::read(KernelBuilder& k, llvm::ArrayRef<llvm::StringRef> epilogues,
                                int64_t matrices) {
  Config& cfg = k.cfg();
  LinearConfig c;
  c.rows = cfg.in("rows", 1, kMaxExtent);
  c.cols = cfg.in("cols", 1, kMaxExtent);
  c.enc = readEnc(cfg);
  c.act = readAct(cfg);
  c.actStride = cfg.in("act_stride", 4, kMaxStride, 4);
  c.panelTiles = cfg.in("panel_tiles", 1, kMaxExtent);
  llvm::StringRef epilogue = epilogues[cfg.oneOf("epilogue", epilogues)];
  c.swiglu = epilogue == "swiglu";
  llvm::StringRef form = cfg.s("form", "few");
  c.many = form == "many";
  c.exact = form == "exact";
  cfg.require(c.many || c.exact || form == "few",
              "config entry 'form' must be 'few', 'many' or 'exact', found '" + form + "'");
  c.records = RowOutput::read(cfg, "out_act", "out_stride", matrices * c.rows, kMaxStride);
  c.outLd = c.records ? 0 : cfg.in("out_ld", roundUp(c.rows, kTileRows), kMaxStride);
  if (cfg.failed()) return c;
  cfg.require(LinearTile::allowed(c.enc, c.act),
              "config entry 'act' must be 'f32', 'bf16' with enc = 'bf16', or 'i8' with enc = 'q8' "
              "or 'q4', found '" +
                  cfg.s("act") + "' with enc = '" + cfg.s("enc") + "'");
  if (!c.records) return c;
  cfg.require(c.records.isRecord() && epilogue != "residual",
              "config entry 'out_act' must be 'bf16' or 'i8', without epilogue = 'residual'");
  cfg.require(c.rows % 32 == 0 && c.records.width % 64 == 0 && c.panelTiles % 2 == 0,
              "out_act needs rows in multiples of 32, 64 of them in all, and an even panel_tiles");
  return c;
}

HeadRecords HeadRecords::read(KernelBuilder& k, int64_t rows) {
  Config& cfg = k.cfg();
  HeadRecords h;
  if (cfg.s("head_act", "none") == "none") return h;
  int64_t cols = cfg.in("head_cols", 32, kMaxExtent, 32);
  h.form = RowOutput::read(cfg, "head_act", "head_act_stride", cols, kMaxStride);
  h.heads = cfg.in("heads", 1, 1 << 16);
  h.width = cfg.in("head_width", cols, kMaxExtent, 32);
  h.headStride = cfg.in("head_act_batch_stride", rowBytes(h.form.form, cols), kMaxStride, 64);
  if (cfg.failed()) return h;
  cfg.require(h.form.isRecord() && h.heads * h.width <= rows && cfg.i("panel_tiles") % 2 == 0,
              "head_act must be 'bf16' or 'i8', heads x head_width at most rows and panel_tiles "
              "even");
  return h;
}

void LinearPanel::start(KernelBuilder& k, Val panel, int64_t chunk) {
  first_ = panel * config.panelTiles;
  last_ = min(first_ + config.panelTiles, k.idx(ceilDiv(config.rows, kTileRows)));
  if (config.records) staged_ = k.scratch(k.f32(), 4 * chunk * panelColumns());
}

void LinearPanel::emit(KernelBuilder& k, Val panel, Val begin, Val end,
                       llvm::function_ref<Row(Val)> at) {
  constexpr int64_t kChunkBytes = 256 << 10, kStagedBytes = 64 << 10;
  int64_t many = LinearTile(k, config.enc, config.act, config.cols).manyRows();
  int64_t groups = ceilDiv(config.panelTiles, matrixGroup());
  if (!config.many || !LinearMatrix::serves(k.profile(), config.enc, config.act, config.cols)) {
    // Every chunk but the last is a multiple of `many`.
    int64_t chunk = std::max<int64_t>(1, kChunkBytes / config.actStride / many) * many;
    if (config.records)
      chunk = std::clamp(kStagedBytes / (4 * panelColumns()) / many * many, many, chunk);
    if (!config.exact || !LinearExact::serves(k.profile(), config.enc, config.act)) {
      start(k, panel, chunk);
      emitVectors(k, begin, end, chunk, at);
      return;
    }
    LinearExact matrices(k, config.enc, config.cols, groups);
    start(k, panel, std::max(chunk, matrices.chunkRows()));
    Val rows = end - begin, fewest = k.idx(LinearExact::kFewest);
    k.ifThen(rows < fewest, [&] { emitVectors(k, begin, end, chunk, at); });
    k.ifThen(rows >= fewest, [&] { emitMatrices(k, matrices, begin, end, at); });
    return;
  }
  LinearMatrix matrices(k, config.enc, config.cols, groups);
  start(k, panel, matrices.chunkRows());
  emitMatrices(k, matrices, begin, end, at);
}

// Chunks of rows: the products of all of the panel's groups of tiles, then what becomes of them.
template <typename Matrices>
void LinearPanel::emitMatrices(KernelBuilder& k, Matrices& matrices, Val begin, Val end,
                               Places at) const {
  int64_t tileBytes = WeightLayout(config.enc, kTileRows, config.cols).tileBytes;
  int64_t group = matrixGroup();
  // Where the panel ends within a group, its last tile is computed again, to the same values.
  auto tilesOf = [&](Val number) {
    Vals tiles;
    for (int64_t j = 0; j < group; ++j)
      tiles.push_back(min(first_ + number * group + j, last_ - 1));
    return tiles;
  };
  auto weightsOf = [&](Val number) {
    typename Matrices::Weights weights;
    Vals tiles = tilesOf(number);
    for (Val t : tiles) weights.push_back({weight, matrix + t * tileBytes});
    if (config.swiglu)
      for (Val t : tiles) weights.push_back({weight2, matrix + t * tileBytes});
    return weights;
  };
  Val groups = (last_ - first_ + (group - 1)) / group;
  int64_t chunk = matrices.chunkRows();
  k.forLoop(begin, end, chunk, [&](Val from) {
    Val to = min(from + chunk, end);
    matrices.multiply(
        act, to - from, [&](Val p) { return at(from + p).act; }, groups, weightsOf);
    k.forLoop(from, to, 1, [&](Val p) {
      Row row = at(p);
      k.forLoop(k.idx(0), groups, 1, [&](Val number) {
        Vals all = matrices.sums(number, p - from);
        Vals sums(all.begin(), all.begin() + group), ups(all.begin() + group, all.end());
        finishBlock(k, {row}, p - from, tilesOf(number), sums, ups);
      });
      if (config.records || heads.form) writeRecords(k, row, p - from);
    });
  });
}

// The loops, outermost first: chunks of tokens whose activations stay in the L2 cache beside the
// panel's weights; groups of tiles, so that weights come from memory once and from the cache for
// the tokens behind the first; then tokens, many rows at a time. The rest of the tokens goes 4 and
// 2 at a time; a token without others goes through the panel in a way of its own.
void LinearPanel::emitVectors(KernelBuilder& k, Val begin, Val end, int64_t chunk,
                              Places at) const {
  LinearTile tile(k, config.enc, config.act, config.cols);
  int64_t many = tile.manyRows();
  // With swiglu the second tile of a register tile is the same rows of the second weight.
  int64_t group = config.swiglu ? 1 : tile.manyTiles();

  k.forLoop(begin, end, chunk, [&](Val from) {
    Val to = min(from + chunk, end);
    // An odd last row is computed twice, to the same values; a single one is a matter of its own.
    Val rows = (to - from + 1) / 2 * 2, last = to - 1, single = to - from == 1;
    rows = select(single, k.idx(0), rows);
    Val rest = rows % many;
    // 8 rows are twice 4, each time long enough for half of the weights that come next to arrive.
    if (many == 6) rest = select((rest == 2) & (rows > many), k.idx(8), rest);
    Val wholeEnd = from + (rows - rest);
    auto block = [&](Val p, int64_t rows, llvm::ArrayRef<Val> tiles, bool behind = false) {
      llvm::SmallVector<Row, 8> places;
      for (int64_t m = 0; m < rows; ++m) places.push_back(at(min(p + m, last)));
      emitBlock(k, tile, places, p - from, tiles, behind);
    };
    k.forLoop(first_, last_, group, [&](Val t) {
      Vals tiles{t};
      // An odd last tile is computed twice, to the same values.
      for (int64_t j = 1; j < group; ++j) tiles.push_back(min(t + j, last_ - 1));
      k.forLoop(from, wholeEnd, many, [&](Val p) { block(p, many, tiles); });
      if (many == 6) {
        k.ifThen(rest >= 4, [&] { block(wholeEnd, 4, tiles); });
        k.ifThen(rest == 8, [&] { block(wholeEnd + 4, 4, tiles, /*behind=*/true); });
      }
      k.ifThen((rest & 2) != 0, [&] { block(wholeEnd + (rest & 4), 2, tiles); });
    });
    k.ifThen(single, [&] { emitSingle(k, tile, at(from), k.idx(0)); });
    if (config.records || heads.form)
      k.forLoop(from, to, 1, [&](Val p) { writeRecords(k, at(p), p - from); });
  });
}

void LinearPanel::emitRow(KernelBuilder& k, Val panel, const Row& row) {
  LinearTile tile(k, config.enc, config.act, config.cols);
  start(k, panel, 1);
  emitSingle(k, tile, row, k.idx(0));
  if (config.records || heads.form) writeRecords(k, row, k.idx(0));
}

// Whether two tiles of weights go through these rows together.
bool LinearPanel::besideEachOther(const KernelBuilder& k, const LinearTile& tile, size_t rows) {
  return tile.manyTiles() == 2 && (rows > 1 || k.profile().weightStreams == 2);
}

// A single row has its weights from memory, in one stream or, where that is faster, two beside each
// other, each going on where it is: the weights of swiglu, or the halves of the panel.
void LinearPanel::emitSingle(KernelBuilder& k, LinearTile& tile, const Row& row, Val staged) const {
  int64_t tileBytes = WeightLayout(config.enc, kTileRows, config.cols).tileBytes;
  bool halves = !config.swiglu && besideEachOther(k, tile, 1);
  Val length = halves ? (last_ - first_ + 1) / 2 : last_ - first_;
  auto tilesFrom = [&](Val t) {
    Vals tiles{t};
    // Without a partner a tile is its own: one written before could not be written again, since the
    // residual may be where it went.
    if (halves) tiles.push_back(select(t + length < last_, t + length, t));
    return tiles;
  };
  llvm::SmallVector<LinearTile::Weight, 2> streams;
  for (Val t : tilesFrom(first_)) streams.push_back({weight, matrix + t * tileBytes});
  if (config.swiglu) streams.push_back({weight2, matrix + first_ * tileBytes});
  tile.open(streams);
  k.forLoop(first_, first_ + length, 1,
            [&](Val t) { emitBlock(k, tile, {row}, staged, tilesFrom(t)); });
}

// Once the panel's columns of a row are there, whole groups of 32 become records.
void LinearPanel::writeRecords(KernelBuilder& k, const Row& row, Val staged) const {
  Val columns = (last_ - first_) * kTileRows, column0 = first_ * kTileRows;
  auto writer = [&](const RowOutput& output, Buf buf, Val at) {
    return RecordWriter(k, output.form, buf, at, output.width);
  };
  if (config.records) {
    RecordWriter record = writer(config.records, out, row.out);
    Val from = staged * panelColumns();
    k.forLoop(k.idx(0), columns, 32, [&](Val i) {
      record.put(recordColumn + column0 + i, k.load(staged_, from + i, 16),
                 k.load(staged_, from + i + 16, 16));
    });
    return;
  }
  Val all = k.idx(heads.heads * heads.width);
  k.forLoop(column0, min(column0 + columns, all), 32, [&](Val column) {
    Val head = column / heads.width, i = column % heads.width;
    k.ifThen(i < heads.form.width, [&] {
      RecordWriter record =
          writer(heads.form, heads.out, row.token * heads.form.stride + head * heads.headStride);
      record.put(i, k.load(out, row.out + column, 16), k.load(out, row.out + column + 16, 16));
      k.ifThen(i == heads.form.width - 32, [&] { record.fill(); });
    });
  });
}

// `staged` is the first row's place in staged_. Rows `behind` others find the tiles in the cache.
void LinearPanel::emitBlock(KernelBuilder& k, LinearTile& tile, llvm::ArrayRef<Row> rows,
                            Val staged, llvm::ArrayRef<Val> tiles, bool behind) const {
  Vals acts;
  for (const Row& row : rows) acts.push_back(row.act);
  int64_t tileBytes = WeightLayout(config.enc, kTileRows, config.cols).tileBytes;
  llvm::SmallVector<LinearTile::Weight, 4> first, second;
  for (Val t : tiles) {
    first.push_back({weight, matrix + t * tileBytes});
    if (config.swiglu) second.push_back({weight2, matrix + t * tileBytes});
  }
  // The last of the tiles that come next.
  LinearTile::Weight later = config.swiglu ? second.back() : first.back();
  later.at = later.at + static_cast<int64_t>(tiles.size()) * tileBytes;
  Vals sums, ups;
  if (config.swiglu && besideEachOther(k, tile, rows.size())) {
    Vals both = tile.sums(act, acts, {first[0], second[0]}, behind ? &later : nullptr);
    for (size_t m = 0; m < rows.size(); ++m) {
      sums.push_back(both[2 * m]);
      ups.push_back(both[2 * m + 1]);
    }
  } else {
    sums = tile.sums(act, acts, first, behind ? &later : nullptr);
    if (config.swiglu) ups = tile.sums(act, acts, second);
  }
  finishBlock(k, rows, staged, tiles, std::move(sums), ups);
}

// What becomes of the sums: sums[m * tiles.size() + j] of row m and tile j.
void LinearPanel::finishBlock(KernelBuilder& k, llvm::ArrayRef<Row> rows, Val staged,
                              llvm::ArrayRef<Val> tiles, Vals sums, llvm::ArrayRef<Val> ups) const {
  size_t n = tiles.size();
  if (config.swiglu)
    for (auto [gate, up] : llvm::zip_equal(sums, ups)) gate = silu(gate) * up;
  for (size_t j = 0; j < n; ++j) {
    Val column = tiles[j] * kTileRows;
    if (!bias.mem) continue;
    Val count = config.rows % kTileRows ? k.idx(config.rows) - column : Val();
    Val add = k.load(bias, column, kTileRows, count);
    for (size_t m = 0; m < rows.size(); ++m) sums[m * n + j] = sums[m * n + j] + add;
  }
  // All of the residual is read before anything is written: it may be out itself.
  if (residual.mem)
    for (size_t m = 0; m < rows.size(); ++m)
      for (size_t j = 0; j < n; ++j) {
        Val& sum = sums[m * n + j];
        sum = sum + k.load(residual, rows[m].out + tiles[j] * kTileRows, kTileRows);
      }
  for (size_t m = 0; m < rows.size(); ++m)
    for (size_t j = 0; j < n; ++j) {
      if (config.records)
        k.store(sums[m * n + j], staged_,
                (staged + m) * panelColumns() + (tiles[j] - first_) * kTileRows);
      else
        k.store(sums[m * n + j], out, rows[m].out + tiles[j] * kTileRows);
    }
}

}  // namespace fathom::kernels
