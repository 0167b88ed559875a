// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs a kernel of an AArch64 code image in qemu-user.
#ifndef FATHOM_TESTS_UNIT_COMPILER_KERNELS_EMULATOR_H
#define FATHOM_TESTS_UNIT_COMPILER_KERNELS_EMULATOR_H

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::testing {

/// False where qemu-user or what builds the runner was missing.
bool haveAarch64Emulator();

struct EmulatedBuffer {
  void* data;
  size_t size;
};

/// Runs kernel `name` of the ELF image `image` over the grid; buffers (one a binding, the same data
/// pointer meaning the same memory) are copied in and out. Answers an error, or nothing.
std::string runEmulated(const std::vector<char>& image, const std::string& name, uint32_t x,
                        uint32_t y, uint32_t z, const std::vector<EmulatedBuffer>& bindings,
                        const std::vector<int64_t>& push);

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_COMPILER_KERNELS_EMULATOR_H
