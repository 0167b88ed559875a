// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading of RowOutput's entries.
#include "compiler/kernels/RowOutput.h"

namespace fathom::kernels {

int64_t rowBytes(RowForm form, int64_t width) {
  auto roundUp = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
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
