// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Asking a physical device what it can do, and switching that on.
#include "backends/vulkan/driver/device_facts.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"

namespace fathom::vulkan {
namespace {

// What the compiler may count on in every Vulkan program.
constexpr uint64_t kBindingAlignment = 256;
constexpr uint32_t kMinPushBytes = 128;

constexpr char kCooperativeMatrixExtension[] = "VK_KHR_cooperative_matrix";
constexpr auto kCooperativeMatrixFeatures = static_cast<VkStructureType>(1000506000);

std::string VersionText(uint32_t version) {
  return absl::StrCat(VK_API_VERSION_MAJOR(version), ".", VK_API_VERSION_MINOR(version), ".",
                      VK_API_VERSION_PATCH(version));
}

bool HasExtension(VkPhysicalDevice device, const char* name) {
  uint32_t count = 0;
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data());
  return std::any_of(extensions.begin(), extensions.end(), [&](const auto& extension) {
    return std::strcmp(extension.extensionName, name) == 0;
  });
}

// A family for compute alone keeps long submissions away from the desktop's.
bool PickQueueFamily(VkPhysicalDevice device, DeviceFacts* facts) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
  int best = -1, best_score = -1;
  for (uint32_t i = 0; i < count; ++i) {
    const VkQueueFamilyProperties& family = families[i];
    if ((family.queueFlags & VK_QUEUE_COMPUTE_BIT) == 0 || family.queueCount == 0) continue;
    const int score = (family.timestampValidBits != 0 ? 2 : 0) +
                      ((family.queueFlags & VK_QUEUE_GRAPHICS_BIT) == 0 ? 1 : 0);
    if (score > best_score) {
      best = static_cast<int>(i);
      best_score = score;
    }
  }
  if (best < 0) return false;
  facts->queue_family = static_cast<uint32_t>(best);
  facts->timestamp_bits = families[best].timestampValidBits;
  return true;
}

struct Properties {
  VkPhysicalDeviceProperties2 core;
  VkPhysicalDeviceVulkan11Properties v11;
  VkPhysicalDeviceVulkan12Properties v12;
  VkPhysicalDeviceVulkan13Properties v13;
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT import;
};

Properties ReadProperties(VkPhysicalDevice device, bool has_import) {
  Properties p = {};
  p.core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  p.v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES;
  p.v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES;
  p.v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES;
  p.import.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
  p.core.pNext = &p.v11;
  p.v11.pNext = &p.v12;
  p.v12.pNext = &p.v13;
  p.v13.pNext = has_import ? &p.import : nullptr;
  vkGetPhysicalDeviceProperties2(device, &p.core);
  return p;
}

struct Features {
  VkPhysicalDeviceFeatures2 core;
  VkPhysicalDeviceVulkan11Features v11;
  VkPhysicalDeviceVulkan12Features v12;
  VkPhysicalDeviceVulkan13Features v13;
};

Features ReadFeatures(VkPhysicalDevice device) {
  Features f = {};
  f.core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  f.v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
  f.v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  f.v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
  f.core.pNext = &f.v11;
  f.v11.pNext = &f.v12;
  f.v12.pNext = &f.v13;
  vkGetPhysicalDeviceFeatures2(device, &f.core);
  return f;
}

// Features that Vulkan 1.3 demands, and limits that the compiler relies on.
std::string FindUnusable(const DeviceFacts& facts, const Features& f) {
  if (!f.v13.synchronization2) return "lacks the feature synchronization2";
  if (!f.v13.subgroupSizeControl) return "lacks the feature subgroupSizeControl";
  if (!f.v13.computeFullSubgroups) return "lacks the feature computeFullSubgroups";
  if (!f.v13.maintenance4) return "lacks the feature maintenance4";
  if (facts.limits.minStorageBufferOffsetAlignment > kBindingAlignment) {
    return absl::StrCat("minStorageBufferOffsetAlignment: expected at most ", kBindingAlignment,
                        ", found ", facts.limits.minStorageBufferOffsetAlignment);
  }
  if (facts.limits.maxPushConstantsSize < kMinPushBytes) {
    return absl::StrCat("maxPushConstantsSize: expected at least ", kMinPushBytes, ", found ",
                        facts.limits.maxPushConstantsSize);
  }
  return "";
}

