// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The compiler's side of the Vulkan backend: SPIR-V 1.6 modules in one image.
#ifndef FATHOM_BACKENDS_VULKAN_TARGET_VULKANTARGET_H
#define FATHOM_BACKENDS_VULKAN_TARGET_VULKANTARGET_H

namespace fathom {

class TargetRegistry;

/// Adds "vulkan:generic" and the other profiles of Profiles.h.
void registerVulkanTarget(TargetRegistry& registry);

}  // namespace fathom

#endif  // FATHOM_BACKENDS_VULKAN_TARGET_VULKANTARGET_H
