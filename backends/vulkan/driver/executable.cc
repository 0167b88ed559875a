// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Building pipelines in parallel.
#include "backends/vulkan/driver/executable.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "backends/vulkan/driver/pipeline_cache.h"

namespace fathom::vulkan {
namespace {

// A VkPipelineCache for the time of building, filled from a file and written back when it grew.
class BuildCache {
 public:
  BuildCache(LogicalDevice& device, std::string path) : device_(device), path_(std::move(path)) {
    if (path_.empty()) return;
    const std::vector<uint8_t> data = LoadPipelineCache(path_, device.facts());
    loaded_ = data.size();
    auto create = Make<VkPipelineCacheCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO);
    create.initialDataSize = data.size();
    create.pInitialData = data.data();
    // Without a cache everything still works, slower.
    if (device_.vk().vkCreatePipelineCache(device_.handle(), &create, nullptr, &cache_) !=
        VK_SUCCESS) {
      cache_ = VK_NULL_HANDLE;
    }
  }
  ~BuildCache() {
    if (cache_ != VK_NULL_HANDLE) {
      device_.vk().vkDestroyPipelineCache(device_.handle(), cache_, nullptr);
    }
  }
  VkPipelineCache handle() const { return cache_; }

  void Store() {
    size_t size = 0;
    if (cache_ == VK_NULL_HANDLE) return;
    const auto get = device_.vk().vkGetPipelineCacheData;
    if (get(device_.handle(), cache_, &size, nullptr) != VK_SUCCESS || size == loaded_) return;
    // Some drivers keep compiled code in a place of their own: then there is only a header.
    if (size <= sizeof(VkPipelineCacheHeaderVersionOne)) return;
    std::vector<uint8_t> data(size);
    if (get(device_.handle(), cache_, &size, data.data()) != VK_SUCCESS) return;
    data.resize(size);
    // A folder that cannot be written costs time at the next start, nothing else.
    (void)StorePipelineCache(path_, data);
  }

 private:
  LogicalDevice& device_;
  const std::string path_;
  size_t loaded_ = 0;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
};

// The shader modules that the chosen kernels need, until the pipelines are built.
class Modules {
 public:
  explicit Modules(LogicalDevice& device) : device_(device) {}
  ~Modules() {
    for (const auto& [index, module] : modules_) {
      device_.vk().vkDestroyShaderModule(device_.handle(), module, nullptr);
    }
  }
  absl::Status Add(uint32_t index, absl::Span<const uint32_t> words) {
    if (modules_.count(index) != 0) return absl::OkStatus();
    auto create = Make<VkShaderModuleCreateInfo>(VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO);
    create.codeSize = words.size() * sizeof(uint32_t);
    create.pCode = words.data();
    VkShaderModule module = VK_NULL_HANDLE;
    FATHOM_VK_RETURN_IF_ERROR(
        absl::StrCat("code image: module ", index, ": vkCreateShaderModule"),
        device_.vk().vkCreateShaderModule(device_.handle(), &create, nullptr, &module));
    modules_[index] = module;
    return absl::OkStatus();
  }
  VkShaderModule of(uint32_t index) const { return modules_.at(index); }

