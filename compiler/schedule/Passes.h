// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes over the schedule dialect: constructors and registration. Descriptions: Passes.td.
#ifndef FATHOM_COMPILER_SCHEDULE_PASSES_H
#define FATHOM_COMPILER_SCHEDULE_PASSES_H

#include <memory>

#include "mlir/Pass/Pass.h"

namespace fathom::schedule {

#define GEN_PASS_DECL
#include "compiler/schedule/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "compiler/schedule/Passes.h.inc"

}  // namespace fathom::schedule

#endif  // FATHOM_COMPILER_SCHEDULE_PASSES_H
