// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The 2-D registers of x86's matrix units (AMX) and the products that kernels make with them.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_MATRIXTILE_H_
#define FATHOM_COMPILER_KERNELS_SIMD_MATRIXTILE_H_

#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

inline constexpr int64_t kMatrixRows = 16;   // of a tile
inline constexpr int64_t kMatrixWords = 16;  // of K in a tile: 32 bf16

/// bf16 matrices whose elements are pairs along the summed index: words of 32 bits, as tile16 and
/// `Words` keep them. Word (line, column) is at word `at` + line x lineWords + column of `halves`.
struct MatrixOperand {
  Buf halves;  // bf16
  Val at;
  int64_t lineWords = 0;
};

/// The float32 sums over `words` words of K (a multiple of 16) of 16 rows and 16 columns of each of
/// the operands `right` (at most 4): out[outAt + r outStride + 16 j + c], to which they are added
/// with `accumulate`. Row r begins at element at + r stride of `rows` (bf16).
///
/// A tile has 16 rows of 64 bytes and there are eight of them: four of sums, one of rows, the rest
/// of right operands, so that every product waits for one load. LLVM configures the registers once
/// for a kernel and cannot carry a tile into the next iteration of a loop: K is unrolled.
void matrixProduct(KernelBuilder& k, Buf rows, Val at, Val stride,
                   llvm::ArrayRef<MatrixOperand> right, int64_t words, Buf out, Val outAt,
                   Val outStride, bool accumulate = false);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_MATRIXTILE_H_
