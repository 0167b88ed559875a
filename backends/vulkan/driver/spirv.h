// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the driver reads of a SPIR-V module before it gives it to a vendor's compiler.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_SPIRV_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_SPIRV_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fathom::vulkan {

struct SpirvEntry {
  std::string name;
  uint32_t id = 0;
  std::array<uint32_t, 3> workgroup = {0, 0, 0};  // LocalSize; zero: the module names none
};

struct SpirvModule {
  uint32_t version = 0;  // 0x00010600 is 1.6
  std::vector<uint32_t> capabilities;
  std::vector<SpirvEntry> entries;  // of the execution model GLCompute
};

// Walks the module's instructions. Checks the header (magic, version 1.0 to 1.6, bound, schema) and
// that the lengths of the instructions add up; it does not judge the code itself (spirv-val does,
// when the compiler writes it). Errors are kInvalidArgument, beginning with `where`.
absl::StatusOr<SpirvModule> ReadSpirv(const std::string& where, absl::Span<const uint32_t> words);

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_SPIRV_H_
