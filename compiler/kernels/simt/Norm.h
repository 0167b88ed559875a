// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Root mean squares and normalised rows, for the GPU kernels that make them.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_NORM_H_
#define FATHOM_COMPILER_KERNELS_SIMT_NORM_H_

#include "compiler/kernels/RowOutput.h"
#include "compiler/kernels/simt/Record.h"

namespace fathom::kernels::simt {

/// 1 / sqrt(mean(x[from .. from + n - 1]^2) + eps), known to all lanes of the workgroup.
Val inverseRms(SimtBuilder& k, Buf x, Val from, int64_t n, double eps);

/// The normalised row that a kernel of something else gives out beside it.
class NormedRow {
 public:
  /// Reads the optional entries `name` and `stride` for rows of `n` elements (RowOutput::read).
  NormedRow(SimtBuilder& k, llvm::StringRef name, llvm::StringRef stride, int64_t n);
  explicit operator bool() const { return static_cast<bool>(output_); }

  /// The binding of the rows or records.
  void bind() { out_ = k_.binding(); }
  /// All lanes write row `row`; `element` as in writeRecord. Uniform control flow.
  void write(Val row, llvm::function_ref<Val(Val i)> element);

 private:
  SimtBuilder& k_;
  RowOutput output_;
  SimtBuilder::Binding out_;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_NORM_H_
