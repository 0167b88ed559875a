// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The loops around the register tiles of a projection, and its epilogues.
#include "compiler/kernels/simd/LinearPanel.h"

namespace fathom::kernels {

LinearConfig LinearConfig::read(KernelBuilder& k, llvm::ArrayRef<llvm::StringRef> epilogues) {
  Config& cfg = k.cfg();
  LinearConfig c;
  c.rows = cfg.in("rows", 1, kMaxExtent);
  c.cols = cfg.in("cols", 1, kMaxExtent);
  c.enc = readEnc(cfg);
  c.act = readAct(cfg);
  c.actStride = cfg.in("act_stride", 4, kMaxStride, 4);
  c.outLd = cfg.in("out_ld", roundUp(c.rows, kTileRows), kMaxStride);
  c.panelTiles = cfg.in("panel_tiles", 1, kMaxExtent);
  c.swiglu = epilogues[cfg.oneOf("epilogue", epilogues)] == "swiglu";
  if (!cfg.failed())
    cfg.require(
        LinearTile::allowed(c.enc, c.act),
        "config entry 'act' must be 'f32', 'bf16' with enc = 'bf16', or 'i8' with enc = 'q8' or "
        "'q4', found '" +
            cfg.s("act") + "' with enc = '" + cfg.s("enc") + "'");
  return c;
}

// The loops, outermost first: chunks of tokens whose activations stay in the L2 cache beside the
// panel's weights; groups of tiles, so that weights come from memory once and from the cache for
// the tokens behind the first; then tokens, many rows at a time. The rest of the tokens goes 4, 2,
// 1 at a time and tile by tile, which with a single token is one sequential stream through the
// panel.
void LinearPanel::emit(KernelBuilder& k, Val panel, Val begin, Val end,
                       llvm::function_ref<Row(Val)> at) const {
  LinearTile tile(k, config.enc, config.act, config.cols);
  int64_t many = tile.manyRows();
  // With swiglu the second tile of a register tile is the same rows of the second weight.
  int64_t group = config.swiglu ? 1 : tile.manyTiles();
  int64_t allTiles = ceilDiv(config.rows, kTileRows);
  Val first = panel * config.panelTiles;
  Val last = min(first + config.panelTiles, k.idx(allTiles));

  auto block = [&](Val p, int64_t rows, llvm::ArrayRef<Val> tiles) {
    llvm::SmallVector<Row, 8> places;
    for (int64_t m = 0; m < rows; ++m) places.push_back(at(p + m));
    emitBlock(k, tile, places, tiles);
  };
  // Every chunk but the last is a multiple of `many`.
  constexpr int64_t kChunkBytes = 256 << 10;
  int64_t chunk = std::max<int64_t>(1, kChunkBytes / config.actStride / many) * many;
  k.forLoop(begin, end, chunk, [&](Val from) {
    Val to = min(from + chunk, end);
    Val wholeEnd = to - (to - from) % many;
    Val rest = to - wholeEnd;
    k.forLoop(first, last, group, [&](Val t) {
      Vals tiles{t};
      // An odd last tile is computed twice, to the same values.
      for (int64_t j = 1; j < group; ++j) tiles.push_back(min(t + j, last - 1));
      k.forLoop(from, wholeEnd, many, [&](Val p) { block(p, many, tiles); });
      k.ifThen(rest > 0, [&] {
        k.forLoop(t, min(t + group, last), 1, [&](Val single) {
          for (int64_t rows : {4, 2, 1}) {
            if (rows >= many) continue;
            // The bits of `rest` (at most 7) say which blocks it is made of, the larger before.
            Val bits = rest / (2 * rows) * (2 * rows);
            k.ifThen((rest & rows) != 0, [&] { block(wholeEnd + bits, rows, {single}); });
          }
        });
      });
    });
  });
}

void LinearPanel::emitBlock(KernelBuilder& k, LinearTile& tile, llvm::ArrayRef<Row> rows,
                            llvm::ArrayRef<Val> tiles) const {
  Vals acts;
  for (const Row& row : rows) acts.push_back(row.act);
  int64_t tileBytes = WeightLayout(config.enc, kTileRows, config.cols).tileBytes;
  llvm::SmallVector<LinearTile::Weight, 4> first, second;
  for (Val t : tiles) {
    first.push_back({weight, matrix + t * tileBytes});
    if (config.swiglu) second.push_back({weight2, matrix + t * tileBytes});
  }
  size_t n = tiles.size();
  Vals sums, ups;
  if (config.swiglu && static_cast<int64_t>(rows.size()) == tile.manyRows() &&
      tile.manyTiles() == 2) {
    Vals both = tile.sums(act, acts, {first[0], second[0]});
    for (size_t m = 0; m < rows.size(); ++m) {
      sums.push_back(both[2 * m]);
      ups.push_back(both[2 * m + 1]);
    }
  } else {
    sums = tile.sums(act, acts, first);
    if (config.swiglu) ups = tile.sums(act, acts, second);
  }
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
    for (size_t j = 0; j < n; ++j)
      k.store(sums[m * n + j], out, rows[m].out + tiles[j] * kTileRows);
}

}  // namespace fathom::kernels
