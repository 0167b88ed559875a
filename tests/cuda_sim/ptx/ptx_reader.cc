// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The characters of PTX.
#include "tests/cuda_sim/ptx/ptx_reader.h"

#include <algorithm>
#include <cctype>

namespace fathom::cuda_sim {
namespace {

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' ||
         c == '.';
}

}  // namespace

void PtxReader::SkipSpace() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (std::isspace(static_cast<unsigned char>(c))) {
      line_ += c == '\n';
      ++at_;
    } else if (text_.compare(at_, 2, "//") == 0) {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    } else if (text_.compare(at_, 2, "/*") == 0) {
      const size_t end = text_.find("*/", at_ + 2);
      if (end == std::string::npos) Fail("a comment does not end");
      for (; at_ < end + 2; ++at_) line_ += text_[at_] == '\n';
    } else {
      return;
    }
  }
}

bool PtxReader::Take(char c) {
  if (Peek() != c) return false;
  ++at_;
  return true;
}

void PtxReader::Expect(char c) {
  if (!Take(c)) Fail(std::string("expected '") + c + "'");
}

std::string PtxReader::Word() {
  SkipSpace();
  const size_t begin = at_;
  while (at_ < text_.size()) {
    if (IsWordCharacter(text_[at_])) {
      ++at_;
    } else if (at_ > begin && text_.compare(at_, 2, "::") == 0) {
      at_ += 2;
    } else {
      break;
    }
  }
  return text_.substr(begin, at_ - begin);
}

bool PtxReader::TakeWord(std::string_view word) {
  SkipSpace();
  const size_t begin = at_;
  if (Word() == word) return true;
  at_ = begin;
  return false;
}

uint64_t PtxReader::Integer() {
  const bool negative = Take('-');
  uint64_t value = 0;
  const std::string word = Word();
  if (!ParseInteger(word, &value)) Fail("expected a number, found \"" + word + "\"");
  return negative ? ~value + 1 : value;
}

std::string PtxReader::QuotedString() {
  Expect('"');
  const size_t begin = at_;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n') ++at_;
  if (at_ >= text_.size() || text_[at_] != '"') Fail("a string does not end");
  return text_.substr(begin, at_++ - begin);
}

void PtxReader::SkipBlock() {
  Expect('{');
  for (int depth = 1; depth > 0; ++at_) {
    if (AtEnd()) Fail("a block does not end");
    if (text_[at_] == '{') ++depth;
    if (text_[at_] == '}') --depth;
  }
}

std::string PtxReader::Text(size_t begin) const {
  std::string squeezed;
  for (size_t i = begin; i < at_; ++i) {
    const char c = text_[i];
    if (text_.compare(i, 2, "//") == 0) {
      while (i + 1 < at_ && text_[i + 1] != '\n') ++i;
    } else if (!std::isspace(static_cast<unsigned char>(c))) {
      squeezed += c;
    } else if (!squeezed.empty() && squeezed.back() != ' ') {
      squeezed += ' ';
    }
  }
  return squeezed;
}

void PtxReader::Fail(const std::string& what) {
  size_t begin = text_.rfind('\n', at_ == 0 ? 0 : at_ - 1);
  begin = begin == std::string::npos ? 0 : begin + 1;
  const size_t end = text_.find('\n', begin);
  throw Fault{Error::invalid_ptx, "line " + std::to_string(line_) + ": " + what + ": " +
                                      text_.substr(begin, std::min(end - begin, size_t{160}))};
}

bool ParseInteger(std::string_view word, uint64_t* value) {
  if (!word.empty() && (word.back() == 'U' || word.back() == 'u')) word.remove_suffix(1);
  if (word.empty() || !std::isdigit(static_cast<unsigned char>(word[0]))) return false;
  int base = 10;
  if (word.size() > 1 && word[0] == '0') {
    const char kind = static_cast<char>(std::tolower(static_cast<unsigned char>(word[1])));
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    word.remove_prefix(base == 8 ? 1 : 2);
  }
  if (word.empty()) return false;
  uint64_t result = 0;
  for (char c : word) {
    const char* digits = "0123456789abcdef";
    int digit = 0;
    while (digit < base && digits[digit] != std::tolower(static_cast<unsigned char>(c))) ++digit;
    if (digit == base || __builtin_mul_overflow(result, static_cast<uint64_t>(base), &result) ||
        __builtin_add_overflow(result, static_cast<uint64_t>(digit), &result)) {
      return false;
    }
  }
  *value = result;
  return true;
}

}  // namespace fathom::cuda_sim
