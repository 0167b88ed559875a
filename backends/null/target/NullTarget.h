// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The compiler's side of the null backend, which computes nothing: for plans, and to clone.
#ifndef FATHOM_BACKENDS_NULL_TARGET_NULLTARGET_H
#define FATHOM_BACKENDS_NULL_TARGET_NULLTARGET_H

namespace fathom {

class TargetRegistry;

/// Adds the target "null".
void registerNullTarget(TargetRegistry& registry);

}  // namespace fathom

#endif  // FATHOM_BACKENDS_NULL_TARGET_NULLTARGET_H
