// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The inner products of `experts` for many rows by integer matrix units, with the sums of vectors.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_LINEAREXACT_H
#define FATHOM_COMPILER_KERNELS_SIMD_LINEAREXACT_H

#include "compiler/kernels/simd/LinearTile.h"
#include "compiler/kernels/simd/MatrixTile.h"

namespace fathom::kernels {

/// As LinearMatrix does it, but a tile of products is 16 rows x 16 outputs x one group of 32
/// columns, whose sums are integers and exact; they are scaled into float32 accumulators as
/// LinearTile does it, group after group. So the bits are LinearTile's and a kernel may take either,
/// by the number of its rows.
///
/// A product takes 11 ns on a 2.6 GHz core, scaling its sums 14, and a tile of weights 5 to unpack,
/// which the rows of a chunk share; vectors take 46 for as many rows.
class LinearExact {
 public:
  static constexpr int64_t kTiles = kMatrixTiles;
  using Weights = llvm::SmallVector<LinearTile::Weight, kTiles>;
  /// Rows from which on this is faster than LinearTile (measured, docs/design/010). A block of 16
  /// rows costs the same however many of them there are, and the last one half where 8 are enough.
  static constexpr int64_t kFewest = 13;

  /// For panels of at most `groups` groups of kTiles tiles. Takes scratch for chunkRows() rows.
  LinearExact(KernelBuilder& k, Enc enc, int64_t cols, int64_t groups);

  static bool serves(const TargetProfile& profile, Enc enc, Act act);
  /// Rows of a chunk, a multiple of 16: a stretch of theirs stays in the L1 cache.
  int64_t chunkRows() const { return chunkRows_; }

  /// As LinearMatrix::multiply and sums.
  void multiply(Buf act, Val count, llvm::function_ref<Val(Val p)> rowAt, Val groups,
                llvm::function_ref<Weights(Val group)> weightsOf);
  Vals sums(Val group, Val p);

 private:
  // Steps [begin, begin + count) of K.
  struct Stretch {
    Val begin, count;
  };

  void pack(Buf act, Val count, llvm::function_ref<Val(Val p)> rowAt, const Stretch& stretch);
  void packRow(Buf act, Val from, Val block, Val row, const Stretch& stretch);
  void unpackGroup(const LinearTile::Weight& tile, Val from, Val step, int64_t group);
  void unpack(const LinearTile::Weight& tile, const Stretch& stretch);
  void integers(Val block, int64_t rows, Val step, int64_t group);
  void prefetch(const LinearTile::Weight& next, Val block, Val step);
  void multiplyBlock(Val block, int64_t rows, Val sumsAt, const Stretch& stretch,
                     const LinearTile::Weight& next);

  KernelBuilder& k_;
  WeightLayout layout_;
  int64_t chunkRows_;
  Val blocks_;    // of 16 rows; the last one may be of 8
  Val whole_;     // of them, those of 16
  Buf rows_;      // i8 [blocks][steps of a stretch][16 rows][64 columns]
  Buf factors_;   // f32 [16 zeros][blocks][groups of a stretch][16 rows]
  Buf weights_;   // i8 [groups of a stretch][8 words][16 outputs][4]
  Buf scales_;    // f32 [16 zeros][groups of a stretch][16 outputs]
  Buf integers_;  // i32 [2 groups][16 rows][16 outputs]
  Buf sums_;      // f32 [groups][kTiles][chunk rows][16 outputs]
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_LINEAREXACT_H
