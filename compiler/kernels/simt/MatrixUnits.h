// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Matrix units of NVIDIA GPUs and what feeds them: asynchronous copies, fragments, products.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_MATRIXUNITS_H_
#define FATHOM_COMPILER_KERNELS_SIMT_MATRIXUNITS_H_

#include "compiler/kernels/simt/SimtBuilder.h"

/// For profiles with mma_sync and asynchronous copies. A subgroup of 32 lanes works together, so
/// all of these but copies stand in control flow that is uniform in it. A product is
///
///   D (16 rows x 8 columns) = A (16 x k) B (k x 8) + C,   k = 8 words: 32 int8 or 16 bf16.
///
/// With gid = lane / 4 and tig = lane % 4, a lane holds
///   of A  four words: word tig of rows gid and gid + 8, then word 4 + tig of the same rows;
///   of B  two words: words tig and 4 + tig of column gid;
///   of C and D  four numbers: columns 2 tig and 2 tig + 1 of row gid, then of row gid + 8.
namespace fathom::kernels::simt {

class MatrixUnits {
 public:
  explicit MatrixUnits(SimtBuilder& k) : k_(k) {}

  /// Starts a copy of `bytes` (16, or 8) from word `from` of the buffer to word `to` of workgroup
  /// memory, both multiples of `bytes`; only the first `there` bytes are read if that is given,
  /// the others become zeros.
  void copy(Buf shared, Val to, Buf buffer, Val from, int64_t bytes, Val there = {}) const;
  /// Ends a group of the lane's copies.
  void endGroup() const;
  /// Waits until all but the last `pending` groups of this lane have arrived. What other lanes
  /// copied is there after a barrier.
  void waitForGroups(int64_t pending) const;

  /// Words at..at+n-1 of workgroup memory, at a multiple of n (2 or 4): a vector of i32.
  Val words(Buf shared, Val at, int64_t n) const;
  /// Four words of each lane: lanes 8 i .. 8 i + 7 say where the rows 0 .. 7 of 16 bytes of matrix
  /// i begin; a lane gets word tig of row gid of each.
  Vals matrices(Buf shared, Val row) const;

  /// Signed bytes of B; of A signed or unsigned ones.
  Vals multiplyInt8(llvm::ArrayRef<Val> a, bool signedA, llvm::ArrayRef<Val> b,
                    llvm::ArrayRef<Val> c) const;
  Vals multiplyBf16(llvm::ArrayRef<Val> a, llvm::ArrayRef<Val> b, llvm::ArrayRef<Val> c) const;

 private:
  mlir::Value address(Buf buffer, Val word, unsigned space) const;
  Vals unpack(mlir::Value list) const;

  SimtBuilder& k_;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_MATRIXUNITS_H_
