// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The GPU emitter of each kernel family, docs/spec/kernels.md. One line here, one row in
// Kernels.cpp.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_EMITTERS_H_
#define FATHOM_COMPILER_KERNELS_SIMT_EMITTERS_H_

#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

mlir::LogicalResult emitAdd(SimtBuilder& k);
mlir::LogicalResult emitAttention(SimtBuilder& k);
mlir::LogicalResult emitAttentionCombine(SimtBuilder& k);
mlir::LogicalResult emitAttentionPrefill(SimtBuilder& k);
mlir::LogicalResult emitCombine(SimtBuilder& k);
mlir::LogicalResult emitEmbed(SimtBuilder& k);
mlir::LogicalResult emitEncode(SimtBuilder& k);
mlir::LogicalResult emitExperts(SimtBuilder& k);
mlir::LogicalResult emitKvAppend(SimtBuilder& k);
mlir::LogicalResult emitLatentAppend(SimtBuilder& k);
mlir::LogicalResult emitLatentAttention(SimtBuilder& k);
mlir::LogicalResult emitLatentAttentionExpanded(SimtBuilder& k);
mlir::LogicalResult emitLinear(SimtBuilder& k);
mlir::LogicalResult emitNorm(SimtBuilder& k);
mlir::LogicalResult emitRope(SimtBuilder& k);
mlir::LogicalResult emitRoute(SimtBuilder& k);
mlir::LogicalResult emitRoutePlan(SimtBuilder& k);
mlir::LogicalResult emitSwiglu(SimtBuilder& k);

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_EMITTERS_H_
