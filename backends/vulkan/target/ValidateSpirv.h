// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The SPIR-V validator, in this process where its library was there at build time.
#ifndef FATHOM_BACKENDS_VULKAN_TARGET_VALIDATESPIRV_H
#define FATHOM_BACKENDS_VULKAN_TARGET_VALIDATESPIRV_H

#include "llvm/ADT/ArrayRef.h"
#include "mlir/IR/Location.h"
#include "mlir/Support/LLVM.h"

namespace fathom::vulkan {

/// Whether validateSpirv looks at anything.
bool hasSpirvValidator();

/// Fails with the validator's words at `loc` when `words` are not valid for Vulkan 1.3.
mlir::LogicalResult validateSpirv(llvm::ArrayRef<uint32_t> words, mlir::Location loc);

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_TARGET_VALIDATESPIRV_H
