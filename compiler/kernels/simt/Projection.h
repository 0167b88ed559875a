// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What `linear` and `experts` share on GPUs: a workgroup's tiles of outputs for some tokens.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_PROJECTION_H_
#define FATHOM_COMPILER_KERNELS_SIMT_PROJECTION_H_

#include "compiler/kernels/simt/Shape.h"
#include "compiler/kernels/simt/Weights.h"

namespace fathom::kernels::simt {

/// A lane computes some rows of a tile, by fours, of `shape.tokens` tokens, over all of K or, with
/// several slices, over every `shape.slices`-th unit of it. A unit is what is decoded at once:
/// 4 columns of f32 and bf16, the 32 columns of a scale of q4 and q8. The order of a sum depends on
/// the form of the kernel alone, never on the number of tokens.
class Projection {
 public:
  /// Reads the config entries that both families have; `epilogues` are the allowed ones.
  Projection(SimtBuilder& k, llvm::ArrayRef<llvm::StringRef> epilogues);

  const ProjectionShape& shape() const { return shape_; }
  int64_t rows() const { return rows_; }
  int64_t outLd() const { return outLd_; }
  int64_t actStride() const { return actStride_; }  // bytes
  bool swiglu() const { return swiglu_; }

  /// Bytes of every offset into the activations must be multiples of 4; tells of others in use.
  void usesOffset(int64_t bytes) { aligned_ = aligned_ && bytes % 16 == 0; }

  SimtBuilder::Binding act, weight, weight2, bias, residual, out;

  /// Where a token's activations and outputs begin: words of act, elements of out.
  struct Row {
    Val act, out;
  };
  /// The workgroup's panel of tiles for rows first .. first + tokens - 1, of which those at or
  /// beyond `end` are not there. `matrix` is the word at which the matrices begin. Uniform control
  /// flow.
  void emit(Val panel, Val matrix, Val first, Val end, llvm::function_ref<Row(Val p)> at);

 private:
  using Columns = llvm::SmallVector<Vals, 4>;  // of each weight, of each column: four rows

  int64_t unitColumns() const { return quantised() ? kGroup : 4; }
  bool quantised() const { return enc_ == Enc::q8 || enc_ == Enc::q4; }
  Vals sums(Val tileAt, llvm::ArrayRef<Val> quads, Val slice);
  void unit(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc);
  void plainUnit(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc);
  void groupUnit(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc);
  void integerUnit(Val u, Val tileAt, Val quad, Vals& acc);
  Vals activations(size_t token, Val first, int64_t columns);
  Vals activationWords(Val at);
  Vals addSlices(Val tile, Val row, size_t count);
  void addAndFinish(const Vals& parts, Val panel, Val first, Val end);
  void finish(const Vals& sums, Val column, int64_t width, Val first, Val end, Val tileThere);

  SimtBuilder& k_;
  int64_t rows_ = 0, cols_ = 0, actStride_ = 0, actOffset_ = 0, outLd_ = 0, panelTiles_ = 1;
  Enc enc_ = Enc::f32;
  Act actForm_ = Act::f32;
  bool swiglu_ = false, aligned_ = true;
  ProjectionShape shape_{};
  llvm::SmallVector<Weights, 2> weights_;
  llvm::SmallVector<Row, 16> places_;
  Buf slices_;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_PROJECTION_H_
