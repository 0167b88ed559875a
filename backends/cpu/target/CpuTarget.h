// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The compiler's side of the CPU backend: freestanding ELF images of kernels (abi/cpu_abi.h).
#ifndef FATHOM_BACKENDS_CPU_TARGET_CPUTARGET_H
#define FATHOM_BACKENDS_CPU_TARGET_CPUTARGET_H

#include "compiler/target/Target.h"

namespace fathom {

/// Adds the target of "cpu:native", "cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:x86-64-v4-vnni",
/// "cpu:x86-64-v4-bf16", "cpu:x86-64-v4-amx", "cpu:aarch64" and "cpu:aarch64-dotprod".
void registerCpuTarget(TargetRegistry& registry);

}  // namespace fathom

#endif  // FATHOM_BACKENDS_CPU_TARGET_CPUTARGET_H
