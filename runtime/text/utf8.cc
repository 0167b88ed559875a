// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// UTF-8 decoding per table 3-7 of the Unicode standard; categories from utf8proc.
#include "runtime/text/utf8.h"

#include <utf8proc.h>

namespace fathom::text {

Utf8Char ReadUtf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {Utf8State::kValid, lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8State::kInvalid, 0, 1};
  const size_t length = CharLength(text[at]);
  uint32_t code = lead & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if (at + i == text.size()) return {Utf8State::kIncomplete, 0, i};
    // The second byte's range is narrower where it would make an overlong form, a surrogate or >
    // U+10FFFF.
    unsigned char low = 0x80, high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (byte(i) < low || byte(i) > high) return {Utf8State::kInvalid, 0, i};
    code = code << 6 | (byte(i) & 0x3F);
  }
  return {Utf8State::kValid, code, length};
}

size_t FindInvalidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Char c = ReadUtf8(text, at);
    if (c.state != Utf8State::kValid) return at;
    at += c.length;
  }
  return std::string_view::npos;
}

size_t CountChars(std::string_view text) {
  size_t count = 0;
  for (const char byte : text) count += !IsContinuation(byte);
  return count;
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xC0 | code >> 6));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | code >> 12));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | code >> 18));
    out->push_back(static_cast<char>(0x80 | (code >> 12 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
}

bool IsWhiteSpace(uint32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

bool IsWordChar(uint32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return code == 0x200C || code == 0x200D;
  }
}

std::string_view TrimLeft(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = ReadUtf8(text, 0);
    if (c.state != Utf8State::kValid || !IsWhiteSpace(c.code)) break;
    text.remove_prefix(c.length);
  }
  return text;
}

std::string_view TrimRight(std::string_view text) {
  while (!text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && IsContinuation(text[start])) --start;
    const Utf8Char c = ReadUtf8(text, start);
    if (c.state != Utf8State::kValid || !IsWhiteSpace(c.code)) break;
    text = text.substr(0, start);
  }
  return text;
}

}  // namespace fathom::text
