// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Graph-to-graph passes: constructors and registration. Descriptions: Passes.td.
#ifndef FATHOM_COMPILER_FUSE_PASSES_H
#define FATHOM_COMPILER_FUSE_PASSES_H

#include <memory>

#include "mlir/Pass/Pass.h"

namespace fathom::fuse {

#define GEN_PASS_DECL
#include "compiler/fuse/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "compiler/fuse/Passes.h.inc"

}  // namespace fathom::fuse

#endif  // FATHOM_COMPILER_FUSE_PASSES_H
