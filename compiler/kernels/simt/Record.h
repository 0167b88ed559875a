// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes activation records (docs/spec/encodings.md) on GPUs: a lane per group of 32 elements.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_RECORD_H_
#define FATHOM_COMPILER_KERNELS_SIMT_RECORD_H_

#include <optional>

#include "compiler/kernels/RowOutput.h"
#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

/// The optional config entry `name`: none (default) | bf16 | i8.
std::optional<RowForm> recordForm(Config& cfg, llvm::StringRef name);

/// All lanes write the record of `n` elements that begins at word `at` of `words` (i32).
/// `element(i)` gives the value of element i < n; lane i % lanes asks for it, once. Uniform control
/// flow.
void writeRecord(SimtBuilder& k, RowForm form, Buf words, Val at, int64_t n,
                 llvm::function_ref<Val(Val i)> element);

/// The calling lane writes group `g` of a record of `n` elements: element(i), i < 32, are its
/// values.
void writeRecordGroup(SimtBuilder& k, RowForm form, Buf words, Val at, Val g, int64_t n,
                      llvm::function_ref<Val(int64_t i)> element);

/// Of an int8 record's group: what elements are multiplied by, and the scale, from the largest
/// absolute value.
struct GroupScale {
  Val inverse, scale;
  explicit GroupScale(Val amax);
};

/// Four elements as a record's word; adds them to `sum`, which may be none yet.
Val recordWord(SimtBuilder& k, llvm::ArrayRef<Val> x, Val inverse, Val& sum);

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_RECORD_H_
