// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes that decide how weights are stored: constructors and registration. Descriptions: Passes.td.
#ifndef FATHOM_COMPILER_QUANTIZE_PASSES_H
#define FATHOM_COMPILER_QUANTIZE_PASSES_H

#include <memory>

#include "mlir/Pass/Pass.h"

namespace fathom::quantize {

#define GEN_PASS_DECL
#include "compiler/quantize/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "compiler/quantize/Passes.h.inc"

}  // namespace fathom::quantize

#endif  // FATHOM_COMPILER_QUANTIZE_PASSES_H
