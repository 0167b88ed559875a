// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The 2-D registers of x86's matrix units (AMX) and the products that kernels make with them.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_MATRIXTILE_H_
#define FATHOM_COMPILER_KERNELS_SIMD_MATRIXTILE_H_

#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

inline constexpr int64_t kMatrixRows = 16;   // of a tile
inline constexpr int64_t kMatrixWords = 16;  // of K in a tile: 32 bf16

/// A left operand: 16 rows of bf16, row r from element at + r stride on.
struct MatrixRows {
  Buf halves;
  Val at, stride;
};

/// bf16 matrices whose elements are pairs along the summed index: words of 32 bits, as tile16 and
/// `Words` keep them. Word (line, column) is at word `at` + line x lineWords + column of `halves`.
struct MatrixOperand {
  Buf halves;  // bf16
  Val at;
  int64_t lineWords = 0;
};

/// A stretch of K: `words` words of it (a multiple of 16) of each operand.
struct MatrixTerm {
  llvm::SmallVector<MatrixRows, 4> left;
  llvm::SmallVector<MatrixOperand, 4> right;
  int64_t words = 0;
};

/// Where float32 sums go: that of row r of left operand i and column c of right operand j to
/// at + (16 i + r) stride + 16 j + c, added to what is there with `accumulate`.
///
/// Products into one tile wait for each other: three times as long as a product takes. Where fewer
/// than three tiles are made, `parts` of them share a sum, every parts-th step of K each, and are
/// stored partStride apart; their sum is for the caller to make.
struct MatrixSums {
  Buf out;
  Val at, stride;
  bool accumulate = false;
  int64_t parts = 1, partStride = 0;
};

/// Sums over the K of all terms of the products of every left and every right operand: at most 4
/// tiles. `beside(term, step)` may emit what is done beside a step of 16 words.
///
/// A tile has 16 rows of 64 bytes and there are eight of them: four of sums and four to load into,
/// so that every product waits for one load. LLVM configures the registers once for a kernel and
/// cannot carry a tile into the next iteration of a loop: K is unrolled.
void matrixProduct(KernelBuilder& k, llvm::ArrayRef<MatrixTerm> terms, const MatrixSums& sums,
                   llvm::function_ref<void(size_t term, int64_t step)> beside = nullptr);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_MATRIXTILE_H_
