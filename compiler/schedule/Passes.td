// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes over the schedule dialect.
#ifndef FATHOM_COMPILER_SCHEDULE_PASSES_TD
#define FATHOM_COMPILER_SCHEDULE_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlanMemoryPass : Pass<"fathom-plan-memory", "::fathom::schedule::EntryOp"> {
  let summary = "Place the transient buffers of an entry point in one arena";
  let description = [{
    Buffers whose lifetimes (first to last dispatch that names them) do not overlap share a place. Sizes
    are expressions over T, B, P and R, so places are too: a buffer of `a T + c` bytes goes to a slot
    of buffers that grow with the same symbols, the slot is as large as the largest coefficient of
    each, and the offset of a slot is the sum of the slots before it. The plan is valid for every
    value of the symbols; sizes and offsets are multiples of 64 bytes.

    ```mlir
    // before
    %a = schedule.buffer "a" transient size(affine_map<()[T, B, P, R] -> (T * 256)>)
    // after
    %a = schedule.buffer "a" transient size(...) offset(affine_map<()[T, B, P, R] -> (0)>)
    ```
  }];
}

#endif // FATHOM_COMPILER_SCHEDULE_PASSES_TD
