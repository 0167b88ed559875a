// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RecordWriter: turns float32 values into the activation records of docs/spec/encodings.md.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_RECORD_H_
#define FATHOM_COMPILER_KERNELS_SIMD_RECORD_H_

#include "compiler/kernels/RowOutput.h"
#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

/// Writes one record of `n` elements, 32 of them at a time.
class RecordWriter {
 public:
  /// The record, kBf16 or kI8, begins at byte `at` of the i8 buffer `acts`.
  RecordWriter(KernelBuilder& k, RowForm form, Buf acts, Val at, int64_t n)
      : k_(k), form_(form), acts_(acts), at_(at), n_(n) {}

  /// Elements i .. i + 31 (i a multiple of 32); those at or beyond n must be 0.
  void put(Val i, Val lo, Val hi);
  /// Writes the filling groups behind the last element.
  void fill();

 private:
  KernelBuilder& k_;
  RowForm form_;
  Buf acts_;
  Val at_;
  int64_t n_;
};

/// forRow in steps of 32 elements, with the counts of the two vectors of a step.
void forPairs(KernelBuilder& k, int64_t n,
              llvm::function_ref<void(Val i, Val countLo, Val countHi)> body);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_RECORD_H_
