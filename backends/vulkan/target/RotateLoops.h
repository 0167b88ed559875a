// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loops that test at their end.
#ifndef FATHOM_BACKENDS_VULKAN_TARGET_ROTATELOOPS_H_
#define FATHOM_BACKENDS_VULKAN_TARGET_ROTATELOOPS_H_

#include <memory>

#include "mlir/Pass/Pass.h"

namespace fathom::vulkan {

/// Every scf.for becomes an scf.while whose body is in front of its test, inside an scf.if unless
/// it is known to run at least once. A driver that runs lanes under a mask leaves a loop at its end
/// alone, when no lane is left: with the test in front each loop would cost one more turn.
/// (The conversion of scf.for itself would lose the initial values of a loop that runs zero times.)
std::unique_ptr<mlir::Pass> createRotateLoopsPass();

/// Of every spirv.mlir.loop that came of them: the header and the block with the test have nothing
/// else in them, so that the module can be serialised.
std::unique_ptr<mlir::Pass> createSplitLoopBodiesPass();

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_TARGET_ROTATELOOPS_H_
