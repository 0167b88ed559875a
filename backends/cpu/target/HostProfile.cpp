// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of CPU profiles and the detection of the host's.
#include "backends/cpu/target/HostProfile.h"

#include <algorithm>

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Threading.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fathom::cpu {
namespace {

using Names = std::vector<std::string>;

const Names& v3() {
  static const Names names = {"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"};
  return names;
}

Names join(Names a, const Names& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Names& v4() {
  static const Names names =
      join(v3(), {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"});
  return names;
}

const Names& matrixUnits() {
  static const Names names = {"amx-bf16", "amx-int8", "amx-tile"};
  return names;
}

// Whether the system hands out the matrix units' registers (Linux 5.16), which a program must ask
// for: arch_prctl(ARCH_GET_XCOMP_SUPP) answers a mask of what may be asked for.
bool systemHasTiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long kArchGetXcompSupp = 0x1021, kTileData = 18;
  unsigned long mask = 0;
  return ::syscall(SYS_arch_prctl, kArchGetXcompSupp, &mask) == 0 && (mask >> kTileData & 1) != 0;
#else
  return false;
#endif
}

struct Fixed {
  const char* name;
  const char* triple;
  const char* cpu;
  Names features;
  DeviceRates published;
};

// Cores times clock (GHz) times operations per clock. Without a dot product of a type, products are
// made in float32 at best.
DeviceRates rates(const char* device, double gbps, double cores, double ghz, double int8,
                  double bf16, double f32) {
  return {device, gbps, cores * ghz * int8, cores * ghz * bf16, cores * ghz * f32};
}

constexpr const char* kX86 = "x86_64-unknown-linux-gnu";
constexpr const char* kArm = "aarch64-unknown-linux-gnu";

const std::vector<Fixed>& table() {
  static const std::vector<Fixed> all = {
      {"cpu:x86-64-v3", kX86, "x86-64-v3", v3(),
       rates("AMD EPYC 7763", 204.8, 64, 2.45, 32, 32, 32)},
      {"cpu:x86-64-v4", kX86, "x86-64-v4", v4(),
       rates("AMD EPYC 9654", 460.8, 96, 2.4, 32, 32, 32)},
      {"cpu:x86-64-v4-vnni", kX86, "x86-64-v4", join(v4(), {"avx512vnni"}),
       rates("AMD EPYC 9654", 460.8, 96, 2.4, 128, 32, 32)},
      {"cpu:x86-64-v4-bf16", kX86, "x86-64-v4", join(v4(), {"avx512vnni", "avx512bf16"}),
       rates("AMD EPYC 9654", 460.8, 96, 2.4, 128, 64, 32)},
      {"cpu:x86-64-v4-amx", kX86, "x86-64-v4",
       join(join(v4(), {"avx512vnni", "avx512bf16"}), matrixUnits()),
       rates("Intel Xeon Platinum 8480+", 307.2, 56, 2.0, 2048, 1024, 64)},
      {"cpu:aarch64", kArm, "generic", {"neon"},
       rates("Ampere Altra Q80-30", 204.8, 80, 3.0, 16, 16, 16)},
      {"cpu:aarch64-dotprod", kArm, "generic", {"neon", "dotprod"},
       rates("Ampere Altra Q80-30", 204.8, 80, 3.0, 64, 16, 16)},
  };
  return all;
}

TargetProfile make(const Fixed& fixed) {
  TargetProfile profile;
  profile.name = fixed.name;
  profile.driver = "cpu";
  profile.triple = fixed.triple;
  profile.cpu = fixed.cpu;
  profile.setFeatures(fixed.features);
  profile.published = fixed.published;
  return profile;
}

}  // namespace

std::vector<std::string> fixedProfileNames() {
  std::vector<std::string> names;
  for (const Fixed& fixed : table()) names.push_back(fixed.name);
  return names;
}

std::optional<TargetProfile> fixedProfile(llvm::StringRef name) {
  for (const Fixed& fixed : table())
    if (name == fixed.name) return make(fixed);
  return std::nullopt;
}

llvm::Expected<TargetProfile> hostProfile() {
  auto host = llvm::sys::getHostCPUFeatures();
  auto has = [&](llvm::StringRef feature) { return host.lookup(feature); };
  llvm::Triple triple(llvm::sys::getProcessTriple());
  // The same base as a fixed profile plus named extras, and not LLVM's processor name: the features
  // list must tell everything that the code may use.
  TargetProfile profile;
  if (triple.isX86()) {
    Names missing;
    for (const std::string& feature : v3())
      if (!has(feature)) missing.push_back(feature);
    if (!missing.empty())
      return llvm::createStringError("target 'cpu:native': this processor lacks " +
                                     llvm::join(missing, ", ") +
                                     "; the least supported is x86-64-v3");
    bool wide = llvm::all_of(v4(), has);
    profile = *fixedProfile(wide ? "cpu:x86-64-v4" : "cpu:x86-64-v3");
    Names features = profile.features;
    if (wide)
      for (const char* extra : {"avx512vnni", "avx512bf16"})
        if (has(extra)) features.push_back(extra);
    // LLVM looks at what the processor and the system's context switches do, not at permission.
    if (wide && llvm::all_of(matrixUnits(), has) && systemHasTiles())
      features = join(std::move(features), matrixUnits());
    profile.setFeatures(std::move(features));
  } else if (triple.isAArch64() && triple.isLittleEndian()) {
    profile = *fixedProfile(has("dotprod") ? "cpu:aarch64-dotprod" : "cpu:aarch64");
  } else {
    return llvm::createStringError(
        "target 'cpu:native': no code generator for the architecture of " + triple.str());
  }
  profile.name = "cpu:native";
  profile.published.reset();  // of another processor
  profile.tune = llvm::sys::getHostCPUName().str();
  // Cores that this process may run on: the runtime starts a worker on each.
  profile.workers = std::clamp<int64_t>(llvm::get_physical_cores(), 0, TargetProfile::kMaxWorkers);
  // Measured: see the profile's comment. AMD's names in LLVM are znver, bdver, btver, amdfam and
  // k8.
  llvm::StringRef name = profile.tune;
  bool amd = name.contains("ver") || name.starts_with("amdfam") || name.starts_with("k8");
  if (triple.isX86() && !amd) profile.prefetchBytes = 2304;
  if (name == "znver5") {
    profile.prefetchBytes = 6912;
    profile.weightStreams = 1;
  }
  return profile;
}

}  // namespace fathom::cpu
