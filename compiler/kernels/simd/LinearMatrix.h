// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The inner products of `linear` and `experts` for many rows, by matrix units.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_LINEARMATRIX_H
#define FATHOM_COMPILER_KERNELS_SIMD_LINEARMATRIX_H

#include "compiler/kernels/simd/LinearTile.h"
#include "compiler/kernels/simd/MatrixTile.h"

namespace fathom::kernels {

/// Rows of a chunk times tiles of weights, kTiles of them at a time:
///
///   matrix.pack(...)                 // once for a panel
///   for each kTiles tiles: matrix.multiply(...), then matrix.sums(p) of every row
///
/// Both become bf16 with their scales multiplied in, and the sums over all of K are float32. The
/// int8 unit would keep the sums of a group exact, but then every product of 16 x 16 x 32 ends in
/// 48 vector operations that scale it (56 cycles in all, measured); so it takes 16. Making a tile of
/// weights takes 80, which the rows of a chunk share. Rounding both operands to 8 bits costs a
/// quarter of the error that the 8-bit activations have from their rounding already.
///
/// A row's sums do not depend on the other rows, nor on their number.
class LinearMatrix {
 public:
  static constexpr int64_t kTiles = 4;

  /// Takes scratch for chunkRows(cols) rows.
  LinearMatrix(KernelBuilder& k, Enc enc, int64_t cols);

  static bool serves(const TargetProfile& profile, Enc enc, Act act, int64_t cols);
  /// Rows of a chunk, a multiple of 16, such that they stay in the L2 cache.
  static int64_t chunkRows(int64_t cols);

  /// Packs rows [0, count), 0 < count <= chunkRows(); the record of row p begins at byte rowAt(p)
  /// of `act`.
  void pack(Buf act, Val count, llvm::function_ref<Val(Val p)> rowAt);
  void multiply(llvm::ArrayRef<LinearTile::Weight> tiles);
  /// The 16 sums of row p and each of the tiles.
  Vals sums(Val p);

 private:
  void packRow(Buf act, Val from, Val to, Val begin, Val end);
  void unpack(const LinearTile::Weight& tile, int64_t number, Val begin, int64_t steps);
  void unpackGroup(const LinearTile::Weight& tile, Val from, int64_t group, Val to);
  void multiplyStretch(llvm::ArrayRef<LinearTile::Weight> tiles, Val begin, int64_t steps);

  KernelBuilder& k_;
  WeightLayout layout_;
  int64_t steps_;       // of 64 columns of K
  int64_t stretchWords_;  // of rows_
  Val blocks_;          // of 16 rows
  Buf rows_;            // words [stretches of K][blocks][16 rows][words of a stretch]
  Buf weights_;         // words [kTiles][words of a stretch][16 outputs]
  Buf sums_;            // f32 [blocks][16 rows][kTiles][16 outputs]
  Buf rowHalves_, weightHalves_;  // the bf16 of rows_ and weights_
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_LINEARMATRIX_H
