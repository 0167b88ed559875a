// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How much memory the system has left.
#ifndef FATHOM_RUNTIME_BASE_MEMORY_H_
#define FATHOM_RUNTIME_BASE_MEMORY_H_

#include <cstdint>
#include <cstdio>

namespace fathom {

// MemAvailable of the kernel in bytes: what programs can have without swapping, caches given back.
// 0 when it cannot be read.
inline uint64_t AvailableMemory() {
  std::FILE* file = std::fopen("/proc/meminfo", "re");
  if (file == nullptr) return 0;
  char line[128];
  unsigned long long kib = 0;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1) break;
  }
  std::fclose(file);
  return uint64_t{kib} * 1024;
}

}  // namespace fathom

#endif  // FATHOM_RUNTIME_BASE_MEMORY_H_
