// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CPU profiles by name, and the one of the machine the compiler runs on.
#ifndef FATHOM_BACKENDS_CPU_TARGET_HOSTPROFILE_H
#define FATHOM_BACKENDS_CPU_TARGET_HOSTPROFILE_H

#include <string>
#include <vector>

#include "compiler/target/TargetProfile.h"

namespace fathom::cpu {

/// Names with a fixed meaning, without "cpu:native".
std::vector<std::string> fixedProfileNames();

/// The profile of one of fixedProfileNames(), or nothing.
std::optional<TargetProfile> fixedProfile(llvm::StringRef name);

/// "cpu:native": the largest fixed set of instructions that this machine has, plus its own dot
/// products, scheduled for its processor. A machine below x86-64-v3 is an error that names what
/// lacks.
llvm::Expected<TargetProfile> hostProfile();

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_TARGET_HOSTPROFILE_H