std::vector<std::string> FeatureWords(const DeviceFacts& facts, const Features& f,
                                      const VkPhysicalDeviceVulkan11Properties& p11) {
  std::vector<std::string> words;
  const auto add = [&](const char* word, bool present) {
    if (present) words.push_back(word);
  };
  add("int8", f.v12.shaderInt8);
  add("int16", f.core.features.shaderInt16);
  add("int64", f.core.features.shaderInt64);
  add("float16", f.v12.shaderFloat16);
  add("storage8", f.v12.storageBuffer8BitAccess);
  add("storage16", f.v11.storageBuffer16BitAccess);
  add("dot8", f.v13.shaderIntegerDotProduct);
  const bool compute = (p11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
  const VkSubgroupFeatureFlags operations = compute ? p11.subgroupSupportedOperations : 0;
  add("subgroup_arithmetic", (operations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT) != 0);
  add("subgroup_shuffle", (operations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT) != 0);
  for (uint32_t n = facts.min_subgroup; n != 0 && n <= facts.max_subgroup; n *= 2) {
    words.push_back(absl::StrCat("subgroup_", n));
  }
  words.push_back(absl::StrCat("invocations_", std::min(facts.limits.maxComputeWorkGroupInvocations,
                                                        facts.limits.maxComputeWorkGroupSize[0])));
  words.push_back(absl::StrCat("shared_", facts.limits.maxComputeSharedMemorySize / 1024, "k"));
  words.push_back(absl::StrCat("range_", facts.limits.maxStorageBufferRange >> 20, "m"));
  words.push_back(absl::StrCat("texels_", facts.limits.maxTexelBufferElements >> 20, "m"));
  return words;
}

// "shared_32k" with prefix "shared_" and suffix "k" is 32.
bool ParseWord(const std::string& word, const char* prefix, const char* suffix, uint64_t* number) {
  if (!absl::StartsWith(word, prefix) || !absl::EndsWith(word, suffix)) return false;
  const size_t begin = std::strlen(prefix), end = word.size() - std::strlen(suffix);
  return begin < end && absl::SimpleAtoi(word.substr(begin, end - begin), number);
}

}  // namespace

bool DeviceFacts::unified() const {
  if (type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU || type == VK_PHYSICAL_DEVICE_TYPE_CPU) {
    return true;
  }
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i) {
    if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) == 0) return false;
  }
  return memory.memoryHeapCount == 1;
}

uint64_t DeviceFacts::memory_bytes() const {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i) {
    if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0) {
      bytes = std::max<uint64_t>(bytes, memory.memoryHeaps[i].size);
    }
  }
  return bytes;
}

bool DeviceFacts::Has(const std::string& feature) const {
  if (std::find(features.begin(), features.end(), feature) != features.end()) return true;
  uint64_t n = 0;
  if (ParseWord(feature, "invocations_", "", &n)) {
    return n <= limits.maxComputeWorkGroupInvocations && n <= limits.maxComputeWorkGroupSize[0];
  }
  if (ParseWord(feature, "shared_", "k", &n)) return n <= limits.maxComputeSharedMemorySize / 1024;
  if (ParseWord(feature, "range_", "m", &n)) return n <= limits.maxStorageBufferRange >> 20;
  if (ParseWord(feature, "texels_", "m", &n)) return n <= limits.maxTexelBufferElements >> 20;
  return false;
}

