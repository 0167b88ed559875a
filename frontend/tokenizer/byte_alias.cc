// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of GPT-2's byte aliases.
#include "frontend/tokenizer/byte_alias.h"

#include <array>
#include <cstdint>

namespace fathom::tokenizer {
namespace {

bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// Character (below U+0144) -> byte, or -1.
std::array<int16_t, 0x144> MakeTable() {
  std::array<int16_t, 0x144> table;
  table.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[static_cast<size_t>(StandsForItself(byte) ? byte : next++)] = static_cast<int16_t>(byte);
  }
  return table;
}

}  // namespace

std::optional<std::string> BytesOfAliases(std::string_view token) {
  static const std::array<int16_t, 0x144> table = MakeTable();
  std::string out;
  for (size_t at = 0; at < token.size(); ++at) {
    const auto lead = static_cast<unsigned char>(token[at]);
    size_t code = lead;
    if (lead >= 0x80) {
      // Every alias has at most two bytes of UTF-8.
      if (lead < 0xC2 || lead > 0xDF || at + 1 == token.size()) return std::nullopt;
      const auto next = static_cast<unsigned char>(token[++at]);
      if ((next & 0xC0) != 0x80) return std::nullopt;
      code = static_cast<size_t>(lead & 0x1F) << 6 | (next & 0x3F);
    }
    if (code >= table.size() || table[code] < 0) return std::nullopt;
    out += static_cast<char>(table[code]);
  }
  return out;
}

}  // namespace fathom::tokenizer
