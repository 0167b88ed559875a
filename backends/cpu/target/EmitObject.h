// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a kernel in the LLVM dialect to an object file; the object with the table of kernels.
#ifndef FATHOM_BACKENDS_CPU_TARGET_EMITOBJECT_H
#define FATHOM_BACKENDS_CPU_TARGET_EMITOBJECT_H

#include <string>

#include "compiler/target/TargetProfile.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"

namespace fathom::cpu {

using Bytes = llvm::SmallVector<char, 0>;

/// One compiled kernel.
struct KernelObject {
  std::string name;
  int64_t bindings = 0;
  int64_t push = 0;
  int64_t scratchBytes = 0;
  Bytes object;          // a relocatable ELF file that defines entrySymbol(name) and calls nothing
  std::string llvmIr;    // filled only when asked for
  std::string assembly;  // likewise
};

/// The hidden symbol of the fathom_cpu_kernel (abi/cpu_abi.h) of kernel `name`.
std::string entrySymbol(llvm::StringRef name);

/// Optimises and compiles the one kernel of `module` (lowered by lowerKernel). `name` must be its
/// symbol. Failures are diagnostics at the module's location, among them a call that the kernel
/// needs and a freestanding image cannot have.
mlir::FailureOr<KernelObject> emitKernelObject(mlir::ModuleOp module, llvm::StringRef name,
                                               const TargetProfile& profile, bool keepText);

/// An object that defines FATHOM_CPU_TABLE over `kernels`, in their order.
mlir::FailureOr<Bytes> emitTableObject(llvm::ArrayRef<KernelObject> kernels,
                                       const TargetProfile& profile, mlir::Location loc);

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_TARGET_EMITOBJECT_H
