// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From graph ops to kernels: constructors and registration. Descriptions: Passes.td.
#ifndef FATHOM_COMPILER_LOWER_PASSES_H
#define FATHOM_COMPILER_LOWER_PASSES_H

#include <memory>

#include "mlir/Pass/Pass.h"

namespace fathom::lower {

#define GEN_PASS_DECL
#include "compiler/lower/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "compiler/lower/Passes.h.inc"

}  // namespace fathom::lower

#endif  // FATHOM_COMPILER_LOWER_PASSES_H
