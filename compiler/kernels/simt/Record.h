// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes activation records (docs/spec/encodings.md) on GPUs: a lane per group of 32 elements.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_RECORD_H_
#define FATHOM_COMPILER_KERNELS_SIMT_RECORD_H_

#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

enum class RecordForm { kBf16, kI8 };

/// Bytes of a record of `n` elements, without the filling up to its stride's 64 bytes.
int64_t recordBytes(RecordForm form, int64_t n);

/// All lanes write the record of `n` elements that begins at word `at` of `words` (i32).
/// `element(i)` is called for i < n and gives the value of element i.
void writeRecord(SimtBuilder& k, RecordForm form, Buf words, Val at, int64_t n,
                 llvm::function_ref<Val(Val i)> element);

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_RECORD_H_
