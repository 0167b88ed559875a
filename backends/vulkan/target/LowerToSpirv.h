// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lowers a kernel from the gpu dialect to one SPIR-V 1.6 module.
#ifndef FATHOM_BACKENDS_VULKAN_TARGET_LOWERTOSPIRV_H
#define FATHOM_BACKENDS_VULKAN_TARGET_LOWERTOSPIRV_H

#include "compiler/target/TargetProfile.h"
#include "llvm/ADT/SmallVector.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Support/LLVM.h"

namespace fathom::vulkan {

/// The dialects that lowerToSpirv goes through.
void registerLoweringDialects(mlir::DialectRegistry& registry);

/// Lowers `module`, which holds one gpu.module with one kernel (compiler/kernels/simt), in place
/// and appends the words of its SPIR-V module. The entry point has the kernel's name.
mlir::LogicalResult lowerToSpirv(mlir::ModuleOp module, const TargetProfile& profile,
                                 llvm::SmallVectorImpl<uint32_t>& words);

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_TARGET_LOWERTOSPIRV_H
