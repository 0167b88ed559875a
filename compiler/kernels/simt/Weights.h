// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tile16 weights as GPU kernels read them: words of 32 bits, one element or four rows at a time.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_WEIGHTS_H_
#define FATHOM_COMPILER_KERNELS_SIMT_WEIGHTS_H_

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

/// A binding of tile16 matrices.
class Weights {
 public:
  Weights() = default;
  Weights(SimtBuilder& k, SimtBuilder::Binding binding, Enc enc, int64_t rows, int64_t cols)
      : k_(&k), binding_(binding), layout_(enc, rows, cols) {}

  const WeightLayout& layout() const { return layout_; }
  explicit operator bool() const { return k_ != nullptr; }

  /// Element (row, col) of the matrix that begins at word `matrix`, as float32.
  Val element(Val matrix, Val row, Val col) const;
  /// Words from matrix to matrix and from tile to tile.
  int64_t matrixWords() const { return layout_.matrixBytes / 4; }
  int64_t tileWords() const { return layout_.tileBytes / 4; }
  int64_t stepWords() const { return layout_.stepBytes / 4; }

  /// The word at `at` of each of four rows: lanes of i32. `at` is a multiple of 4.
  Val fourWords(Val at) const;
  /// The same bits as float32.
  Val fourFloats(Val at) const;
  /// The scales of four rows: `at` is the word of the first row's pair of halves, a multiple of 2.
  Val fourScales(Val at) const;

 private:
  SimtBuilder* k_ = nullptr;
  SimtBuilder::Binding binding_;
  WeightLayout layout_{Enc::f32, 1, 1};
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_WEIGHTS_H_
