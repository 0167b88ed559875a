// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The code image of a Vulkan program (backends/vulkan/abi), verified against itself and a device.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_IMAGE_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_IMAGE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "backends/vulkan/driver/device_facts.h"

namespace fathom::vulkan {

struct ImageKernel {
  std::string name;
  uint32_t module = 0;
  std::string entry;
  uint32_t bindings = 0;
  uint32_t push = 0;
  std::array<uint32_t, 3> workgroup = {1, 1, 1};
  uint32_t subgroup_size = 0;
  std::vector<uint8_t> views;
  std::vector<uint8_t> texels;  // one for each view
  uint32_t shared_bytes = 0;
  bool grid_base = false;

  // The kind of each descriptor.
  std::vector<VkDescriptorType> descriptors() const;
  // Push constants in all, with the base of the grid.
  uint32_t push_words() const { return push + (grid_base ? 3 : 0); }
};

struct Image {
  // In the image's own bytes.
  std::vector<absl::Span<const uint32_t>> modules;
  std::vector<ImageKernel> kernels;
};

// Checks everything before it is used: the FlatBuffer, each SPIR-V module, every index, that a
// kernel's entry point exists with the workgroup it names, and that the device's limits and
// features suffice. kInvalidArgument for a damaged image; kUnimplemented, naming kernel and limit,
// for one that this device cannot run. `code` is 4-byte aligned and outlives the result.
absl::StatusOr<Image> ReadImage(absl::Span<const uint8_t> code, const DeviceFacts& facts);

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_IMAGE_H_