 private:
  LogicalDevice& device_;
  std::map<uint32_t, VkShaderModule> modules_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<hal::Executable>> VulkanExecutable::Load(
    std::shared_ptr<LogicalDevice> device, absl::Span<const uint8_t> code,
    std::vector<hal::KernelInterface> kernels, const hal::DeviceOptions& options) {
  // SPIR-V is read in words.
  std::vector<uint64_t> aligned;
  if (reinterpret_cast<uintptr_t>(code.data()) % alignof(uint64_t) != 0) {
    aligned.resize(code.size() / sizeof(uint64_t) + 1);
    std::memcpy(aligned.data(), code.data(), code.size());
    code = {reinterpret_cast<const uint8_t*>(aligned.data()), code.size()};
  }
  FATHOM_ASSIGN_OR_RETURN(const Image image, ReadImage(code, device->facts()));
  std::unique_ptr<VulkanExecutable> executable(new VulkanExecutable(device, std::move(kernels)));
  FATHOM_RETURN_IF_ERROR(executable->PickKernels(image));
  BuildCache cache(*device, PipelineCachePath(options.code_cache, device->facts(), code));
  FATHOM_RETURN_IF_ERROR(executable->Build(image, cache.handle(), options));
  cache.Store();
  return std::unique_ptr<hal::Executable>(std::move(executable));
}

absl::Status VulkanExecutable::PickKernels(const Image& image) {
  for (const hal::KernelInterface& wanted : kernels()) {
    const auto found =
        std::find_if(image.kernels.begin(), image.kernels.end(),
                     [&](const ImageKernel& kernel) { return kernel.name == wanted.name; });
    if (found == image.kernels.end()) {
      return InputError("code image", "the kernel " + wanted.name + " is missing");
    }
    if (found->bindings != wanted.bindings || found->push != wanted.push) {
      return InputError(
          "code image", "arguments of the kernel " + wanted.name,
          absl::StrCat(wanted.bindings, " bindings, ", wanted.push, " push constants"),
          absl::StrCat(found->bindings, " and ", found->push));
    }
    Pipeline pipeline;
    pipeline.kernel = *found;
    FATHOM_RETURN_IF_ERROR(MakeLayouts(pipeline));
    pipelines_.push_back(std::move(pipeline));
  }
  return absl::OkStatus();
}

absl::Status VulkanExecutable::MakeLayouts(Pipeline& pipeline) {
  const Descriptors descriptors = pipeline.kernel.descriptors();
  const uint32_t push = pipeline.kernel.push_words();
  VkDescriptorSetLayout& set = sets_[descriptors];
  if (set == VK_NULL_HANDLE) {
    std::vector<VkDescriptorSetLayoutBinding> bindings(descriptors.size());
    for (uint32_t i = 0; i < bindings.size(); ++i) {
      bindings[i] = {i, descriptors[i], 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    }
    auto create =
        Make<VkDescriptorSetLayoutCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO);
    create.bindingCount = static_cast<uint32_t>(bindings.size());
    create.pBindings = bindings.data();
    FATHOM_VK_RETURN_IF_ERROR(
        "vkCreateDescriptorSetLayout",
        device_->vk().vkCreateDescriptorSetLayout(device_->handle(), &create, nullptr, &set));
  }
  VkPipelineLayout& layout = layouts_[{descriptors, push}];
  if (layout == VK_NULL_HANDLE) {
    const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 4 * push};
    auto create = Make<VkPipelineLayoutCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO);
    create.setLayoutCount = 1;
    create.pSetLayouts = &set;
    create.pushConstantRangeCount = push != 0 ? 1 : 0;
    create.pPushConstantRanges = &range;
    FATHOM_VK_RETURN_IF_ERROR(
        "vkCreatePipelineLayout",
        device_->vk().vkCreatePipelineLayout(device_->handle(), &create, nullptr, &layout));
  }
  pipeline.set_layout = set;
  pipeline.layout = layout;
  return absl::OkStatus();
}

absl::Status VulkanExecutable::Build(const Image& image, VkPipelineCache cache,
                                     const hal::DeviceOptions& options) {
  Modules modules(*device_);
  for (const Pipeline& pipeline : pipelines_) {
    const uint32_t index = pipeline.kernel.module;
    FATHOM_RETURN_IF_ERROR(modules.Add(index, image.modules[index]));
  }
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  uint64_t done = 0;
  absl::Status status;
  const auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < pipelines_.size();) {
      Pipeline& pipeline = pipelines_[i];
      absl::Status built = BuildOne(pipeline, modules.of(pipeline.kernel.module), cache);
      std::lock_guard lock(mutex);
      if (status.ok()) status = std::move(built);
      if (status.ok() && options.progress && !options.progress(++done, pipelines_.size())) {
        status = absl::CancelledError("building kernels was stopped");
      }
      if (!status.ok()) return;
    }
  };
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min(cores, pipelines_.size()); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  return status;
}

absl::Status VulkanExecutable::BuildOne(Pipeline& pipeline, VkShaderModule module,
                                        VkPipelineCache cache) {
  const ImageKernel& kernel = pipeline.kernel;
  const DeviceFacts& facts = device_->facts();
  auto create = Make<VkComputePipelineCreateInfo>(VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO);
  create.layout = pipeline.layout;
  create.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  create.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  create.stage.module = module;
  create.stage.pName = kernel.entry.c_str();
  auto required = Make<VkPipelineShaderStageRequiredSubgroupSizeCreateInfo>(
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO);
  required.requiredSubgroupSize = kernel.subgroup_size;
  // A device with one size only needs no request, and may not take one.
  if (kernel.subgroup_size != 0 && facts.can_require_subgroup) create.stage.pNext = &required;
  // Without holes in subgroups wherever that can be asked for: a kernel that takes any size counts
  // on it as well.
  const uint32_t largest = kernel.subgroup_size != 0 ? kernel.subgroup_size : facts.max_subgroup;
  if (kernel.workgroup[0] % largest == 0) {
    create.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
  }
  FATHOM_VK_RETURN_IF_ERROR(
      absl::StrCat(facts.name, ": kernel ", kernel.name, ": vkCreateComputePipelines"),
      device_->vk().vkCreateComputePipelines(device_->handle(), cache, 1, &create, nullptr,
                                             &pipeline.handle));
  return absl::OkStatus();
}

VulkanExecutable::~VulkanExecutable() {
  const VolkDeviceTable& vk = device_->vk();
  for (const Pipeline& pipeline : pipelines_) {
    vk.vkDestroyPipeline(device_->handle(), pipeline.handle, nullptr);
  }
  for (const auto& [key, layout] : layouts_) {
    vk.vkDestroyPipelineLayout(device_->handle(), layout, nullptr);
  }
  for (const auto& [key, set] : sets_) {
    vk.vkDestroyDescriptorSetLayout(device_->handle(), set, nullptr);
  }
}

}  // namespace fathom::vulkan
