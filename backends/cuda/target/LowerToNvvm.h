// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lowers a kernel from the gpu dialect to the LLVM and NVVM dialects.
#ifndef FATHOM_BACKENDS_CUDA_TARGET_LOWERTONVVM_H
#define FATHOM_BACKENDS_CUDA_TARGET_LOWERTONVVM_H

#include "compiler/target/TargetProfile.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Support/LLVM.h"

namespace fathom::cuda {

/// The dialects that lowerToNvvm goes through and their translations to LLVM IR.
void registerLoweringDialects(mlir::DialectRegistry& registry);

/// Lowers `module`, which holds one gpu.module with one kernel (compiler/kernels/simt), in place.
/// The kernel's parameters become a pointer for each binding and an i64 for each push constant.
mlir::LogicalResult lowerToNvvm(mlir::ModuleOp module, const TargetProfile& profile);

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_TARGET_LOWERTONVVM_H
