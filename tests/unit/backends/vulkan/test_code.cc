// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading the assembled kernels, packing images.
#include "tests/unit/backends/vulkan/test_code.h"

#include <cstring>
#include <fstream>
#include <iterator>

namespace fathom::vulkan {
namespace {

void Add(abi::ImageT* image, const std::string& name, uint32_t bindings, uint32_t push,
         uint32_t workgroup, std::vector<uint8_t> views) {
  auto module = std::make_unique<abi::ModuleT>();
  module->spirv = TestModule(name);
  auto kernel = std::make_unique<abi::KernelT>();
  kernel->name = kernel->entry = name;
  kernel->module_ = static_cast<uint32_t>(image->modules.size());
  kernel->bindings = bindings;
  kernel->push = push;
  kernel->workgroup = {workgroup, 1, 1};
  kernel->views = std::move(views);
  image->modules.push_back(std::move(module));
  image->kernels.push_back(std::move(kernel));
}

}  // namespace

std::vector<uint32_t> TestModule(const std::string& name) {
  std::ifstream file(std::string(FATHOM_SPIRV_FOLDER) + "/" + name + ".spv", std::ios::binary);
  const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
  std::vector<uint32_t> words(bytes.size() / sizeof(uint32_t));
  std::memcpy(words.data(), bytes.data(), words.size() * sizeof(uint32_t));
  return words;
}

abi::ImageT TestImage(uint32_t subgroup_size, bool views) {
  abi::ImageT image;
  Add(&image, "count", 1, 2, 1, {0});
  Add(&image, "sum", 2, 1, 1, {0, 1});
  Add(&image, "count_base", 1, 2, 1, {0});
  image.kernels.back()->grid_base = true;
  Add(&image, "reverse", 2, 0, 64, {0, 1});
  image.kernels.back()->shared_bytes = 256;
  Add(&image, "subgroup", 1, 0, 64, {0});
  image.kernels.back()->subgroup_size = subgroup_size;
  if (views) Add(&image, "views", 2, 0, 1, {0, 0, 1});
  return image;
}

abi::ImageT HistoryImage() {
  abi::ImageT image;
  Add(&image, "append", 5, 1, 1, {0, 1, 2, 3, 4});
  Add(&image, "history", 6, 1, 1, {0, 1, 2, 3, 4, 5});
  Add(&image, "logits", 3, 1, 1, {0, 1, 2});
  return image;
}

std::vector<uint8_t> Pack(const abi::ImageT& image) {
  flatbuffers::FlatBufferBuilder builder;
  abi::FinishImageBuffer(builder, abi::CreateImage(builder, &image));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

DeviceFacts TestFacts() {
  DeviceFacts facts;
  facts.name = "test device";
  facts.api_version = VK_API_VERSION_1_3;
  facts.vendor_id = 0x10005;
  facts.device_id = 7;
  facts.limits.maxComputeWorkGroupInvocations = 128;
  for (int d = 0; d < 3; ++d) {
    facts.limits.maxComputeWorkGroupSize[d] = 128;
    facts.limits.maxComputeWorkGroupCount[d] = 65535;
  }
  facts.limits.maxComputeSharedMemorySize = 16384;
  facts.limits.maxPushConstantsSize = 128;
  facts.limits.maxPerStageDescriptorStorageBuffers = 4;
  facts.limits.maxDescriptorSetStorageBuffers = 24;
  facts.limits.maxPerStageDescriptorSampledImages = 2;
  facts.limits.maxDescriptorSetSampledImages = 24;
  facts.limits.maxTexelBufferElements = 1 << 22;
  facts.limits.maxStorageBufferRange = 1 << 27;
  facts.limits.minStorageBufferOffsetAlignment = 256;
  facts.min_subgroup = facts.max_subgroup = 8;
  facts.max_workgroup_subgroups = 16;
  facts.can_require_subgroup = true;
  facts.max_allocation = facts.max_buffer = 1 << 30;
  facts.features = {"subgroup_arithmetic", "subgroup_8"};
  return facts;
}

}  // namespace fathom::vulkan
