// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rotary positions: angles out of the two-level table, and the rotation of pairs.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_ROPE_H_
#define FATHOM_COMPILER_KERNELS_SIMD_ROPE_H_

#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

/// Rotates `dim` elements by the angles of one position. `interleaved` pairs (2i, 2i + 1), else
/// (i, i + dim/2). The cosines and sines are composed once, into scratch.
class Rope {
 public:
  Rope(KernelBuilder& k, int64_t dim, bool interleaved, double mscale)
      : k_(k), dim_(dim), interleaved_(interleaved), mscale_(mscale) {}

  /// Composes the angles of `position` (index) from `table`.
  void setPosition(Buf table, Val position);
  /// Rotates in[from ..] and hands the result on: `put(i, values, count)` for elements i ...
  void rotate(Buf in, Val from, llvm::function_ref<void(Val i, Val v, Val count)> put);

 private:
  KernelBuilder& k_;
  int64_t dim_;
  bool interleaved_;
  double mscale_;
  Buf angles_;  // dim/2 cosines padded to 16, then as many sines
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_ROPE_H_
