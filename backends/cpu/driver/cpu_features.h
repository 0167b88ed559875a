// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What this CPU and this operating system let a process use, and which CPUs it may run on.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_CPU_FEATURES_H_
#define FATHOM_BACKENDS_CPU_DRIVER_CPU_FEATURES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::cpu {

// "x86-64" or "aarch64".
std::string Architecture();
// The brand string, or the architecture.
std::string CpuName();
// LLVM's names ("avx512f", "avx512vnni", "avx512bf16", "dotprod"), sorted. A feature whose
// registers the operating system does not save (XCR0) is not listed, nor are matrix units that it
// does not grant; the first call asks for them.
std::vector<std::string> CpuFeatures();
// True when `features` has `name`, spelled by LLVM ("avx512vnni") or by Linux ("avx512_vnni").
bool HasFeature(const std::vector<std::string>& features, const std::string& name);

// The CPUs this process may run on, one hardware thread per core first, then the others; at most as
// many as the control group's quota allows, at least one. The first `physical` are one per core.
struct CpuSet {
  std::vector<int> cpus;
  int physical = 1;
};
CpuSet UsableCpus();

// Bytes of memory of the machine.
uint64_t PhysicalMemory();

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_CPU_FEATURES_H_
