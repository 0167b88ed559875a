// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a physical device offers, in Vulkan's words and in the project's.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_DEVICE_FACTS_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_DEVICE_FACTS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "backends/vulkan/driver/vulkan_api.h"
#include "runtime/hal/device.h"

namespace fathom::vulkan {

// Feature words (DeviceInfo::features, Program.features of an artifact):
//   int8 int16 int64 float16          arithmetic on the type
//   storage8 storage16                the type as an element of a storage buffer
//   dot8                              integer dot product of packed 4 x 8 bits
//   subgroup_arithmetic subgroup_shuffle   in compute kernels
//   subgroup_<n>                      kernels can ask for subgroups of n invocations
//   invocations_<n>                   workgroups of n invocations: 128, 256, 512, 1024
//   shared_<n>k                       n KiB of workgroup memory: 16, 32, 48, 64
//   range_<n>m                        bindings that span n MiB
//   texels_<n>m                       bindings that span 2^20 n texels
//   cooperative_matrix                VK_KHR_cooperative_matrix
// All that have an n but subgroup_<n> hold for every smaller n too, whether listed or not.
struct DeviceFacts {
  std::string name;
  std::string driver;    // name and version
  std::string unusable;  // "": it can be used
  uint32_t api_version = 0;
  uint32_t vendor_id = 0;
  uint32_t device_id = 0;
  VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_OTHER;
  VkPhysicalDeviceLimits limits = {};
  VkPhysicalDeviceMemoryProperties memory = {};
  std::array<uint8_t, VK_UUID_SIZE> driver_uuid = {};
  std::array<uint8_t, VK_UUID_SIZE> cache_uuid = {};  // of pipeline caches

  uint32_t min_subgroup = 0;
  uint32_t max_subgroup = 0;
  uint32_t max_workgroup_subgroups = 0;
  bool can_require_subgroup = false;
  bool dot8_accelerated = false;
  uint64_t max_allocation = 0;    // bytes of one VkDeviceMemory
  uint64_t max_buffer = 0;        // bytes of one buffer of ours
  uint64_t import_alignment = 0;  // 0: host memory cannot be imported
  bool memory_model = false;
  uint32_t queue_family = 0;
  uint32_t timestamp_bits = 0;  // 0: no timestamps
  std::vector<std::string> features;

  bool unified() const;           // every heap is the device's own and the host reaches it
  uint64_t memory_bytes() const;  // of the largest device-local heap
  // By the rules above; false for a word that is not one of them.
  bool Has(const std::string& feature) const;
};

DeviceFacts ReadDeviceFacts(VkPhysicalDevice device);

// Everything VkDeviceCreateInfo::pNext needs to switch on what `facts` lists. Not copyable: its
// parts point at each other.
class EnabledFeatures {
 public:
  explicit EnabledFeatures(const DeviceFacts& facts);
  EnabledFeatures(const EnabledFeatures&) = delete;
  EnabledFeatures& operator=(const EnabledFeatures&) = delete;
  const void* chain() const { return &features_; }
  absl::Span<const char* const> extensions() const { return extensions_; }

 private:
  VkPhysicalDeviceFeatures2 features_;
  VkPhysicalDeviceVulkan11Features features11_;
  VkPhysicalDeviceVulkan12Features features12_;
  VkPhysicalDeviceVulkan13Features features13_;
  // VkPhysicalDeviceCooperativeMatrixFeaturesKHR, younger than the headers this builds with.
  struct {
    VkStructureType type;
    void* next;
    VkBool32 matrix, robust;
  } cooperative_;
  std::vector<const char*> extensions_;
};

hal::DeviceInfo ToDeviceInfo(const DeviceFacts& facts, size_t index, bool hide_host_memory);

// OK, or a kUnimplemented that names the device, what it lacks and a target that needs less.
absl::Status CheckFeatures(const DeviceFacts& facts, const std::string& device,
                           const std::string& target, absl::Span<const std::string> features);

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_DEVICE_FACTS_H_
