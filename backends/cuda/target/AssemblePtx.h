// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Machine code from PTX, where NVIDIA's assembler is installed.
#ifndef FATHOM_BACKENDS_CUDA_TARGET_ASSEMBLEPTX_H
#define FATHOM_BACKENDS_CUDA_TARGET_ASSEMBLEPTX_H

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/target/TargetProfile.h"
#include "mlir/IR/Location.h"
#include "mlir/Support/LLVM.h"

namespace fathom::cuda {

/// The cubin of `ptx` for the profile's chip; empty when no ptxas is on the path. What ptxas
/// refuses is an error at `loc` with its words.
mlir::FailureOr<std::vector<uint8_t>> assemblePtx(const std::string& ptx,
                                                  const TargetProfile& profile, mlir::Location loc);

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_TARGET_ASSEMBLEPTX_H
