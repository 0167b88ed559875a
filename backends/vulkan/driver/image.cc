// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifying a code image.
#include "backends/vulkan/driver/image.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_join.h"
#include "backends/vulkan/abi/vulkan_image_generated.h"
#include "backends/vulkan/driver/spirv.h"

namespace fathom::vulkan {
namespace {

constexpr char kWhere[] = "code image";
constexpr uint32_t kMaxBindings = 64;
constexpr uint32_t kMaxPush = 64;

// SPIR-V capabilities that the driver switches on, and the feature word that they need ("": every
// usable device has it).
struct Capability {
  uint32_t number;
  const char* name;
  const char* feature;
};
constexpr Capability kCapabilities[] = {
    {0, "Matrix", ""},
    {1, "Shader", ""},
    {9, "Float16", "float16"},
    {11, "Int64", "int64"},
    {22, "Int16", "int16"},
    {39, "Int8", "int8"},
    {46, "SampledBuffer", ""},
    {61, "GroupNonUniform", ""},
    {62, "GroupNonUniformVote", "subgroup_arithmetic"},
    {63, "GroupNonUniformArithmetic", "subgroup_arithmetic"},
    {64, "GroupNonUniformBallot", "subgroup_arithmetic"},
    {65, "GroupNonUniformShuffle", "subgroup_shuffle"},
    {66, "GroupNonUniformShuffleRelative", "subgroup_shuffle"},
    {4433, "StorageBuffer16BitAccess", "storage16"},
    {4448, "StorageBuffer8BitAccess", "storage8"},
    {5345, "VulkanMemoryModel", ""},
    {6016, "DotProductInputAll", "dot8"},
    {6017, "DotProductInput4x8Bit", "dot8"},
    {6018, "DotProductInput4x8BitPacked", "dot8"},
    {6019, "DotProduct", "dot8"},
    {6022, "CooperativeMatrixKHR", "cooperative_matrix"},
};

absl::Status CheckCapabilities(const std::string& where, const SpirvModule& module,
                               const DeviceFacts& facts) {
  for (uint32_t number : module.capabilities) {
    const auto known = std::find_if(std::begin(kCapabilities), std::end(kCapabilities),
                                    [&](const Capability& c) { return c.number == number; });
    if (known == std::end(kCapabilities)) {
      return UnsupportedError(where, absl::StrCat("uses the SPIR-V capability ", number,
                                                  ", which this driver does not switch on"));
    }
    const bool present = known->number == 5345 ? facts.memory_model
                                               : *known->feature == 0 || facts.Has(known->feature);
    if (!present) {
      return UnsupportedError(where, absl::StrCat("uses the SPIR-V capability ", known->name,
                                                  ", which ", facts.name, " lacks"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSubgroup(const std::string& where, const ImageKernel& kernel,
                           const DeviceFacts& facts) {
  const uint32_t size = kernel.subgroup_size;
  if (size == 0) return absl::OkStatus();
  if ((size & (size - 1)) != 0 || size > 128) {
    return InputError(where, "subgroup_size", "0 or a power of two up to 128", size);
  }
  if (size < facts.min_subgroup || size > facts.max_subgroup ||
      (!facts.can_require_subgroup && facts.min_subgroup != facts.max_subgroup)) {
    return UnsupportedError(
        where, absl::StrCat("needs subgroups of ", size, " invocations; ", facts.name, " has ",
                            facts.min_subgroup, " to ", facts.max_subgroup,
                            "; code made with --target=vulkan:generic takes any"));
  }
  if (kernel.workgroup[0] % size != 0) {
    return InputError(where, "workgroup x", absl::StrCat("a multiple of the subgroup size ", size),
                      kernel.workgroup[0]);
  }
  const uint64_t invocations =
      uint64_t{kernel.workgroup[0]} * kernel.workgroup[1] * kernel.workgroup[2];
  if (invocations / size > facts.max_workgroup_subgroups) {
    return UnsupportedError(
        where, absl::StrCat("needs ", invocations / size, " subgroups in a workgroup; ", facts.name,
                            " has ", facts.max_workgroup_subgroups));
  }
  return absl::OkStatus();
}

absl::Status CheckLimits(const std::string& where, const ImageKernel& kernel,
                         const DeviceFacts& facts) {
  const VkPhysicalDeviceLimits& limits = facts.limits;
  uint64_t invocations = 1;
  for (int d = 0; d < 3; ++d) {
    if (kernel.workgroup[d] == 0 || kernel.workgroup[d] > 1 << 16) {
      return InputError(where, "workgroup", "sizes of 1 to 65536", kernel.workgroup[d]);
    }
    invocations *= kernel.workgroup[d];
    if (kernel.workgroup[d] > limits.maxComputeWorkGroupSize[d]) {
      return UnsupportedError(
          where, absl::StrCat("needs a workgroup of ", absl::StrJoin(kernel.workgroup, " x "), "; ",
                              facts.name, " has at most ",
                              absl::StrJoin(limits.maxComputeWorkGroupSize, " x ")));
    }
  }
  if (invocations > limits.maxComputeWorkGroupInvocations) {
    return UnsupportedError(
        where, absl::StrCat("needs workgroups of ", invocations, " invocations; ", facts.name,
                            " has at most ", limits.maxComputeWorkGroupInvocations));
  }
  if (kernel.shared_bytes > limits.maxComputeSharedMemorySize) {
    return UnsupportedError(
        where, absl::StrCat("needs ", kernel.shared_bytes, " bytes of workgroup memory; ",
                            facts.name, " has ", limits.maxComputeSharedMemorySize));
  }
  if (4 * kernel.push_words() > limits.maxPushConstantsSize) {
    return UnsupportedError(
        where, absl::StrCat("needs ", 4 * kernel.push_words(), " bytes of push constants; ",
                            facts.name, " has ", limits.maxPushConstantsSize));
  }
  const auto buffers =
      static_cast<size_t>(std::count(kernel.texels.begin(), kernel.texels.end(), uint8_t{0}));
  const uint32_t most =
      std::min(limits.maxPerStageDescriptorStorageBuffers, limits.maxDescriptorSetStorageBuffers);
  if (buffers > most) {
    return UnsupportedError(
        where, absl::StrCat("needs ", buffers, " storage buffers; ", facts.name, " has ", most));
  }
  const size_t texels = kernel.texels.size() - buffers;
  const uint32_t most_texels =
      std::min(limits.maxPerStageDescriptorSampledImages, limits.maxDescriptorSetSampledImages);
  if (texels > most_texels) {
    return UnsupportedError(where, absl::StrCat("needs ", texels, " uniform texel buffers; ",
                                                facts.name, " has ", most_texels));
  }
  return CheckSubgroup(where, kernel, facts);
}

absl::Status CheckKernel(const std::string& where, const ImageKernel& kernel,
                         const std::vector<SpirvModule>& modules) {
  if (kernel.module >= modules.size()) {
    return InputError(where, "module", absl::StrCat("below ", modules.size()), kernel.module);
  }
  if (kernel.bindings > kMaxBindings) {
    return InputError(where, "bindings", absl::StrCat("at most ", kMaxBindings), kernel.bindings);
  }
  if (kernel.push > kMaxPush) {
    return InputError(where, "push", absl::StrCat("at most ", kMaxPush), kernel.push);
  }
  for (uint8_t view : kernel.views) {
    if (view >= kernel.bindings) {
      return InputError(where, "views", absl::StrCat("numbers below ", kernel.bindings), int{view});
    }
  }
  if (kernel.texels.size() != kernel.views.size()) {
    return InputError(where, "length of texels", kernel.views.size(), kernel.texels.size());
  }
  for (uint8_t bytes : kernel.texels) {
    if (bytes != 0 && bytes != 4 && bytes != 8 && bytes != 16) {
      return InputError(where, "texels", "0, 4, 8 or 16", int{bytes});
    }
  }
  const auto& entries = modules[kernel.module].entries;
  const auto entry = std::find_if(entries.begin(), entries.end(), [&](const SpirvEntry& candidate) {
    return candidate.name == kernel.entry;
  });
  if (entry == entries.end()) {
    return InputError(where, absl::StrCat("module ", kernel.module, " has no entry point \"",
                                          kernel.entry, "\""));
  }
  if (entry->workgroup != kernel.workgroup) {
    return InputError(where, "workgroup of the entry point", absl::StrJoin(kernel.workgroup, " x "),
                      absl::StrJoin(entry->workgroup, " x "));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<VkDescriptorType> ImageKernel::descriptors() const {
  std::vector<VkDescriptorType> types;
  for (uint8_t bytes : texels) {
    types.push_back(bytes != 0 ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER
                               : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER);
  }
  return types;
}

absl::StatusOr<Image> ReadImage(absl::Span<const uint8_t> code, const DeviceFacts& facts) {
  flatbuffers::Verifier verifier(code.data(), code.size());
  if (code.size() < 8 || !abi::VerifyImageBuffer(verifier)) {
    return InputError(kWhere, "not a Vulkan code image (FVKI), or damaged");
  }
  const abi::Image& source = *abi::GetImage(code.data());
  Image image;
  std::vector<SpirvModule> modules;
  for (uint32_t i = 0; i < source.modules()->size(); ++i) {
    const auto& spirv = *source.modules()->Get(i)->spirv();
    const std::string where = absl::StrCat(kWhere, ": module ", i);
    const absl::Span<const uint32_t> words(spirv.data(), spirv.size());
    FATHOM_ASSIGN_OR_RETURN(SpirvModule module, ReadSpirv(where, words));
    FATHOM_RETURN_IF_ERROR(CheckCapabilities(where, module, facts));
    modules.push_back(std::move(module));
    image.modules.push_back(words);
  }
  std::set<std::string> names;
  for (const abi::Kernel* from : *source.kernels()) {
    ImageKernel kernel;
    kernel.name = from->name()->str();
    const std::string where = absl::StrCat(kWhere, ": kernel ", kernel.name);
    kernel.module = from->module_();
    kernel.entry = from->entry()->str();
    kernel.bindings = from->bindings();
    kernel.push = from->push();
    if (from->workgroup()->size() != 3) {
      return InputError(where, "length of workgroup", 3, from->workgroup()->size());
    }
    std::copy(from->workgroup()->begin(), from->workgroup()->end(), kernel.workgroup.begin());
    kernel.subgroup_size = from->subgroup_size();
    kernel.views.assign(from->views()->begin(), from->views()->end());
    if (from->texels() != nullptr && from->texels()->size() != 0) {
      kernel.texels.assign(from->texels()->begin(), from->texels()->end());
    } else {
      kernel.texels.assign(kernel.views.size(), 0);
    }
    kernel.shared_bytes = from->shared_bytes();
    kernel.grid_base = from->grid_base();
    if (!names.insert(kernel.name).second) return InputError(where, "is there twice");
    FATHOM_RETURN_IF_ERROR(CheckKernel(where, kernel, modules));
    FATHOM_RETURN_IF_ERROR(CheckLimits(where, kernel, facts));
    image.kernels.push_back(std::move(kernel));
  }
  return image;
}

}  // namespace fathom::vulkan
