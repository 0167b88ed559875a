// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lowers a kernel from func/scf/vector/memref/arith to the LLVM dialect.
#ifndef FATHOM_BACKENDS_CPU_TARGET_LOWERKERNEL_H
#define FATHOM_BACKENDS_CPU_TARGET_LOWERKERNEL_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Support/LLVM.h"

namespace fathom::cpu {

/// The dialects that lowerKernel goes through and their translations to LLVM IR.
void registerLoweringDialects(mlir::DialectRegistry& registry);

/// Lowers `module`, which holds one function marked `fathom.kernel` (compiler/kernels/Kernels.h),
/// in place. Its memref arguments become pointers, its counts attributes of the llvm.func.
mlir::LogicalResult lowerKernel(mlir::ModuleOp module);

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_TARGET_LOWERKERNEL_H
