// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cpuid and xgetbv on x86-64, the auxiliary vector on aarch64, sched_getaffinity and cgroup v2 for
// CPUs.
#include "backends/cpu/driver/cpu_features.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace fathom::cpu {

#if defined(__x86_64__)

namespace {

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers CpuId(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

// XCR0 bits of the register state that the system saves on a context switch.
constexpr uint64_t kAvxState = 0x6;      // xmm, ymm
constexpr uint64_t kAvx512State = 0xe6;  // and opmask, zmm
constexpr uint64_t kAmxState = 0x60000;  // tile configuration and data

uint64_t SavedState(const Registers& leaf1) {
  if ((leaf1.ecx >> 27 & 1) == 0) return 0;  // no OSXSAVE
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

// Asks the system for the matrix units' registers, which a process may use only then (Linux 5.16).
bool TilesPermitted() {
  constexpr long kArchReqXcompPerm = 0x1023, kTileData = 18;
  static const bool permitted = ::syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0;
  return permitted;
}

}  // namespace

std::string Architecture() { return "x86-64"; }

std::string CpuName() {
  char name[49] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    const Registers r = CpuId(0x80000002 + i, 0);
    std::memcpy(name + 16 * i, &r, 16);
  }
  const std::string text(name + std::strspn(name, " "));
  return text.empty() ? Architecture() : text;
}

std::vector<std::string> CpuFeatures() {
  const Registers leaf1 = CpuId(1, 0), leaf7 = CpuId(7, 0), leaf7_1 = CpuId(7, 1);
  const Registers extended = CpuId(0x80000001, 0);
  const uint64_t saved = SavedState(leaf1);
  struct Feature {
    const char* name;
    uint32_t bits;
    int bit;
    uint64_t state;  // that the system must save
  };
  const Feature table[] = {
      {"sse3", leaf1.ecx, 0, 0},
      {"pclmul", leaf1.ecx, 1, 0},
      {"ssse3", leaf1.ecx, 9, 0},
      {"fma", leaf1.ecx, 12, kAvxState},
      {"cx16", leaf1.ecx, 13, 0},
      {"sse4.1", leaf1.ecx, 19, 0},
      {"sse4.2", leaf1.ecx, 20, 0},
      {"movbe", leaf1.ecx, 22, 0},
      {"popcnt", leaf1.ecx, 23, 0},
      {"avx", leaf1.ecx, 28, kAvxState},
      {"f16c", leaf1.ecx, 29, kAvxState},
      {"sse", leaf1.edx, 25, 0},
      {"sse2", leaf1.edx, 26, 0},
      {"lzcnt", extended.ecx, 5, 0},
      {"sahf", extended.ecx, 0, 0},
      {"bmi", leaf7.ebx, 3, 0},
      {"avx2", leaf7.ebx, 5, kAvxState},
      {"bmi2", leaf7.ebx, 8, 0},
      {"avx512f", leaf7.ebx, 16, kAvx512State},
      {"avx512dq", leaf7.ebx, 17, kAvx512State},
      {"avx512ifma", leaf7.ebx, 21, kAvx512State},
      {"avx512cd", leaf7.ebx, 28, kAvx512State},
      {"avx512bw", leaf7.ebx, 30, kAvx512State},
      {"avx512vl", leaf7.ebx, 31, kAvx512State},
      {"avx512vbmi", leaf7.ecx, 1, kAvx512State},
      {"avx512vbmi2", leaf7.ecx, 6, kAvx512State},
      {"gfni", leaf7.ecx, 8, 0},
      {"avx512vnni", leaf7.ecx, 11, kAvx512State},
      {"avx512bitalg", leaf7.ecx, 12, kAvx512State},
      {"avx512vpopcntdq", leaf7.ecx, 14, kAvx512State},
      {"amx-bf16", leaf7.edx, 22, kAmxState},
      {"avx512fp16", leaf7.edx, 23, kAvx512State},
      {"amx-tile", leaf7.edx, 24, kAmxState},
      {"amx-int8", leaf7.edx, 25, kAmxState},
      {"avxvnni", leaf7_1.eax, 4, kAvxState},
      {"avx512bf16", leaf7_1.eax, 5, kAvx512State},
      {"avxifma", leaf7_1.eax, 23, kAvxState},
      {"avxvnniint8", leaf7_1.edx, 4, kAvxState},
      {"avxneconvert", leaf7_1.edx, 5, kAvxState},
  };
  std::vector<std::string> features;
  for (const Feature& feature : table) {
    if ((feature.bits >> feature.bit & 1) != 0 && (saved & feature.state) == feature.state &&
        (feature.state != kAmxState || TilesPermitted())) {
      features.push_back(feature.name);
    }
  }
  std::sort(features.begin(), features.end());
  return features;
}

#else

std::string Architecture() { return "aarch64"; }
std::string CpuName() { return Architecture(); }

std::vector<std::string> CpuFeatures() {
  const unsigned long first = ::getauxval(AT_HWCAP), second = ::getauxval(AT_HWCAP2);
  struct Feature {
    const char* name;
    unsigned long bits;
    int bit;
  };
  // Bits of the kernel's hwcap.h, written out because older headers lack the later ones.
  const Feature table[] = {
      {"fp-armv8", first, 0}, {"neon", first, 1},     {"lse", first, 8},    {"fullfp16", first, 10},
      {"rdm", first, 12},     {"dotprod", first, 20}, {"sve", first, 22},   {"fp16fml", first, 23},
      {"sve2", second, 1},    {"i8mm", second, 13},   {"bf16", second, 14},
  };
  std::vector<std::string> features;
  for (const Feature& feature : table) {
    if ((feature.bits >> feature.bit & 1) != 0) features.push_back(feature.name);
  }
  std::sort(features.begin(), features.end());
  return features;
}

#endif

namespace {

std::string Plain(const std::string& name) {
  std::string plain;
  for (char c : name) {
    if (c != '_' && c != '-' && c != '.' && c != '+') plain.push_back(c);
  }
  return plain;
}

// CPUs' worth of time the control group grants, rounded up; a huge number when unlimited.
size_t QuotaCpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return SIZE_MAX;
  return static_cast<size_t>(std::ceil(quota / period));
}

// The lowest hardware thread of the core of `cpu`: the same for all threads of a core.
int CoreOf(int cpu) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                     "/topology/thread_siblings_list");
  int first = cpu;
  file >> first;
  return file ? first : cpu;
}

}  // namespace

bool HasFeature(const std::vector<std::string>& features, const std::string& name) {
  const std::string plain = Plain(name);
  return std::any_of(features.begin(), features.end(),
                     [&](const std::string& feature) { return Plain(feature) == plain; });
}

CpuSet UsableCpus() {
  CpuSet result;
  std::vector<int> siblings;
  std::set<int> cores;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed)) continue;
      (cores.insert(CoreOf(cpu)).second ? result.cpus : siblings).push_back(cpu);
    }
  }
  if (result.cpus.empty()) result.cpus.push_back(0);
  result.physical = static_cast<int>(result.cpus.size());
  result.cpus.insert(result.cpus.end(), siblings.begin(), siblings.end());
  result.cpus.resize(std::clamp<size_t>(QuotaCpus(), 1, result.cpus.size()));
  result.physical = std::min(result.physical, static_cast<int>(result.cpus.size()));
  return result;
}

uint64_t PhysicalMemory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), bytes = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && bytes > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(bytes) : 0;
}

}  // namespace fathom::cpu
