// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The Vulkan API, opened at run time, and how its errors become statuses.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_VULKAN_API_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_VULKAN_API_H_

#include <volk.h>

#include <string>

#include "runtime/base/status.h"

namespace fathom::vulkan {

// "VK_ERROR_DEVICE_LOST", or the number of a result that this list does not know.
std::string ResultName(VkResult result);

// "<what>: VK_ERROR_...": kResourceExhausted for memory, kUnavailable for a lost device,
// kUnimplemented for what the driver lacks, else kInternal.
absl::Status VulkanError(const std::string& what, VkResult result);

// A Vulkan structure with its type set and everything else zero.
template <typename T>
T Make(VkStructureType type) {
  T value = {};
  value.sType = type;
  return value;
}

}  // namespace fathom::vulkan

// Returns from the enclosing function when the call's result is an error.
#define FATHOM_VK_RETURN_IF_ERROR(what, call)                                \
  do {                                                                       \
    if (const VkResult fathom_result_ = (call); fathom_result_ < VK_SUCCESS) \
      return ::fathom::vulkan::VulkanError(what, fathom_result_);            \
  } while (false)

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_VULKAN_API_H_
