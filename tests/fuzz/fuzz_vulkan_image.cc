// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Vulkan code images: verification, never a driver.
#include <cstring>
#include <vector>

#include "backends/vulkan/driver/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fathom::vulkan::DeviceFacts facts;
  facts.limits.maxComputeWorkGroupInvocations = 1024;
  for (uint32_t& limit : facts.limits.maxComputeWorkGroupSize) limit = 1024;
  facts.limits.maxComputeSharedMemorySize = 32768;
  facts.limits.maxPushConstantsSize = 128;
  facts.limits.maxPerStageDescriptorStorageBuffers = 16;
  facts.limits.maxDescriptorSetStorageBuffers = 16;
  facts.min_subgroup = 8;
  facts.max_subgroup = 64;
  facts.max_workgroup_subgroups = 64;
  facts.can_require_subgroup = true;
  facts.features = {"int8", "int16", "storage8", "storage16", "dot8", "subgroup_arithmetic"};
  // Aligned as the runtime hands it over.
  std::vector<uint64_t> copy(size / 8 + 1);
  std::memcpy(copy.data(), data, size);
  (void)fathom::vulkan::ReadImage({reinterpret_cast<const uint8_t*>(copy.data()), size}, facts);
  return 0;
}
