// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Packing of records and weights into tiles of bf16, and their products.
#include "compiler/kernels/simd/LinearMatrix.h"

namespace fathom::kernels {
namespace {

// Steps of K in a stretch: the weights of kTiles tiles, 16 KB, stay in the L1 cache beside the rows
// and sums of a block, 4 KB each.
constexpr int64_t kStretch = 2;
constexpr int64_t kStepWords = kSuperblock / 2;
constexpr int64_t kTileWords = kStretch * kStepWords * kTileRows;
// A row's part of a stretch, and that of a block of rows. They follow each other as they are
// multiplied; whole rows would lie a power of two apart, in the same cache sets.
constexpr int64_t kRowWords = kStretch * kStepWords;
constexpr int64_t kBlockWords = kMatrixRows * kRowWords;
constexpr int64_t kSumColumns = LinearMatrix::kTiles * kTileRows;
constexpr int64_t kBlockSums = kMatrixRows * kSumColumns;

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

LinearMatrix::LinearMatrix(KernelBuilder& k, Enc enc, int64_t cols, int64_t groups)
    : k_(k), layout_(enc, kTileRows, cols), steps_(ceilDiv(cols, kSuperblock)) {
  constexpr int64_t kSumBytes = 512 << 10, kMostRows = 256;
  int64_t rows = kSumBytes / (4 * kSumColumns * groups);
  chunkRows_ = std::clamp(rows / kMatrixRows * kMatrixRows, kMatrixRows, kMostRows);
  auto both = [&](int64_t words, Buf* halves) {
    Buf bytes = k.scratch(k.i8(), 4 * words);
    *halves = k.view(bytes, k.idx(0), k.b().getBF16Type());
    return k.view(bytes, k.idx(0), k.i32());
  };
  rows_ = both(chunkRows_ * kRowWords, &rowHalves_);
  if (enc != Enc::bf16) weights_ = both(kTiles * kTileWords, &weightHalves_);
  sums_ = k.scratch(k.f32(), 4 * groups * chunkRows_ * kSumColumns);
}

// `steps` steps of the row that begins at byte `from`, to words from `to` on.
void LinearMatrix::packRow(Buf act, Val from, Val to, Val begin, int64_t steps) {
  bool pairs = layout_.enc == Enc::bf16;
  Buf words = k_.view(act, from, k_.i32());
  Buf factors = k_.view(act, from + steps_ * kSuperblock, k_.f32());
  for (int64_t i = 0; i < steps; ++i) {
    Val step = begin + i, at = to + i * kStepWords;
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
  }
}

void LinearMatrix::pack(Buf act, Val count, llvm::function_ref<Val(Val)> rowAt, Val begin,
                        int64_t steps) {
  k_.forLoop(k_.idx(0), blocks_ * kMatrixRows, 1, [&](Val row) {
    // Rows that are not there repeat the last one; nobody asks for their sums.
    packRow(act, rowAt(min(row, count - 1)), row * kRowWords, begin, steps);
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
        Val pair =
            roundedPair(value(word, 8 * byte + 4 * nibble), value(word, 8 * byte + 8 + 4 * nibble));
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

void LinearMatrix::multiplyGroup(Val group, llvm::ArrayRef<LinearTile::Weight> tiles, Val begin,
                                 int64_t steps) {
  MatrixTerm term;
  for (auto [number, tile] : llvm::enumerate(tiles)) {
    if (layout_.enc == Enc::bf16) {
      Buf halves = k_.view(tile.buf, tile.at, k_.b().getBF16Type());
      term.right.push_back({halves, begin * (kStepWords * kTileRows), kTileRows});
    } else {
      unpack(tile, number, begin, steps);
      term.right.push_back({weightHalves_, k_.idx(number * kTileWords), kTileRows});
    }
  }
  term.words = steps * kStepWords;
  Val first = group * (chunkRows_ * kSumColumns);
  k_.forLoop(k_.idx(0), blocks_, 1, [&](Val block) {
    term.left = {{rowHalves_, block * (2 * kBlockWords), k_.idx(2 * kRowWords)}};
    matrixProduct(k_, term,
                  {sums_, first + block * kBlockSums, k_.idx(kSumColumns),
                   /*accumulate=*/true});
  });
}

void LinearMatrix::multiply(Buf act, Val count, llvm::function_ref<Val(Val)> rowAt, Val groups,
                            llvm::function_ref<Weights(Val)> weightsOf) {
  blocks_ = (count + (kMatrixRows - 1)) / kMatrixRows;
  k_.forLoop(k_.idx(0), groups, 1, [&](Val group) {
    Val from = group * (chunkRows_ * kSumColumns);
    k_.forLoop(from, from + blocks_ * kBlockSums, kTileRows,
               [&](Val i) { k_.store(k_.zero(), sums_, i); });
  });
  auto stretch = [&](Val begin, int64_t steps) {
    pack(act, count, rowAt, begin, steps);
    k_.forLoop(k_.idx(0), groups, 1,
               [&](Val group) { multiplyGroup(group, weightsOf(group), begin, steps); });
  };
  int64_t whole = steps_ / kStretch * kStretch;
  k_.forLoop(k_.idx(0), k_.idx(whole), kStretch, [&](Val begin) { stretch(begin, kStretch); });
  if (whole < steps_) stretch(k_.idx(whole), steps_ - whole);
}

Vals LinearMatrix::sums(Val group, Val p) {
  Vals sums;
  Val from = group * (chunkRows_ * kSumColumns) + p * kSumColumns;
  for (int64_t tile = 0; tile < kTiles; ++tile)
    sums.push_back(k_.load(sums_, from + tile * kTileRows, kTileRows));
  return sums;
}

}  // namespace fathom::kernels
