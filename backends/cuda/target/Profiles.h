// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CUDA profiles by name.
#ifndef FATHOM_BACKENDS_CUDA_TARGET_PROFILES_H
#define FATHOM_BACKENDS_CUDA_TARGET_PROFILES_H

#include <string>
#include <vector>

#include "compiler/target/TargetProfile.h"

namespace fathom::cuda {

/// "cuda:sm_75" to "cuda:sm_120". A profile's `cpu` is LLVM's name of the architecture ("sm_80"),
/// its `tune` the PTX version that the text is written in ("+ptx80").
std::vector<std::string> profileNames();

/// The profile of one of profileNames(), or nothing.
std::optional<TargetProfile> profileNamed(llvm::StringRef name);

/// The number in "sm_80", 0 when there is none.
unsigned capabilityOf(const TargetProfile& profile);

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_TARGET_PROFILES_H
