// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels of a code image as compute pipelines.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_EXECUTABLE_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_EXECUTABLE_H_

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "backends/vulkan/driver/image.h"
#include "backends/vulkan/driver/logical_device.h"
#include "runtime/hal/command_buffer.h"

namespace fathom::vulkan {

struct Pipeline {
  ImageKernel kernel;
  VkPipeline handle = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
};

class VulkanExecutable final : public hal::Executable {
 public:
  // Builds the pipelines of `kernels` on every core, with what an earlier start left in the cache
  // folder. `options`: progress and code_cache.
  static absl::StatusOr<std::unique_ptr<hal::Executable>> Load(
      std::shared_ptr<LogicalDevice> device, absl::Span<const uint8_t> code,
      std::vector<hal::KernelInterface> kernels, const hal::DeviceOptions& options);
  ~VulkanExecutable() override;

  const Pipeline& pipeline(uint32_t kernel) const { return pipelines_[kernel]; }

 private:
  VulkanExecutable(std::shared_ptr<LogicalDevice> device, std::vector<hal::KernelInterface> kernels)
      : Executable(std::move(kernels)), device_(std::move(device)) {}
  absl::Status PickKernels(const Image& image);
  absl::Status MakeLayouts(Pipeline& pipeline);
  absl::Status Build(const Image& image, VkPipelineCache cache, const hal::DeviceOptions& options);
  absl::Status BuildOne(Pipeline& pipeline, VkShaderModule module, VkPipelineCache cache);

  const std::shared_ptr<LogicalDevice> device_;
  std::vector<Pipeline> pipelines_;  // by kernel
  using Descriptors = std::vector<VkDescriptorType>;
  std::map<Descriptors, VkDescriptorSetLayout> sets_;
  std::map<std::pair<Descriptors, uint32_t>, VkPipelineLayout> layouts_;  // with push words
};

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_EXECUTABLE_H_
