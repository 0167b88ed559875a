// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Marked text, character by character.
#include "runtime/text/jinja_text.h"

#include <utf8proc.h>

#include <algorithm>

#include "runtime/text/utf8.h"

namespace fathom::text::jinja {
namespace {

size_t LastCharStart(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && IsContinuation(text[at])) --at;
  return at;
}

bool IsLineEnd(uint32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

void AppendMapped(uint32_t code, bool upper, char origin, MarkedText* out) {
  std::string mapped;
  if (upper && code == 0xDF) {
    mapped = "SS";
  } else {
    const auto in = static_cast<utf8proc_int32_t>(code);
    AppendUtf8(static_cast<uint32_t>(upper ? utf8proc_toupper(in) : utf8proc_tolower(in)), &mapped);
  }
  out->Append(mapped, origin);
}

}  // namespace

bool IsPythonSpace(uint32_t code) { return IsWhiteSpace(code) || (code >= 0x1C && code <= 0x1F); }

bool IsDecimal(uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code)) == UTF8PROC_CATEGORY_ND;
}
bool IsLetter(uint32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}
bool IsLetterOrDigit(uint32_t code) { return IsLetter(code) || IsDecimal(code); }

bool AllChars(std::string_view text, bool (*is)(uint32_t)) {
  for (size_t at = 0; at < text.size(); at += CharLength(text[at])) {
    if (!is(ReadUtf8(text, at).code)) return false;
  }
  return !text.empty();
}

MarkedText Strip(const MarkedText& text, const std::string* chars, bool left, bool right) {
  std::vector<uint32_t> set;
  for (size_t at = 0; chars != nullptr && at < chars->size(); at += CharLength((*chars)[at])) {
    set.push_back(ReadUtf8(*chars, at).code);
  }
  const auto strips = [&](size_t at) {
    const uint32_t code = ReadUtf8(text.bytes(), at).code;
    return chars == nullptr ? IsPythonSpace(code)
                            : std::find(set.begin(), set.end(), code) != set.end();
  };
  size_t begin = 0, end = text.size();
  while (left && begin < end && strips(begin)) begin += CharLength(text.bytes()[begin]);
  while (right && begin < end) {
    const size_t last = LastCharStart(std::string_view(text.bytes()).substr(0, end));
    if (!strips(last)) break;
    end = last;
  }
  return text.Substr(begin, end - begin);
}

std::vector<MarkedText> Split(const MarkedText& text, std::string_view separator, int64_t most) {
  std::vector<MarkedText> out;
  size_t done = 0;
  while (most < 0 || static_cast<int64_t>(out.size()) < most) {
    const size_t at = text.bytes().find(separator, done);
    if (at == std::string::npos) break;
    out.push_back(text.Substr(done, at - done));
    done = at + separator.size();
  }
  out.push_back(text.Substr(done));
  return out;
}

