// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of CUDA profiles.
#include "backends/cuda/target/Profiles.h"

namespace fathom::cuda {
namespace {

struct Named {
  const char* name;
  const char* chip;
  const char* ptx;  // the oldest version that LLVM writes for the chip and drivers in use read
  // A device with the chip and what NVIDIA publishes for it, without sparsity: GB/s, then Gop/s of
  // the matrix units in int8 and bf16 (sm_75: float16) and of float32.
  DeviceRates published;
};

const Named kTable[] = {
    {"cuda:sm_75", "sm_75", "+ptx75", {"NVIDIA T4", 320, 130e3, 65e3, 8.1e3}},
    {"cuda:sm_80", "sm_80", "+ptx80", {"NVIDIA A100 SXM 80 GB", 2039, 624e3, 312e3, 19.5e3}},
    {"cuda:sm_89", "sm_89", "+ptx80", {"NVIDIA GeForce RTX 4090", 1008, 660.6e3, 165.2e3, 82.6e3}},
    {"cuda:sm_90", "sm_90", "+ptx80", {"NVIDIA H100 SXM 80 GB", 3350, 1979e3, 989.4e3, 66.9e3}},
    {"cuda:sm_100", "sm_100", "+ptx87", {"NVIDIA HGX B200", 8000, 4500e3, 2250e3, 80e3}},
    {"cuda:sm_120", "sm_120", "+ptx87", {"NVIDIA GeForce RTX 5090", 1792, 838e3, 209.5e3, 104.8e3}},
};

}  // namespace

std::vector<std::string> profileNames() {
  std::vector<std::string> names;
  for (const Named& named : kTable) names.push_back(named.name);
  return names;
}

std::optional<TargetProfile> profileNamed(llvm::StringRef name) {
  for (const Named& named : kTable) {
    if (name != named.name) continue;
    TargetProfile profile;
    profile.name = named.name;
    profile.driver = "cuda";
    profile.triple = "nvptx64-nvidia-cuda";
    profile.cpu = named.chip;
    profile.tune = named.ptx;
    profile.setFeatures({named.chip});
    profile.published = named.published;
    GpuProfile& gpu = profile.gpu.emplace();
    gpu.isa = "nvvm";
    gpu.subgroupSize = 32;
    gpu.workgroupSize = 128;
    gpu.sharedBytes = 49152;
    gpu.maxBufferRange = int64_t{1} << 33;  // 32-bit indices of words
    gpu.nativeF16 = gpu.nativeI8 = gpu.nativeI16 = gpu.dot8 = true;
    gpu.mma = "mma_sync";
    gpu.asyncCopy = capabilityOf(profile) >= 80;
    return profile;
  }
  return std::nullopt;
}

unsigned capabilityOf(const TargetProfile& profile) {
  unsigned number = 0;
  llvm::StringRef chip = profile.cpu;
  if (!chip.consume_front("sm_") || chip.getAsInteger(10, number)) return 0;
  return number;
}

}  // namespace fathom::cuda
