// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The configuration of an output that is rows or activation records, for every kind of target.
#ifndef FATHOM_COMPILER_KERNELS_ROWOUTPUT_H_
#define FATHOM_COMPILER_KERNELS_ROWOUTPUT_H_

#include "compiler/kernels/WeightLayout.h"

namespace fathom::kernels {

/// What a row of activations is: nothing, float32 elements, or a record of docs/spec/encodings.md.
enum class RowForm { kNone, kF32, kBf16, kI8 };
/// The form that a product reads.
RowForm rowForm(Act act);
/// The config entry `name`, which must be bf16 | i8.
RowForm readRecordForm(Config& cfg, llvm::StringRef name);

/// An output that a fused kernel has or has not.
struct RowOutput {
  RowForm form = RowForm::kNone;
  int64_t width = 0;   // elements of a row
  int64_t stride = 0;  // bytes from row to row

  /// Reads the form, none | f32 | bf16 | i8 (none when missing), and with one the stride in bytes,
  /// at least a row of `width` elements and at most `maxStride`.
  static RowOutput read(Config& cfg, llvm::StringRef formName, llvm::StringRef strideName,
                        int64_t width, int64_t maxStride);

  explicit operator bool() const { return form != RowForm::kNone; }
  bool isRecord() const { return form == RowForm::kBf16 || form == RowForm::kI8; }
};

/// Bytes of a row of `width` elements in `form` (docs/spec/encodings.md); 0 for kNone.
int64_t rowBytes(RowForm form, int64_t width);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_ROWOUTPUT_H_
