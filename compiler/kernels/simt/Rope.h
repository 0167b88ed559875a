// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rotary positions on GPUs: angles out of the two-level table, one pair at a time.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_ROPE_H_
#define FATHOM_COMPILER_KERNELS_SIMT_ROPE_H_

#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

/// Rotates runs of `dim` elements. `interleaved` pairs (2i, 2i + 1), else (i, i + dim/2).
class Rope {
 public:
  Rope(SimtBuilder& k, int64_t dim, bool interleaved, double mscale)
      : k_(k), dim_(dim), interleaved_(interleaved), mscale_(mscale) {}

  void setPosition(Buf table, Val position);

  /// The offsets of the elements of pair `i` in their run.
  std::pair<Val, Val> places(Val i) const;
  /// Both elements of a pair, turned by the angle of pair `i`.
  std::pair<Val, Val> rotate(Val i, Val a, Val b) const;
  /// Element `e` of the rotated run that begins at in[from].
  Val element(Buf in, Val from, Val e) const;

 private:
  SimtBuilder& k_;
  int64_t dim_;
  bool interleaved_;
  double mscale_;
  Buf table_;
  Val low_, high_;  // the position's rows in the two levels of the table
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_ROPE_H_
