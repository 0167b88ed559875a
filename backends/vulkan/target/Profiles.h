// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The Vulkan profiles by name.
#ifndef FATHOM_BACKENDS_VULKAN_TARGET_PROFILES_H
#define FATHOM_BACKENDS_VULKAN_TARGET_PROFILES_H

#include <string>
#include <vector>

#include "compiler/target/TargetProfile.h"

namespace fathom::vulkan {

/// "vulkan:generic" first: what every Vulkan 1.3 device runs that has subgroup arithmetic. The
/// others differ in what they use and how they cut the work.
std::vector<std::string> profileNames();

/// The profile of one of profileNames(), or nothing.
std::optional<TargetProfile> profileNamed(llvm::StringRef name);

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_TARGET_PROFILES_H
