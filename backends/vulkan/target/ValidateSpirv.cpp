// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls SPIRV-Tools through its C interface.
#include "backends/vulkan/target/ValidateSpirv.h"

#include "mlir/IR/Diagnostics.h"

#ifdef FATHOM_HAVE_SPIRV_TOOLS
#include "spirv-tools/libspirv.h"
#endif

namespace fathom::vulkan {

#ifdef FATHOM_HAVE_SPIRV_TOOLS

bool hasSpirvValidator() { return true; }

mlir::LogicalResult validateSpirv(llvm::ArrayRef<uint32_t> words, mlir::Location loc) {
  spv_context context = spvContextCreate(SPV_ENV_VULKAN_1_3);
  spv_diagnostic diagnostic = nullptr;
  const bool good =
      spvValidateBinary(context, words.data(), words.size(), &diagnostic) == SPV_SUCCESS;
  if (!good)
    mlir::emitError(loc) << "the SPIR-V of this kernel is invalid: "
                         << (diagnostic && diagnostic->error ? diagnostic->error : "no reason");
  spvDiagnosticDestroy(diagnostic);
  spvContextDestroy(context);
  return mlir::success(good);
}

#else

bool hasSpirvValidator() { return false; }

mlir::LogicalResult validateSpirv(llvm::ArrayRef<uint32_t>, mlir::Location) {
  return mlir::success();
}

#endif

}  // namespace fathom::vulkan
