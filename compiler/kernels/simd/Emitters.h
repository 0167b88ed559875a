// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The emitter of each kernel family, docs/spec/kernels.md. One line here, one row in Kernels.cpp.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_EMITTERS_H
#define FATHOM_COMPILER_KERNELS_SIMD_EMITTERS_H

#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

mlir::LogicalResult emitAdd(KernelBuilder& k);
mlir::LogicalResult emitAttention(KernelBuilder& k);
mlir::LogicalResult emitAttentionCombine(KernelBuilder& k);
mlir::LogicalResult emitAttentionPrefill(KernelBuilder& k);
mlir::LogicalResult emitCombine(KernelBuilder& k);
mlir::LogicalResult emitEmbed(KernelBuilder& k);
mlir::LogicalResult emitEncode(KernelBuilder& k);
mlir::LogicalResult emitExperts(KernelBuilder& k);
mlir::LogicalResult emitKvAppend(KernelBuilder& k);
mlir::LogicalResult emitLatentAppend(KernelBuilder& k);
mlir::LogicalResult emitLatentAttention(KernelBuilder& k);
mlir::LogicalResult emitLatentAttentionExpanded(KernelBuilder& k);
mlir::LogicalResult emitLinear(KernelBuilder& k);
mlir::LogicalResult emitNorm(KernelBuilder& k);
mlir::LogicalResult emitRope(KernelBuilder& k);
mlir::LogicalResult emitRoute(KernelBuilder& k);
mlir::LogicalResult emitRoutePlan(KernelBuilder& k);
mlir::LogicalResult emitSwiglu(KernelBuilder& k);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_EMITTERS_H
