// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GPT-2's printable aliases of bytes, the spelling of byte-level vocabularies in files.
#ifndef FATHOM_FRONTEND_TOKENIZER_BYTE_ALIAS_H_
#define FATHOM_FRONTEND_TOKENIZER_BYTE_ALIAS_H_

#include <optional>
#include <string>
#include <string_view>

namespace fathom::tokenizer {

// The bytes that `token` (UTF-8) spells, each by the character that stands for it: printable
// Latin-1 bytes stand for themselves, the other 68 are U+0100 and up in order ("Ġ" U+0120 is the
// space). None when a character is no alias.
std::optional<std::string> BytesOfAliases(std::string_view token);

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_BYTE_ALIAS_H_
