// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The compiler's side of the CUDA backend: PTX by LLVM, and machine code where ptxas is installed.
#ifndef FATHOM_BACKENDS_CUDA_TARGET_CUDATARGET_H
#define FATHOM_BACKENDS_CUDA_TARGET_CUDATARGET_H

namespace fathom {

class TargetRegistry;

/// Adds "cuda:sm_75" and the other profiles of Profiles.h.
void registerCudaTarget(TargetRegistry& registry);

}  // namespace fathom

#endif  // FATHOM_BACKENDS_CUDA_TARGET_CUDATARGET_H
