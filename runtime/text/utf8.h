// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// UTF-8: reading one character, finding the first fault, and the two character classes added tokens
// need.
#ifndef FATHOM_RUNTIME_TEXT_UTF8_H_
#define FATHOM_RUNTIME_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::text {

enum class Utf8State {
  kValid,       // `length` bytes are the character `code`
  kInvalid,     // `length` bytes can never begin a character (the longest such prefix, as in the
                // Unicode standard)
  kIncomplete,  // the text ends inside a character; more bytes may complete it
};
struct Utf8Char {
  Utf8State state;
  uint32_t code;
  size_t length;  // bytes; at least 1
};

// Reads the character at `text[at]`; `at` must lie inside `text`. Surrogates and overlong forms are
// invalid.
Utf8Char ReadUtf8(std::string_view text, size_t at);

// The offset of the first byte that is not part of valid UTF-8, or npos.
size_t FindInvalidUtf8(std::string_view text);

// Number of characters of valid UTF-8.
size_t CountChars(std::string_view text);

void AppendUtf8(uint32_t code, std::string* out);

// Length in bytes of the character that starts with `lead` in valid UTF-8.
inline size_t CharLength(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}
inline bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Unicode's White_Space property.
bool IsWhiteSpace(uint32_t code);
// A letter, mark, decimal digit or connector: what makes a word in a regular expression's \w.
bool IsWordChar(uint32_t code);

// Removes white space from the left or right end of valid UTF-8.
std::string_view TrimLeft(std::string_view text);
std::string_view TrimRight(std::string_view text);

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_UTF8_H_
