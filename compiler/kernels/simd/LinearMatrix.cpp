// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Packing of records and weights into tiles of bf16, and their products.
#include "compiler/kernels/simd/LinearMatrix.h"

namespace fathom::kernels {
namespace {

// Steps of K that are multiplied before the next are unpacked: the weights of kTiles tiles, 32 KB,
// and the rows of a block, 8 KB, stay in the L1 cache.
constexpr int64_t kStretch = 4;
constexpr int64_t kStepWords = kSuperblock / 2;
constexpr int64_t kTileWords = kStretch * kStepWords * kTileRows;
// A row's part of a stretch, and that of a block of rows. They follow each other as they are
// multiplied; whole rows would lie a power of two apart, in the same cache sets.
constexpr int64_t kRowWords = kStretch * kStepWords;
constexpr int64_t kBlockWords = kMatrixRows * kRowWords;
constexpr int64_t kSumColumns = LinearMatrix::kTiles * kTileRows;

// Two vectors of float32 as bf16 pairs, rounded to nearest (ties away from 0). No NaNs.
Val roundedPair(Val lo, Val hi) {
  ValueBuilder& k = lo.k();
  auto rounded = [&](Val v) { return bitcast(v, k.i32()) + 0x8000; };
  return shr(rounded(lo), 16) | (rounded(hi) & -65536);
}

}  // namespace

bool LinearMatrix::serves(const TargetProfile& profile, Enc enc, Act act, int64_t cols) {
  if (!profile.amx) return false;
  if (act == Act::bf16) return enc == Enc::bf16 && cols % kSuperblock == 0;
  return act == Act::i8 && (enc == Enc::q4 || enc == Enc::q8);
}

int64_t LinearMatrix::chunkRows(int64_t cols) {
  constexpr int64_t kBytes = 1 << 20, kMostRows = 256;
  int64_t rowBytes = 2 * roundUp(cols, kSuperblock);
  return std::clamp(kBytes / rowBytes / kMatrixRows * kMatrixRows, kMatrixRows, kMostRows);
}

LinearMatrix::LinearMatrix(KernelBuilder& k, Enc enc, int64_t cols)
    : k_(k), layout_(enc, kTileRows, cols), steps_(ceilDiv(cols, kSuperblock)) {
  int64_t rows = chunkRows(cols);
  auto both = [&](int64_t words, Buf* halves) {
    Buf bytes = k.scratch(k.i8(), 4 * words);
    *halves = k.view(bytes, k.idx(0), k.b().getBF16Type());
    return k.view(bytes, k.idx(0), k.i32());
  };
  stretchWords_ = rows / kMatrixRows * kBlockWords;
  rows_ = both(ceilDiv(steps_, kStretch) * stretchWords_, &rowHalves_);
  if (enc != Enc::bf16) weights_ = both(kTiles * kTileWords, &weightHalves_);
  sums_ = k.scratch(k.f32(), 4 * rows * kSumColumns);
}

// Steps [begin, end) of the row that begins at byte `from`, to words from `to` on.
void LinearMatrix::packRow(Buf act, Val from, Val to, Val begin, Val end) {
  bool pairs = layout_.enc == Enc::bf16;
  Buf words = k_.view(act, from, k_.i32());
  Buf factors = k_.view(act, from + steps_ * kSuperblock, k_.f32());
  k_.forLoop(begin, end, 1, [&](Val step) {
    Val at = to + (step - begin) * kStepWords;
    for (int64_t half = 0; half < 2; ++half) {
      Val v;
      if (pairs) {
        v = k_.load(words, step * kStepWords + 16 * half, 16);
      } else {
        Val factor = splat(k_.load(factors, step * 2 + half));
        Val bf16[2];
        for (int64_t i = 0; i < 2; ++i) {
          Val bytes = k_.load(act, from + (step * kSuperblock + (kGroup * half + 16 * i)), 16);
          bf16[i] = f32ToBf16(toFloat(sext(bytes, k_.i32())) * factor);
        }
        v = bitcast(concat(bf16[0], bf16[1]), k_.i32());
      }
      k_.store(v, rows_, at + 16 * half);
    }
  });
}

void LinearMatrix::pack(Buf act, Val count, llvm::function_ref<Val(Val)> rowAt) {
  blocks_ = (count + (kMatrixRows - 1)) / kMatrixRows;
  // A stretch of 16 rows at a time, which stays in the L1 cache until its lines are whole.
  k_.forLoop(k_.idx(0), blocks_, 1, [&](Val block) {
    k_.forLoop(k_.idx(0), k_.idx(steps_), kStretch, [&](Val begin) {
      Val end = min(begin + kStretch, k_.idx(steps_));
      k_.forLoop(k_.idx(0), k_.idx(kMatrixRows), 1, [&](Val row) {
        // Rows that are not there repeat the last one; nobody asks for their sums.
        Val from = rowAt(min(block * kMatrixRows + row, count - 1));
        Val to = begin / kStretch * stretchWords_ + block * kBlockWords + row * kRowWords;
        packRow(act, from, to, begin, end);
      });
    });
  });
}

// The 32 columns of a group of the superblock at byte `from`, to 16 lines from word `to` on.
void LinearMatrix::unpackGroup(const LinearTile::Weight& tile, Val from, int64_t group, Val to) {
  bool nibbles = layout_.enc == Enc::q4;
  int64_t lines = nibbles ? 4 : 8;
  Buf halves = k_.view(tile.buf, from, k_.i16());
  Val scale = f16ToF32(k_.load(halves, k_.idx(kTileRows * group), kTileRows));
  Buf words = k_.view(tile.buf, from + (kScaleBytes + 64 * lines * group), k_.i32());
  // The low four bits of 128.0's upper half count in ones: 128 + n without a conversion.
  Val zero = scale * (nibbles ? -136.0 : -128.0);
  auto value = [&](Val word, int64_t shift) {
    if (!nibbles) return fma(toFloat((shift ? shr(word, shift) : word) & 255), scale, zero);
    Val moved = shift < 16 ? shl(word, 16 - shift) : shift > 16 ? shr(word, shift - 16) : word;
    return fma(bitcast((moved & 0x000f0000) | 0x43000000, k_.f32()), scale, zero);
  };
  for (int64_t at = 0; at < lines; ++at) {
    Val word = k_.load(words, k_.idx(kTileRows * at), kTileRows);
    for (int64_t nibble = 0; nibble < (nibbles ? 2 : 1); ++nibble)
      for (int64_t byte = 0; byte < 4; byte += 2) {
        Val pair = roundedPair(value(word, 8 * byte + 4 * nibble),
                               value(word, 8 * byte + 8 + 4 * nibble));
        k_.store(pair, weights_, to + (2 * at + byte / 2 + 8 * nibble) * kTileRows);
      }
  }
}

void LinearMatrix::unpack(const LinearTile::Weight& tile, int64_t number, Val begin,
                          int64_t steps) {
  k_.forLoop(k_.idx(0), k_.idx(steps), 1, [&](Val step) {
    Val from = tile.at + (begin + step) * layout_.stepBytes;
    Val to = step * (kStepWords * kTileRows) + number * kTileWords;
    // The next stretch arrives while this one is multiplied.
    for (int64_t line = 0; line < layout_.stepBytes; line += 64)
      k_.prefetch(tile.buf, from + (kStretch * layout_.stepBytes + line));
    for (int64_t group = 0; group < 2; ++group)
      unpackGroup(tile, from, group, to + group * (kStepWords / 2 * kTileRows));
  });
}

void LinearMatrix::multiplyStretch(llvm::ArrayRef<LinearTile::Weight> tiles, Val begin,
                                   int64_t steps) {
  llvm::SmallVector<MatrixOperand, kTiles> right;
  for (auto [number, tile] : llvm::enumerate(tiles)) {
    if (layout_.enc == Enc::bf16) {
      Buf halves = k_.view(tile.buf, tile.at, k_.b().getBF16Type());
      right.push_back({halves, begin * (kStepWords * kTileRows), kTileRows});
    } else {
      unpack(tile, number, begin, steps);
      right.push_back({weightHalves_, k_.idx(number * kTileWords), kTileRows});
    }
  }
  k_.forLoop(k_.idx(0), blocks_, 1, [&](Val block) {
    Val at = (begin / kStretch * stretchWords_ + block * kBlockWords) * 2;
    matrixProduct(k_, rowHalves_, at, k_.idx(2 * kRowWords), right, steps * kStepWords, sums_, block * (kMatrixRows * kSumColumns),
                  k_.idx(kSumColumns), /*accumulate=*/true);
  });
}

void LinearMatrix::multiply(llvm::ArrayRef<LinearTile::Weight> tiles) {
  k_.forLoop(k_.idx(0), blocks_ * (kMatrixRows * kSumColumns), kTileRows,
             [&](Val i) { k_.store(k_.zero(), sums_, i); });
  int64_t whole = steps_ / kStretch * kStretch;
  k_.forLoop(k_.idx(0), k_.idx(whole), kStretch,
             [&](Val begin) { multiplyStretch(tiles, begin, kStretch); });
  if (whole < steps_) multiplyStretch(tiles, k_.idx(whole), steps_ - whole);
}

Vals LinearMatrix::sums(Val p) {
  Vals sums;
  for (int64_t tile = 0; tile < kTiles; ++tile)
    sums.push_back(k_.load(sums_, p * kSumColumns + tile * kTileRows, kTileRows));
  return sums;
}

}  // namespace fathom::kernels
