// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Links the objects of a program to the freestanding ELF image that the CPU driver loads.
#ifndef FATHOM_BACKENDS_CPU_TARGET_LINKIMAGE_H
#define FATHOM_BACKENDS_CPU_TARGET_LINKIMAGE_H

#include "backends/cpu/target/EmitObject.h"

namespace fathom::cpu {

/// Links `objects` to a shared object that exports FATHOM_CPU_TABLE and nothing else, and appends
/// it to `image`. The result has no imports, no needed libraries and no relocations; anything else
/// is an error at `loc`. The bytes depend on the objects alone.
mlir::LogicalResult linkImage(llvm::ArrayRef<llvm::StringRef> objects, mlir::Location loc,
                              llvm::SmallVectorImpl<char>& image);

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_TARGET_LINKIMAGE_H
