// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums of cache rows weighted by probabilities, by matrix units.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_MATRIXVALUES_H_
#define FATHOM_COMPILER_KERNELS_SIMD_MATRIXVALUES_H_

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/MatrixTile.h"

namespace fathom::kernels {

/// u[h] = sum over tokens t of p(h, t) row[t], for groups of 16 heads and rows of bf16. Rows are
/// right operands as they lie in the cache, 16 tokens of 32 elements. A line of such an operand
/// should hold a pair of tokens and holds one token's pairs of elements, of which a left operand
/// with zeros for the other half picks the even or the odd ones:
///
///   left  [heads][tokens]  words (p, 0)         (0, p)
///   right [tokens][16 words of 2 elements]
///   sum   [heads]          elements 0, 2 .. 30  1, 3 .. 31
///
/// That takes twice the products and is still less work than to interleave pairs of rows.
///
/// Sums are made in tiles and added to those in `sum`, a chunk of 64 elements at a time.
class MatrixValues {
 public:
  static constexpr int64_t kGroup = 16, kChunk = 64, kPair = 32;

  /// For `heads` (a multiple of 16), `width` elements (a multiple of 32) and blocks of `tokens`.
  MatrixValues(KernelBuilder& k, int64_t heads, int64_t width, int64_t tokens);

  int64_t chunks() const { return ceilDiv(width_, kChunk); }
  void clear();
  /// p of 16 tokens of head `group` (a multiple of 16) + h, as bf16 in the low half of each lane.
  void weigh(Val group, int64_t h, Val token, Val p);
  /// Multiplies what was summed for head `group` + h by alpha[group + h].
  void rescale(Val group, int64_t heads, Buf alpha);

  /// What matrixProduct adds: of `tokens` tokens, from `token` of the block on, those from word
  /// `at` of `halves` on, `columns` (32 or 64) elements of rows of `lineWords`.
  MatrixTerm term(Val group, Val token, int64_t tokens, Buf halves, Val at, int64_t lineWords,
                  int64_t columns) const;
  /// And where to.
  MatrixSums sums(Val group, Val chunk) const;

  /// Gives use(i, v) all elements i .. i + 15 of head h's u.
  void read(Val h, llvm::function_ref<void(Val i, Val v)> use) const;

 private:
  static constexpr int64_t kChunkSums = kGroup * kChunk;
  int64_t headSums() const { return chunks() * kChunk; }

  KernelBuilder& k_;
  int64_t heads_, width_, tokens_;
  Buf weight_, weightHalves_;  // words [groups][even, odd][16 heads][tokens]
  Buf sum_;                    // f32 [groups][chunks][even, odd][16 heads][32]
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_MATRIXVALUES_H_
