// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Packing of records, signed weights, and their products group by group.
#include "compiler/kernels/simd/LinearExact.h"

#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

// Steps of K in a stretch: that of a chunk's rows, 24 KB, stays in the L1 cache beside that of a tile
// of weights, 6 KB, and what a block of rows sums, 3 KB.
constexpr int64_t kStretch = 6;
constexpr int64_t kMostRows = 64;
constexpr int64_t kHalfRows = kMatrixRows / 2;
constexpr int64_t kGroupBytes = kTileRows * kGroup;            // of a group of signed weights
constexpr int64_t kStepRows = kMatrixRows * kSuperblock;       // bytes of a step of a block of rows
constexpr int64_t kBlockSums = kMatrixRows * kTileRows;
// A nibble n stands for n - 8, which is 16 (n - 8) as a signed byte in the upper half: no bias.
constexpr int64_t kNibbleFactor = 16;

}  // namespace

bool LinearExact::serves(const TargetProfile& profile, Enc enc, Act act) {
  return profile.amx && act == Act::i8 && (enc == Enc::q4 || enc == Enc::q8);
}

LinearExact::LinearExact(KernelBuilder& k, Enc enc, int64_t cols, int64_t groups)
    : k_(k), layout_(enc, kTileRows, cols) {
  constexpr int64_t kSumBytes = 512 << 10;
  int64_t rows = kSumBytes / (4 * kTiles * kTileRows * groups);
  chunkRows_ = std::clamp(rows / kMatrixRows * kMatrixRows, kMatrixRows, kMostRows);
  int64_t blocks = chunkRows_ / kMatrixRows;
  rows_ = k.scratch(k.i8(), blocks * kStretch * kStepRows);
  factors_ = k.scratch(k.f32(), 4 * (1 + blocks * 2 * kStretch) * kMatrixRows);
  weights_ = k.scratch(k.i8(), 2 * kStretch * kGroupBytes);
  scales_ = k.scratch(k.f32(), 4 * (1 + 2 * kStretch) * kTileRows);
  integers_ = k.scratch(k.i32(), 4 * 2 * kBlockSums);
  sums_ = k.scratch(k.f32(), 4 * groups * kTiles * chunkRows_ * kTileRows);
}

void LinearExact::packRow(Buf act, Val from, Val block, Val row, const Stretch& stretch) {
  Buf factors = k_.view(act, from + layout_.steps * kSuperblock, k_.f32());
  k_.forLoop(k_.idx(0), stretch.count, 1, [&](Val i) {
    Val step = stretch.begin + i, at = block * kStretch + i;
    k_.store(k_.load(act, from + step * kSuperblock, kSuperblock), rows_,
             at * kStepRows + row * kSuperblock);
    for (int64_t group = 0; group < 2; ++group)
      k_.store(k_.load(factors, step * 2 + group), factors_,
               at * (2 * kMatrixRows) + (1 + group) * kMatrixRows + row);
  });
}

void LinearExact::pack(Buf act, Val count, function_ref<Val(Val)> rowAt, const Stretch& stretch) {
  k_.forLoop(k_.idx(0), blocks_, 1, [&](Val block) {
    Val rows = select(block < whole_, k_.idx(kMatrixRows), k_.idx(kHalfRows));
    k_.forLoop(k_.idx(0), rows, 1, [&](Val row) {
      // Rows that are not there repeat the last one; nobody asks for their sums.
      packRow(act, rowAt(min(block * kMatrixRows + row, count - 1)), block, row, stretch);
    });
  });
}

// Signed bytes of the 32 columns of a group, four columns of each output a word, and its scales.
void LinearExact::unpackGroup(const LinearTile::Weight& tile, Val from, Val step, int64_t group) {
  bool nibbles = layout_.enc == Enc::q4;
  int64_t lines = nibbles ? 4 : 8;
  Val to = step * 2 + group;
  Val scale = f16ToF32(k_.load(k_.view(tile.buf, from, k_.i16()), k_.idx(kTileRows * group), 16));
  // A division by a power of two, so that the products' bits are those of scale times factor.
  if (nibbles) scale = scale * (1.0 / kNibbleFactor);
  k_.store(scale, scales_, (to + 1) * kTileRows);
  for (int64_t i = 0; i < lines; ++i) {
    Val line = k_.load(tile.buf, from + (kScaleBytes + 64 * (lines * group + i)), 64);
    auto put = [&](Val bytes, int64_t word) {
      k_.store(bytes ^ -128, weights_, to * kGroupBytes + 64 * word);
    };
    if (nibbles) {
      put(bitcast(shl(bitcast(line, k_.i32()), 4), k_.i8()) & -16, i);
      put(line & -16, 4 + i);
    } else {
      put(line, i);
    }
  }
}

void LinearExact::unpack(const LinearTile::Weight& tile, const Stretch& stretch) {
  k_.forLoop(k_.idx(0), stretch.count, 1, [&](Val step) {
    Val from = tile.at + (stretch.begin + step) * layout_.stepBytes;
    for (int64_t group = 0; group < 2; ++group) unpackGroup(tile, from, step, group);
  });
}

