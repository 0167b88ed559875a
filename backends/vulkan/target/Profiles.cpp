// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of Vulkan profiles.
#include "backends/vulkan/target/Profiles.h"

namespace fathom::vulkan {
namespace {

GpuProfile spirv() {
  GpuProfile gpu;
  gpu.isa = "spirv";
  gpu.dot8 = true;  // shaderIntegerDotProduct: every Vulkan 1.3 device
  return gpu;
}

struct Named {
  const char* name;
  GpuProfile gpu;
  // What a maker publishes for a device of this kind, without sparsity: GB/s, then Gop/s of the
  // matrix units in int8 and bf16, and of float32.
  std::optional<DeviceRates> published = std::nullopt;
};

// That bindings of `bytes` can be read as texels of four bytes.
std::string texelFeature(int64_t bytes) {
  return ("texels_" + llvm::Twine(bytes >> 22) + "m").str();
}

const std::vector<Named>& table() {
  static const std::vector<Named> all = [] {
    std::vector<Named> made;
    made.push_back({"vulkan:generic", spirv()});

    // Nothing but 32-bit integers and float32.
    GpuProfile narrow = spirv();
    narrow.dot8 = false;
    made.push_back({"vulkan:32bit", narrow});

    // A CPU: registers and caches are large, barriers between subgroups cost a context switch.
    GpuProfile lavapipe = spirv();
    lavapipe.sharedBytes = 32768;
    lavapipe.dot8 = false;  // there, but made of shifts and multiplications of single bytes
    lavapipe.sharesSums = false;
    lavapipe.texelLoads = true;  // fetched by vectors, where other loads are made lane by lane
    lavapipe.workgroupSize = 32;
    lavapipe.attentionSplits = 4;
    lavapipe.nativeF16 = lavapipe.nativeI8 = lavapipe.nativeI16 = true;
    made.push_back({"vulkan:lavapipe", lavapipe});

    GpuProfile amd = spirv();
    amd.sharedBytes = 32768;
    amd.maxBufferRange = (int64_t{1} << 32) - 1;  // what the drivers of AMD and NVIDIA report
    amd.nativeF16 = amd.nativeI8 = amd.nativeI16 = true;
    made.push_back(
        {"vulkan:amd", amd, DeviceRates{"AMD Radeon RX 7900 XTX", 960, 122.8e3, 122.8e3, 61.4e3}});

    GpuProfile nvidia = amd;
    nvidia.workgroupSize = 128;
    made.push_back({"vulkan:nvidia", nvidia,
                    DeviceRates{"NVIDIA GeForce RTX 4090", 1008, 660.6e3, 165.2e3, 82.6e3}});

    GpuProfile intel = amd;
    intel.maxBufferRange = int64_t{1} << 30;
    made.push_back(
        {"vulkan:intel", intel, DeviceRates{"Intel Arc A770 16 GB", 560, 262e3, 131e3, 17.2e3}});
    return made;
  }();
  return all;
}

}  // namespace

std::vector<std::string> profileNames() {
  std::vector<std::string> names;
  for (const Named& named : table()) names.push_back(named.name);
  return names;
}

std::optional<TargetProfile> profileNamed(llvm::StringRef name) {
  for (const Named& named : table()) {
    if (name != named.name) continue;
    TargetProfile profile;
    profile.name = named.name;
    profile.driver = "vulkan";
    profile.gpu = named.gpu;
    profile.published = named.published;
    std::vector<std::string> features = {"subgroup_arithmetic"};
    if (named.gpu.dot8) features.push_back("dot8");
    if (named.gpu.sharedBytes > 16384) features.push_back("shared_32k");
    if (named.gpu.texelLoads) features.push_back(texelFeature(named.gpu.maxBufferRange));
    if (named.gpu.workgroupSize > 128) features.push_back("invocations_256");
    profile.setFeatures(std::move(features));
    return profile;
  }
  return std::nullopt;
}

}  // namespace fathom::vulkan
