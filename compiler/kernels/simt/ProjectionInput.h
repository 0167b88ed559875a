// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a projection on a GPU multiplies: where the activations of a token come from.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_PROJECTIONINPUT_H_
#define FATHOM_COMPILER_KERNELS_SIMT_PROJECTIONINPUT_H_

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

/// float32 rows or records: of a binding, or in workgroup memory; float32 rows may be normalised as
/// they are read. Places are words.
class ProjectionInput {
 public:
  ProjectionInput() = default;
  /// Records have `cols` elements.
  ProjectionInput(SimtBuilder& k, Act form, int64_t cols)
      : k_(&k), form_(form), padded_(roundUp(cols, kSuperblock)) {}

  SimtBuilder::Binding binding;

  /// Every offset into the binding in use must be told of: 16-byte reads need all to be multiples.
  void usesOffset(int64_t bytes) { aligned_ = aligned_ && bytes % 16 == 0; }
  bool aligned() const { return aligned_; }
  /// Element k counts as x[k] scale gamma[k].
  void normalise(SimtBuilder::Binding gamma, Val scale) {
    gamma_ = gamma;
    scale_ = scale;
  }
  /// Rows (f32) or records (i32 words) lie there instead of in the binding.
  void useShared(Buf shared) { shared_ = shared; }

  /// Up to four elements of the row or bf16 record at `row`, from `first` on, a multiple of 4.
  Vals elements(Val row, Val first, int64_t columns) const;
  /// The eight words of group `u` of the int8 record at `row`, its scale, and its bias.
  Vals group(Val row, Val u) const;
  Val scale(Val row, Val u) const;
  Val bias(Val row, Val u) const;

 private:
  Val word(Val at) const;
  Vals fourFloats(SimtBuilder::Binding from, Val at) const;

  SimtBuilder* k_ = nullptr;
  Act form_ = Act::f32;
  int64_t padded_ = 0;
  bool aligned_ = true;
  SimtBuilder::Binding gamma_;
  Val scale_;
  Buf shared_;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_PROJECTIONINPUT_H_