// The integer sums of a group and `rows` rows, into integers_.
void LinearExact::integers(Val block, int64_t rows, Val step, int64_t group) {
  ImplicitLocOpBuilder& b = k_.b();
  auto load = [&](int64_t rows, int64_t columns, Buf buf, Val at) -> Value {
    auto type = amx::TileType::get({rows, columns}, b.getI8Type());
    return amx::TileLoadOp::create(b, type, buf.mem, ValueRange{at.v()}, k_.idx(64).v());
  };
  auto sums = amx::TileType::get({rows, kTileRows}, b.getI32Type());
  Val left = (block * kStretch + step) * kStepRows + kGroup * group;
  Value product = amx::TileMulIOp::create(
      b, sums, load(rows, kGroup, rows_, left),
      load(kGroup / 4, 64, weights_, (step * 2 + group) * kGroupBytes),
      amx::TileZeroOp::create(b, sums), /*isZextLhs=*/false, /*isZextRhs=*/false);
  Val at = k_.idx(group * kBlockSums);
  amx::TileStoreOp::create(b, integers_.mem, ValueRange{at.v()}, product, k_.idx(kTileRows).v());
}

// A block's share of the lines of a step from byte `at` on: those that come too fast wait for a line
// buffer, and what is behind them with them.
void LinearExact::prefetch(const LinearTile::Weight& next, Val block, Val step) {
  constexpr int64_t kLines = 3;
  int64_t lines = layout_.stepBytes / 64;
  Val share = (blocks_ + (lines / kLines - 1)) / blocks_ * kLines;
  Val from = next.at + step * layout_.stepBytes;
  k_.forLoop(block * share, min(block * share + share, k_.idx(lines)), kLines, [&](Val line) {
    for (int64_t i = 0; i < kLines; ++i) k_.prefetch(next.buf, from + (line + i) * 64, 2);
  });
}

void LinearExact::multiplyBlock(Val block, int64_t rows, Val sumsAt, const Stretch& stretch,
                                const LinearTile::Weight& next) {
  Val at = sumsAt + block * kBlockSums;
  Vals acc;
  for (int64_t row = 0; row < rows; ++row)
    acc.push_back(k_.load(sums_, at + kTileRows * row, kTileRows));
  // The sums of a group are scaled while the next ones are made, so that they need not wait for
  // their product; before the first group stands one whose scales are zeros.
  auto scaled = [&](Val index, int64_t group, Vals& sums) {
    Val scale = k_.load(scales_, index * kTileRows, kTileRows);
    Val factors = (block * (2 * kStretch) + index) * kMatrixRows;
    for (int64_t row = 0; row < rows; ++row) {
      Val sum = toFloat(k_.load(integers_, k_.idx(group * kBlockSums + kTileRows * row), kTileRows));
      sums[row] = fma(sum, scale * k_.load(factors_, factors + row), sums[row]);
    }
  };
  acc = k_.forLoop(k_.idx(0), stretch.count, 1, acc, [&](Val step, ArrayRef<Val> in) {
    Vals sums(in);
    prefetch(next, block, step);
    integers(block, rows, step, 0);
    scaled(step * 2, 1, sums);
    integers(block, rows, step, 1);
    scaled(step * 2 + 1, 0, sums);
    return sums;
  });
  scaled(stretch.count * 2, 1, acc);
  for (int64_t row = 0; row < rows; ++row)
    k_.store(acc[row], sums_, at + kTileRows * row);
}

void LinearExact::multiply(Buf act, Val count, function_ref<Val(Val)> rowAt, Val groups,
                           function_ref<Weights(Val)> weightsOf) {
  blocks_ = (count + (kMatrixRows - 1)) / kMatrixRows;
  whole_ = (count + (kMatrixRows - kHalfRows - 1)) / kMatrixRows;
  int64_t tileSums = chunkRows_ * kTileRows;
  k_.forLoop(k_.idx(0), groups * (kTiles * tileSums), tileSums, [&](Val tile) {
    k_.forLoop(tile, tile + blocks_ * kBlockSums, kTileRows,
               [&](Val i) { k_.store(k_.zero(), sums_, i); });
  });
  k_.store(k_.zero(), scales_, k_.idx(0));
  k_.store(k_.zero(), factors_, k_.idx(0));
  Val steps = k_.idx(layout_.steps);
  k_.forLoop(k_.idx(0), steps, kStretch, [&](Val begin) {
    Stretch stretch{begin, min(steps - begin, k_.idx(kStretch))};
    pack(act, count, rowAt, stretch);
    k_.forLoop(k_.idx(0), groups, 1, [&](Val group) {
      // What is asked for meanwhile: the next group, or behind the last one the next stretch.
      Val more = group + 1 < groups, later = begin + kStretch;
      Weights next = weightsOf(select(more, group + 1, k_.idx(0)));
      Val nextBegin = select(more, begin, later) * layout_.stepBytes;
      for (auto [number, tile] : llvm::enumerate(weightsOf(group))) {
        Val sumsAt = (group * kTiles + number) * tileSums;
        next[number].at = next[number].at + nextBegin;
        unpack(tile, stretch);
        k_.forLoop(k_.idx(0), whole_, 1, [&](Val block) {
          multiplyBlock(block, kMatrixRows, sumsAt, stretch, next[number]);
        });
        k_.ifThen(whole_ < blocks_, [&] {
          multiplyBlock(whole_, kHalfRows, sumsAt, stretch, next[number]);
        });
      }
    });
  });
}

Vals LinearExact::sums(Val group, Val p) {
  Vals sums;
  for (int64_t tile = 0; tile < kTiles; ++tile)
    sums.push_back(k_.load(
        sums_, ((group * kTiles + tile) * chunkRows_ + p) * kTileRows, kTileRows));
  return sums;
}

}  // namespace fathom::kernels
