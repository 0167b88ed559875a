// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Python's string operations on marked text. Positions and counts are of characters, as in Python.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_TEXT_H_
#define FATHOM_RUNTIME_TEXT_JINJA_TEXT_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/text/jinja_value.h"

namespace fathom::text::jinja {

// Removes white space, or any of the characters of `chars` when it is not null, from the ends asked
// for.
MarkedText Strip(const MarkedText& text, const std::string* chars, bool left, bool right);

// str.split(separator, most): cuts from the left, at most `most` times when it is not negative;
// `separator` is not empty. The Right form cuts from the right. The White form cuts at runs of
// white space.
std::vector<MarkedText> Split(const MarkedText& text, std::string_view separator, int64_t most);
std::vector<MarkedText> SplitRight(const MarkedText& text, std::string_view separator,
                                   int64_t most);
std::vector<MarkedText> SplitWhite(const MarkedText& text, int64_t most);
std::vector<MarkedText> SplitLines(const MarkedText& text, bool keep_ends);

// How many bytes Replace would return; `most` below 0: no limit.
size_t ReplacedSize(const MarkedText& text, std::string_view from, size_t to_size, int64_t most);
MarkedText Replace(const MarkedText& text, std::string_view from, const MarkedText& to,
                   int64_t most);

enum class Case { kUpper, kLower, kCapitalize, kTitle };
// kTitle as Jinja's filter does it: each word after white space, a dash or an opening bracket.
MarkedText ChangeCase(const MarkedText& text, Case how);

// The characters start, start + step ... before stop (after it when step is negative); all in
// range.
MarkedText SliceChars(const MarkedText& text, int64_t start, int64_t stop, int64_t step);

// Each character by itself.
std::vector<Value> Chars(const MarkedText& text);

// Every character satisfies `is`, and there is one.
bool AllChars(std::string_view text, bool (*is)(uint32_t));
bool IsDecimal(uint32_t code);
bool IsLetter(uint32_t code);
bool IsLetterOrDigit(uint32_t code);
// White_Space and the four separators that Python counts too.
bool IsPythonSpace(uint32_t code);

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_TEXT_H_
