// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Walking SPIR-V.
#include "backends/vulkan/driver/spirv.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_format.h"
#include "runtime/base/status.h"

namespace fathom::vulkan {
namespace {

constexpr uint32_t kMagic = 0x07230203;
constexpr size_t kHeaderWords = 5;
constexpr uint32_t kOldest = 0x00010000, kNewest = 0x00010600;
constexpr uint32_t kMaxBound = 1 << 22;  // what Vulkan promises to take is 4194303
enum : uint32_t { kOpEntryPoint = 15, kOpExecutionMode = 16, kOpCapability = 17 };
constexpr uint32_t kGlCompute = 5, kLocalSize = 17;

// A string of the module: bytes in words, ended by a zero.
std::optional<std::string> ReadString(absl::Span<const uint32_t> words) {
  std::string text;
  for (uint32_t word : words) {
    for (int byte = 0; byte < 4; ++byte) {
      const char c = static_cast<char>(word >> (8 * byte) & 0xff);
      if (c == 0) return text;
      text.push_back(c);
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<SpirvModule> ReadSpirv(const std::string& where, absl::Span<const uint32_t> words) {
  if (words.size() < kHeaderWords) {
    return InputError(where, "length in words", "at least 5", words.size());
  }
  if (words[0] != kMagic) {
    return InputError(where, "magic", absl::StrFormat("0x%08x", kMagic),
                      absl::StrFormat("0x%08x", words[0]));
  }
  SpirvModule module;
  module.version = words[1];
  if (module.version < kOldest || module.version > kNewest || (module.version & 0xff) != 0) {
    return InputError(where, "version", "SPIR-V 1.0 to 1.6",
                      absl::StrFormat("0x%08x", module.version));
  }
  if (words[3] == 0 || words[3] >= kMaxBound) {
    return InputError(where, "bound", absl::StrCat("1 to ", kMaxBound - 1), words[3]);
  }
  if (words[4] != 0) return InputError(where, "schema", 0, words[4]);

  for (size_t at = kHeaderWords; at < words.size();) {
    const uint32_t length = words[at] >> 16, op = words[at] & 0xffff;
    if (length == 0 || length > words.size() - at) {
      return InputError(absl::StrCat(where, ": word ", at), "length of an instruction",
                        absl::StrCat("1 to ", words.size() - at), length);
    }
    const absl::Span<const uint32_t> operands = words.subspan(at + 1, length - 1);
    if (op == kOpCapability && operands.size() == 1) {
      module.capabilities.push_back(operands[0]);
    } else if (op == kOpEntryPoint && operands.size() >= 3 && operands[0] == kGlCompute) {
      const std::optional<std::string> name = ReadString(operands.subspan(2));
      if (!name.has_value()) {
        return InputError(absl::StrCat(where, ": word ", at), "the entry point's name has no end");
      }
      module.entries.push_back({*name, operands[1], {0, 0, 0}});
    } else if (op == kOpExecutionMode && operands.size() == 5 && operands[1] == kLocalSize) {
      for (SpirvEntry& entry : module.entries) {
        if (entry.id == operands[0]) entry.workgroup = {operands[2], operands[3], operands[4]};
      }
    }
    at += length;
  }
  return module;
}

}  // namespace fathom::vulkan
