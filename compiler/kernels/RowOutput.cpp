// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading of RowOutput's entries.
#include "compiler/kernels/RowOutput.h"

namespace fathom::kernels {

RowForm rowForm(Act act) {
  return act == Act::f32 ? RowForm::kF32 : act == Act::bf16 ? RowForm::kBf16 : RowForm::kI8;
}

RowForm readRecordForm(Config& cfg, llvm::StringRef name) {
  return cfg.oneOf(name, {"bf16", "i8"}) == 0 ? RowForm::kBf16 : RowForm::kI8;
}

int64_t rowBytes(RowForm form, int64_t width) {
  switch (form) {
    case RowForm::kNone:
      return 0;
    case RowForm::kF32:
      return 4 * width;
    case RowForm::kBf16:
      return roundUp(2 * width, 64);
    case RowForm::kI8:
      return roundUp(roundUp(width, 64) * 5 / 4, 64);
  }
  return 0;
}

RowOutput RowOutput::read(Config& cfg, llvm::StringRef formName, llvm::StringRef strideName,
                          int64_t width, int64_t maxStride) {
  RowOutput out;
  if (!cfg.has(formName)) return out;
  out.form = static_cast<RowForm>(cfg.oneOf(formName, {"none", "f32", "bf16", "i8"}));
  out.width = width;
  if (cfg.failed() || !out) return out;
  out.stride = cfg.in(strideName, rowBytes(out.form, width), maxStride, out.isRecord() ? 64 : 4);
  return out;
}

}  // namespace fathom::kernels
