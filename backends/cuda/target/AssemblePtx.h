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

struct Assembled {
  std::vector<uint8_t> cubin;  // empty: there is no ptxas on the path
  std::string log;             // ptxas -v: registers, stack frame and spills of each kernel
};

/// The machine code of `ptx` for the profile's chip. What ptxas refuses is an error at `loc` with
/// its words.
mlir::FailureOr<Assembled> assemblePtx(const std::string& ptx, const TargetProfile& profile,
                                       mlir::Location loc);

/// What `log` says of the kernel `entry`: its lines, without "ptxas info    : ".
std::string reportOf(llvm::StringRef log, llvm::StringRef entry);

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_TARGET_ASSEMBLEPTX_H