DeviceFacts ReadDeviceFacts(VkPhysicalDevice device) {
  DeviceFacts facts;
  VkPhysicalDeviceProperties basic;
  vkGetPhysicalDeviceProperties(device, &basic);
  facts.name = basic.deviceName;
  facts.api_version = basic.apiVersion;
  facts.vendor_id = basic.vendorID;
  facts.device_id = basic.deviceID;
  facts.type = basic.deviceType;
  facts.limits = basic.limits;
  std::memcpy(facts.cache_uuid.data(), basic.pipelineCacheUUID, VK_UUID_SIZE);
  vkGetPhysicalDeviceMemoryProperties(device, &facts.memory);
  facts.driver = "Vulkan " + VersionText(basic.apiVersion);
  if (basic.apiVersion < VK_API_VERSION_1_3) {
    facts.unusable = "the driver offers " + facts.driver + ", Vulkan 1.3 is needed: update it";
    return facts;
  }
  if (!PickQueueFamily(device, &facts)) {
    facts.unusable = "has no queue for compute work";
    return facts;
  }

  const bool has_import = HasExtension(device, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  const Properties p = ReadProperties(device, has_import);
  facts.driver = absl::StrCat(p.v12.driverName, p.v12.driverInfo[0] != 0 ? " " : "",
                              p.v12.driverInfo, ", ", facts.driver);
  std::memcpy(facts.driver_uuid.data(), p.v11.driverUUID, VK_UUID_SIZE);
  facts.min_subgroup = p.v13.minSubgroupSize;
  facts.max_subgroup = p.v13.maxSubgroupSize;
  facts.max_workgroup_subgroups = p.v13.maxComputeWorkgroupSubgroups;
  facts.can_require_subgroup =
      (p.v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
  facts.dot8_accelerated = p.v13.integerDotProduct4x8BitPackedSignedAccelerated;
  facts.max_allocation = p.v11.maxMemoryAllocationSize;
  facts.max_buffer = std::min(p.v11.maxMemoryAllocationSize, p.v13.maxBufferSize);
  if (has_import) facts.import_alignment = p.import.minImportedHostPointerAlignment;

  const Features f = ReadFeatures(device);
  facts.memory_model = f.v12.vulkanMemoryModel;
  facts.unusable = FindUnusable(facts, f);
  facts.features = FeatureWords(facts, f, p.v11);
  if (facts.memory_model && HasExtension(device, kCooperativeMatrixExtension)) {
    facts.features.push_back("cooperative_matrix");
  }
  return facts;
}

EnabledFeatures::EnabledFeatures(const DeviceFacts& facts)
    : features_(), features11_(), features12_(), features13_(), cooperative_() {
  features_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features_.pNext = &features11_;
  features_.features.shaderInt16 = facts.Has("int16");
  features_.features.shaderInt64 = facts.Has("int64");
  features11_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
  features11_.pNext = &features12_;
  features11_.storageBuffer16BitAccess = facts.Has("storage16");
  features12_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  features12_.pNext = &features13_;
  features12_.shaderInt8 = facts.Has("int8");
  features12_.shaderFloat16 = facts.Has("float16");
  features12_.storageBuffer8BitAccess = facts.Has("storage8");
  features12_.vulkanMemoryModel = facts.memory_model;
  features13_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
  features13_.synchronization2 = VK_TRUE;
  features13_.subgroupSizeControl = VK_TRUE;
  features13_.computeFullSubgroups = VK_TRUE;
  features13_.maintenance4 = VK_TRUE;
  features13_.shaderIntegerDotProduct = facts.Has("dot8");
  if (facts.import_alignment != 0) {
    extensions_.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  }
  if (facts.Has("cooperative_matrix")) {
    extensions_.push_back(kCooperativeMatrixExtension);
    cooperative_.type = kCooperativeMatrixFeatures;
    cooperative_.matrix = VK_TRUE;
    features13_.pNext = &cooperative_;
  }
}

hal::DeviceInfo ToDeviceInfo(const DeviceFacts& facts, size_t index, bool hide_host_memory) {
  hal::DeviceInfo info;
  info.id = absl::StrCat("vulkan:", index);
  info.name = facts.name;
  info.features = facts.features;
  info.memory_bytes = facts.memory_bytes();
  info.driver = facts.driver;
  info.unusable = facts.unusable;
  const bool generic = facts.Has("dot8") && facts.Has("invocations_256");
  info.suggested_target = generic ? "vulkan:generic" : "vulkan:32bit";
  info.on_host = facts.type == VK_PHYSICAL_DEVICE_TYPE_CPU;
  info.unified_memory = facts.unified();
  info.max_buffer_bytes = facts.max_buffer;
  info.max_binding_bytes = facts.limits.maxStorageBufferRange;
  info.binding_alignment =
      static_cast<uint32_t>(std::max<uint64_t>(64, facts.limits.minStorageBufferOffsetAlignment));
  info.imports_memory = facts.import_alignment != 0 && facts.unified() && !hide_host_memory;
  const char* type = facts.type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU     ? "discrete GPU"
                     : facts.type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ? "integrated GPU"
                     : facts.type == VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU    ? "virtual GPU"
                     : facts.type == VK_PHYSICAL_DEVICE_TYPE_CPU            ? "software on the CPU"
                                                                            : "other";
  const VkPhysicalDeviceLimits& limits = facts.limits;
  info.limits = {
      {"type", type},
      {"subgroup size", facts.min_subgroup == facts.max_subgroup
                            ? absl::StrCat(facts.min_subgroup)
                            : absl::StrCat(facts.min_subgroup, " to ", facts.max_subgroup)},
      {"workgroup", absl::StrCat(limits.maxComputeWorkGroupInvocations, " invocations, ",
                                 limits.maxComputeSharedMemorySize / 1024, " KiB shared")},
      {"grid", absl::StrJoin(limits.maxComputeWorkGroupCount, " x ")},
      {"push constants", absl::StrCat(limits.maxPushConstantsSize, " bytes")},
      {"storage buffer range", absl::StrCat(limits.maxStorageBufferRange >> 20, " MiB")},
      {"storage buffer alignment", absl::StrCat(limits.minStorageBufferOffsetAlignment, " bytes")},
      {"one allocation", absl::StrCat(facts.max_allocation >> 20, " MiB")},
      {"dot8", facts.dot8_accelerated ? "accelerated" : "not accelerated"},
  };
  for (uint32_t i = 0; i < facts.memory.memoryHeapCount; ++i) {
    const VkMemoryHeap& heap = facts.memory.memoryHeaps[i];
    const bool local = (heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0;
    info.limits.emplace_back(absl::StrCat("heap ", i),
                             absl::StrCat(heap.size >> 20, " MiB", local ? ", device-local" : ""));
  }
  return info;
}

absl::Status CheckFeatures(const DeviceFacts& facts, const std::string& device,
                           const std::string& target, absl::Span<const std::string> features) {
  std::vector<std::string> missing;
  bool small_types = true;
  for (const std::string& feature : features) {
    if (facts.Has(feature)) continue;
    missing.push_back(feature);
    // What vulkan:32bit does without.
    constexpr const char* kSmall[] = {"int8",     "int16",     "int64", "float16",
                                      "storage8", "storage16", "dot8"};
    small_types &= std::find(std::begin(kSmall), std::end(kSmall), feature) != std::end(kSmall);
  }
  if (missing.empty()) return absl::OkStatus();
  std::string text = absl::StrCat("the device ", device, " (", facts.name, ") lacks ",
                                  absl::StrJoin(missing, ", "));
  if (small_types && target != "vulkan:32bit") {
    text += "; code made with --target=vulkan:32bit would run here";
  } else if (target != "vulkan:generic" && target != "vulkan:32bit") {
    text += "; try code made with --target=vulkan:generic or vulkan:32bit";
  } else {
    text += "; code made with --target=cpu:native runs without a GPU";
  }
  return UnsupportedError(target, text);
}

}  // namespace fathom::vulkan
