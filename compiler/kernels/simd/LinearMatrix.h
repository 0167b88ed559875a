// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The inner products of `linear` and `experts` for many rows, by matrix units.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_LINEARMATRIX_H
#define FATHOM_COMPILER_KERNELS_SIMD_LINEARMATRIX_H

#include "compiler/kernels/simd/LinearTile.h"
#include "compiler/kernels/simd/MatrixTile.h"

namespace fathom::kernels {

/// Rows of a chunk times the tiles of a panel, kTiles of them at a time, a stretch of K after the
/// other: matrix.multiply(...), then matrix.sums(group, p) of every group of tiles and row.
///
/// Both become bf16 with their scales multiplied in, and the sums over all of K are float32. The
/// int8 unit would keep the sums of a group exact, but then every product of 16 x 16 x 32 ends in
/// 48 vector operations that scale it (56 cycles in all, measured); so it takes 16. Making a tile of
/// weights takes 80, which the rows of a chunk share. Rounding both operands to 8 bits adds
/// about a quarter of the error that int8 activations have already (docs/design/010).
///
/// A row's sums do not depend on the other rows, nor on their number.
class LinearMatrix {
 public:
  static constexpr int64_t kTiles = kMatrixTiles;
  using Weights = llvm::SmallVector<LinearTile::Weight, kTiles>;

  /// For panels of at most `groups` groups of kTiles tiles. Takes scratch for chunkRows() rows.
  LinearMatrix(KernelBuilder& k, Enc enc, int64_t cols, int64_t groups);

  static bool serves(const TargetProfile& profile, Enc enc, Act act, int64_t cols);
  /// Rows of a chunk, a multiple of 16, such that their sums stay in the L2 cache.
  int64_t chunkRows() const { return chunkRows_; }

  /// Rows [0, count), 0 < count <= chunkRows(), times groups [0, groups). The record of row p begins
  /// at byte rowAt(p) of `act`; weightsOf(group) are the kTiles tiles of a group.
  void multiply(Buf act, Val count, llvm::function_ref<Val(Val p)> rowAt, Val groups,
                llvm::function_ref<Weights(Val group)> weightsOf);
  /// The 16 sums of row p and each of the tiles of `group`.
  Vals sums(Val group, Val p);

 private:
  void pack(Buf act, Val count, llvm::function_ref<Val(Val p)> rowAt, Val begin, int64_t steps);
  void packRow(Buf act, Val from, Val to, Val begin, int64_t steps);
  void unpack(const LinearTile::Weight& tile, int64_t number, Val begin, int64_t steps);
  void unpackGroup(const LinearTile::Weight& tile, Val from, int64_t group, Val to);
  void multiplyGroup(Val group, llvm::ArrayRef<LinearTile::Weight> tiles, Val begin, int64_t steps);

  KernelBuilder& k_;
  WeightLayout layout_;
  int64_t steps_;      // of 64 columns of K
  int64_t chunkRows_;
  Val blocks_;         // of 16 rows
  Buf rows_;           // words [blocks][16 rows][words of a stretch]
  Buf weights_;        // words [kTiles][words of a stretch][16 outputs]
  Buf sums_;           // f32 [groups][chunk rows][kTiles][16 outputs]
  Buf rowHalves_, weightHalves_;  // the bf16 of rows_ and weights_
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_LINEARMATRIX_H
