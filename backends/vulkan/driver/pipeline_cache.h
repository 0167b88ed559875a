// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled pipelines kept in a file for the next start.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_PIPELINE_CACHE_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_PIPELINE_CACHE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "backends/vulkan/driver/device_facts.h"

namespace fathom::vulkan {

// The file of `code` on the device: <folder>/vulkan-<driver UUID>-<device>-<hash of code>.cache.
// `folder` as DeviceOptions::code_cache; "" when nothing is to be kept.
std::string PipelineCachePath(const std::string& folder, const DeviceFacts& facts,
                              absl::Span<const uint8_t> code);

// What StorePipelineCache put there; empty when the file is missing, cut, altered, or made for
// another device or driver. A vendor's parser never sees a byte that was not written by its driver.
std::vector<uint8_t> LoadPipelineCache(const std::string& path, const DeviceFacts& facts);

// Whole or not at all, also when several processes write at once. Makes the folder.
absl::Status StorePipelineCache(const std::string& path, absl::Span<const uint8_t> data);

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_PIPELINE_CACHE_H_
