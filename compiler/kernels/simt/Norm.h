// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Root mean squares and normalised rows, for the GPU kernels that make them.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_NORM_H_
#define FATHOM_COMPILER_KERNELS_SIMT_NORM_H_

#include "compiler/kernels/simt/Record.h"

namespace fathom::kernels::simt {

/// 1 / sqrt(mean(x[from .. from + n - 1]^2) + eps), known to all lanes of the workgroup.
Val inverseRms(SimtBuilder& k, Buf x, Val from, int64_t n, double eps);

/// The normalised row that a kernel of something else gives out beside it.
class NormedRow {
 public:
  /// Reads the optional entry `name`, none (default) | f32 | bf16 | i8, and with it
  /// `<name>_stride`, bytes from row to row of `n` elements.
  NormedRow(SimtBuilder& k, llvm::StringRef name, llvm::StringRef stride, int64_t n);
  explicit operator bool() const { return wanted_; }

  /// The binding of the rows or records.
  void bind() { out_ = k_.binding(); }
  /// All lanes write row `row`; `element` as in writeRecord. Uniform control flow.
  void write(Val row, llvm::function_ref<Val(Val i)> element);

 private:
  SimtBuilder& k_;
  int64_t n_ = 0, stride_ = 0;
  bool wanted_ = false;
  std::optional<RecordForm> form_;  // none: float32
  SimtBuilder::Binding out_;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_NORM_H_
