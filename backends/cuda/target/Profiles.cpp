// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of CUDA profiles.
#include "backends/cuda/target/Profiles.h"

namespace fathom::cuda {
namespace {

struct Named {
  const char* name;
  const char* chip;
  const char* ptx;  // the oldest version that LLVM writes for the chip and drivers in use read
};

constexpr Named kTable[] = {
    {"cuda:sm_75", "sm_75", "+ptx75"},   {"cuda:sm_80", "sm_80", "+ptx80"},
    {"cuda:sm_89", "sm_89", "+ptx80"},   {"cuda:sm_90", "sm_90", "+ptx80"},
    {"cuda:sm_100", "sm_100", "+ptx87"}, {"cuda:sm_120", "sm_120", "+ptx87"},
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
