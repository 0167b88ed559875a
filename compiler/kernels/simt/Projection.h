// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What `linear` and `experts` share on GPUs: a workgroup's tiles of outputs for some tokens.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_PROJECTION_H_
#define FATHOM_COMPILER_KERNELS_SIMT_PROJECTION_H_

#include "compiler/kernels/simt/ProjectionInput.h"
#include "compiler/kernels/simt/Record.h"
#include "compiler/kernels/simt/Shape.h"
#include "compiler/kernels/simt/Weights.h"

namespace fathom::kernels::simt {

/// A lane computes some rows of a tile, by fours, of `shape.tokens` tokens, over all of K or, with
/// several slices, over every `shape.slices`-th unit of it. A unit is what is decoded at once:
/// 4 columns of f32 and bf16, the 32 columns of a scale of q4 and q8. The order of a sum depends on
/// the form of the kernel alone, never on the number of tokens. Where the device's matrix units can
/// make the products, the form for many tokens leaves them to those (ProjectionMatrix.cpp).
class Projection {
 public:
  /// Reads the config entries that both families have; `epilogues` are the allowed ones, `batch` is
  /// how many matrices' outputs make a row.
  Projection(SimtBuilder& k, llvm::ArrayRef<llvm::StringRef> epilogues, int64_t batch = 1);
  /// Reads those of the records of heads, which go out behind the outputs.
  void readHeads();

  const ProjectionShape& shape() const { return shape_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  /// From row to row of the outputs: float32 elements, or words of records.
  int64_t outStep() const { return outForm_ ? outStride_ / 4 : outLd_; }
  bool makesRecords() const { return outForm_.has_value(); }
  bool makesHeads() const { return heads_.form.has_value(); }
  Act actForm() const { return actForm_; }
  int64_t actStride() const { return actStride_; }  // bytes
  bool swiglu() const { return swiglu_; }

  int64_t actOffset() const { return actOffset_; }

  ProjectionInput input;
  SimtBuilder::Binding weight, weight2, bias, residual, out, headRecords;

  /// Where a token's activations and outputs begin: words of act, elements of out. Outputs that
  /// become records begin at their row's record, and at group `group` of it.
  struct Row {
    Val act, out, group;
  };
  /// The workgroup's panel of tiles for rows first .. first + tokens - 1, of which those at or
  /// beyond `end` are not there. `matrix` is the word at which the matrices begin. Uniform control
  /// flow.
  void emit(Val panel, Val matrix, Val first, Val end, llvm::function_ref<Row(Val p)> at);

 private:
  using Columns = llvm::SmallVector<Vals, 4>;  // of each weight, of each column: four rows

  int64_t unitColumns() const { return quantised() ? kGroup : 4; }
  bool quantised() const { return enc_ == Enc::q8 || enc_ == Enc::q4; }
  bool staged() const { return makesRecords() || makesHeads(); }
  struct Part {  // four rows of a tile
    Val tileAt, quad;
  };
  Vals sums(llvm::ArrayRef<Part> parts, Val slice);
  void emitOwnRows(Val panel, Val matrix, Val first, llvm::function_ref<Row(Val p)> at);
  void unit(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc);
  void plainUnit(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc);
  void groupUnits(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc);
  void groupUnit(Val u, int64_t columns, Val tileAt, Val quad, llvm::ArrayRef<Weights> weights,
                 Vals& acc);
  void integerUnit(Val u, Val tileAt, Val quad, Vals& acc);
  struct IntegerWeights {
    Columns words;  // as the products take them
    Vals scales;    // of four rows, each weight's
  };
  IntegerWeights integerWeights(Val block, Val group, Val quad);
  bool inPairs() const { return enc_ == Enc::q4 && !k_.gpu().dot8; }
  void addInteger(const IntegerWeights& weights, Vals x, Val scale, Val bias,
                  llvm::MutableArrayRef<Val> acc);
  Val dotOfRows(Val start, llvm::ArrayRef<Val> words, llvm::ArrayRef<Val> x);
  static Vals swappedPairs(llvm::ArrayRef<Val> words);
  static Val sumOfPairs(llvm::ArrayRef<Val> nibbles, llvm::ArrayRef<Val> pairs);
  Vals addSlices(Val tile, Val row, size_t count);
  void addAndFinish(const Vals& parts, Val panel, Val first, Val end);
  void finish(const Vals& sums, Val panel, Val inPanel, int64_t width, Val first, Val end);
  Val biasOf(Val column, int64_t width);
  Val output(llvm::ArrayRef<Val> sums, Val addend);
  void put(Val v, Val token, Val at, Val inPanel, int64_t width);
  class MatrixWalk;
  void emitByMatrixUnits(Val panel, Val matrix, Val first, Val end,
                         llvm::function_ref<Row(Val p)> at);
  int64_t stageFloats() const;
  void writeRecords(Val panel, Val first, Val end, llvm::function_ref<Row(Val p)> at);
  /// Where a group of the outputs goes: the record's first word, the group in it, if it is there.
  struct Place {
    Val at, group, there;
    int64_t elements;
  };
  Place headPlace(Val group, Val token);
  void writeOwnRecords(llvm::ArrayRef<Val> fours, Val panel, Val token,
                       llvm::function_ref<Row(Val p)> at);
  void writeHeadGroup(Val group, Val token, llvm::function_ref<Val(int64_t i)> element);

  SimtBuilder& k_;
  int64_t rows_ = 0, cols_ = 0, actStride_ = 0, actOffset_ = 0, panelTiles_ = 1;
  int64_t outLd_ = 0, outStride_ = 0, outWidth_ = 0;  // elements, bytes; elements of a record
  Enc enc_ = Enc::f32;
  Act actForm_ = Act::f32;
  bool swiglu_ = false;
  std::optional<RowForm> outForm_;
  struct {
    std::optional<RowForm> form;
    int64_t heads = 0, width = 0, cols = 0, stride = 0, batchStride = 0;
  } heads_;
  ProjectionShape shape_{};
  llvm::SmallVector<Weights, 2> weights_;
  llvm::SmallVector<Row, 16> places_;
  Buf slices_, stage_;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_PROJECTION_H_
