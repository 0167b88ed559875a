// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a kernel in the NVVM dialect to PTX, by LLVM and without a toolkit.
#ifndef FATHOM_BACKENDS_CUDA_TARGET_EMITPTX_H
#define FATHOM_BACKENDS_CUDA_TARGET_EMITPTX_H

#include <string>

#include "compiler/target/TargetProfile.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"

namespace fathom::cuda {

/// PTX of the one gpu.module of `module` (lowered by lowerToNvvm). `llvmIr`, if not null, is given
/// the optimised LLVM IR. Failures are diagnostics at the module's location, among them a call that
/// the kernel needs and nothing provides.
mlir::FailureOr<std::string> emitPtx(mlir::ModuleOp module, const TargetProfile& profile,
                                     std::string* llvmIr);

/// One text of several, which were made for one profile and declare different names.
std::string joinPtx(llvm::ArrayRef<std::string> texts);

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_TARGET_EMITPTX_H
