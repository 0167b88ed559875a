// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The emitter of each kernel family, docs/spec/kernels.md. One line here, one row in Kernels.cpp.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_EMITTERS_H
#define FATHOM_COMPILER_KERNELS_SIMD_EMITTERS_H

#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

mlir::LogicalResult emitEmbed(KernelBuilder& k);
mlir::LogicalResult emitExperts(KernelBuilder& k);
mlir::LogicalResult emitLinear(KernelBuilder& k);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_EMITTERS_H