std::vector<MarkedText> SplitRight(const MarkedText& text, std::string_view separator,
                                   int64_t most) {
  std::vector<MarkedText> out;
  size_t end = text.size();
  while (most < 0 || static_cast<int64_t>(out.size()) < most) {
    if (end < separator.size()) break;
    const size_t at = text.bytes().rfind(separator, end - separator.size());
    if (at == std::string::npos) break;
    out.push_back(text.Substr(at + separator.size(), end - at - separator.size()));
    end = at;
  }
  out.push_back(text.Substr(0, end));
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<MarkedText> SplitWhite(const MarkedText& text, int64_t most) {
  const std::string& bytes = text.bytes();
  const auto is_space = [&](size_t at) { return IsPythonSpace(ReadUtf8(bytes, at).code); };
  std::vector<MarkedText> out;
  for (size_t at = 0; at < bytes.size();) {
    if (is_space(at)) {
      at += CharLength(bytes[at]);
      continue;
    }
    if (most >= 0 && static_cast<int64_t>(out.size()) == most) {
      out.push_back(Strip(text.Substr(at), nullptr, false, true));
      break;
    }
    size_t end = at;
    while (end < bytes.size() && !is_space(end)) end += CharLength(bytes[end]);
    out.push_back(text.Substr(at, end - at));
    at = end;
  }
  return out;
}

std::vector<MarkedText> SplitLines(const MarkedText& text, bool keep_ends) {
  const std::string& bytes = text.bytes();
  std::vector<MarkedText> out;
  size_t done = 0;
  for (size_t at = 0; at < bytes.size();) {
    const uint32_t code = ReadUtf8(bytes, at).code;
    size_t end = at + CharLength(bytes[at]);
    if (!IsLineEnd(code)) {
      at = end;
      continue;
    }
    if (code == '\r' && end < bytes.size() && bytes[end] == '\n') ++end;
    out.push_back(text.Substr(done, (keep_ends ? end : at) - done));
    at = done = end;
  }
  if (done < bytes.size()) out.push_back(text.Substr(done));
  return out;
}

size_t ReplacedSize(const MarkedText& text, std::string_view from, size_t to_size, int64_t most) {
  size_t count = 0;
  if (from.empty()) {
    count = CountChars(text.bytes()) + 1;
  } else {
    for (size_t at = text.bytes().find(from); at != std::string::npos;
         at = text.bytes().find(from, at + from.size())) {
      ++count;
    }
  }
  if (most >= 0) count = std::min(count, static_cast<size_t>(most));
  return text.size() - count * from.size() + count * to_size;
}

MarkedText Replace(const MarkedText& text, std::string_view from, const MarkedText& to,
                   int64_t most) {
  MarkedText out;
  const std::string& bytes = text.bytes();
  if (from.empty()) {  // Python puts `to` before each character and at the end
    for (size_t at = 0; at <= bytes.size();) {
      if (most != 0) {
        out.Append(to);
        --most;
      }
      if (at == bytes.size()) break;
      out.Append(text.Substr(at, CharLength(bytes[at])));
      at += CharLength(bytes[at]);
    }
    return out;
  }
  size_t done = 0;
  while (most != 0) {
    const size_t at = bytes.find(from, done);
    if (at == std::string::npos) break;
    out.Append(text.Substr(done, at - done));
    out.Append(to);
    done = at + from.size();
    --most;
  }
  out.Append(text.Substr(done));
  return out;
}

MarkedText ChangeCase(const MarkedText& text, Case how) {
  MarkedText out;
  const std::string& bytes = text.bytes();
  bool first = true;  // of the text, or of a word
  for (size_t at = 0; at < bytes.size(); at += CharLength(bytes[at])) {
    const uint32_t code = ReadUtf8(bytes, at).code;
    const bool upper = how == Case::kUpper || (how != Case::kLower && first);
    AppendMapped(code, upper, text.origin(at), &out);
    first = how == Case::kTitle && (IsPythonSpace(code) || code == '-' || code == '(' ||
                                    code == '{' || code == '[' || code == '<');
  }
  return out;
}

MarkedText SliceChars(const MarkedText& text, int64_t start, int64_t stop, int64_t step) {
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size(); at += CharLength(text.bytes()[at])) starts.push_back(at);
  starts.push_back(text.size());
  const auto offset = [&](int64_t i) { return starts[static_cast<size_t>(i)]; };
  if (step == 1)
    return start < stop ? text.Substr(offset(start), offset(stop) - offset(start)) : MarkedText();
  MarkedText out;
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
    out.Append(text.Substr(offset(i), offset(i + 1) - offset(i)));
  }
  return out;
}

std::vector<Value> Chars(const MarkedText& text) {
  std::vector<Value> out;
  for (size_t at = 0; at < text.size(); at += CharLength(text.bytes()[at])) {
    out.push_back(Value::String(text.Substr(at, CharLength(text.bytes()[at]))));
  }
  return out;
}

}  // namespace fathom::text::jinja
