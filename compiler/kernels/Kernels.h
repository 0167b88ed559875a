// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernel library: from a family and its configuration (docs/spec/kernels.md) to a function.
#ifndef FATHOM_COMPILER_KERNELS_KERNELS_H
#define FATHOM_COMPILER_KERNELS_KERNELS_H

#include <cstdint>
#include <vector>

#include "compiler/target/TargetProfile.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Support/LLVM.h"

namespace fathom::kernels {

/// How many buffers and int64 constants a dispatch of a kernel passes.
struct KernelInterface {
  int64_t bindings = 0;
  int64_t push = 0;
};

/// The dialects that emitters create operations of.
void registerKernelDialects(mlir::DialectRegistry& registry);

/// Every family that emitKernel knows, sorted.
std::vector<llvm::StringRef> kernelFamilies();

/// Appends the function @name to `into`: a kernel of `family` for `profile`. Its form is described
/// in simd/KernelBuilder.h: bindings as flat memrefs in the catalogue's order, push constants and
/// the grid position as index, marked `fathom.kernel`. An unknown family and a config entry that is
/// missing, of the wrong kind or out of range are errors at the module's location that name family
/// and entry; `into` is then unchanged.
mlir::FailureOr<KernelInterface> emitKernel(mlir::ModuleOp into, llvm::StringRef name,
                                            llvm::StringRef family, mlir::DictionaryAttr config,
                                            const TargetProfile& profile);

/// The config entry `panel_tiles` of `linear` and `experts`: tiles of 16 rows that one workgroup
/// computes, so that it reads some tens of KB of weights and there are enough workgroups to share.
/// Needs the entries rows, cols, enc and (for swiglu's second weight) epilogue; answers 1 without
/// them.
int64_t linearPanelTiles(const TargetProfile& profile, mlir::DictionaryAttr config);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_KERNELS_H
