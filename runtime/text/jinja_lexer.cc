// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The template lexer: one pass over the normalized source.
#include "runtime/text/jinja_lexer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "runtime/base/status.h"
#include "runtime/text/strings.h"
#include "runtime/text/utf8.h"

namespace fathom::text::jinja {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsName(char c) { return IsNameStart(c) || IsDigit(c); }
bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Line ends as \n; one final one is dropped.
std::string NormalizeLines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size()) {
      size_t tag = source_.find('{', at_);
      while (tag != std::string::npos && !IsTagAt(tag)) tag = source_.find('{', tag + 1);
      if (tag == std::string::npos) {
        AddText(source_.substr(at_));
        at_ = source_.size();
        break;
      }
      TextBefore(tag);
      switch (source_[tag + 1]) {
        case '#':
          FATHOM_RETURN_IF_ERROR(Comment());
          break;
        case '%':
          FATHOM_RETURN_IF_ERROR(Block());
          break;
        default:
          FATHOM_RETURN_IF_ERROR(Tag(Token::Kind::kPrintBegin));
      }
    }
    Add(Token::Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  bool IsTagAt(size_t at) const {
    return at + 1 < source_.size() &&
           std::string_view("{%#").find(source_[at + 1]) != std::string_view::npos;
  }
  absl::Status Error(std::string_view what) const {
    return InputError(Cat("chat template: line ", line_), what);
  }
  void Add(Token::Kind kind, std::string text = {}) {
    tokens_.push_back({kind, line_, std::move(text)});
  }
  void AddText(std::string text) {
    if (!text.empty()) Add(Token::Kind::kText, text);
    line_ += static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }
  void Skip(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  // Emits the text up to the tag at `tag` and steps behind the tag's opening and its sign.
  void TextBefore(size_t tag) {
    const std::string text = source_.substr(at_, tag - at_);
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    size_t keep = text.size();
    if (sign == '-') {
      keep = TrimRight(text).size();
    } else if (sign != '+' && source_[tag + 1] != '{') {
      // Indentation goes when nothing else stands before the tag on its line.
      const size_t newline = text.rfind('\n');
      const size_t start = newline == std::string::npos ? 0 : newline + 1;
      if ((start > 0 || line_starts_) &&
          text.find_first_not_of(" \t", start) == std::string::npos) {
        keep = start;
      }
    }
    if (keep > 0) Add(Token::Kind::kText, text.substr(0, keep));
    Skip(tag + 2);
    if (sign == '-' || (sign == '+' && source_[tag + 1] != '{')) ++at_;
  }

  // Steps behind a tag's end at `at_`, whose bracket has `size` bytes, with the white space it
  // takes along.
  void EndTag(size_t size, bool minus, bool trims_newline) {
    size_t to = at_ + size;
    if (minus) {
      to = source_.size() - TrimLeft(std::string_view(source_).substr(to)).size();
    } else if (trims_newline && to < source_.size() && source_[to] == '\n') {
      ++to;
    }
    Skip(to);
    line_starts_ = source_[to - 1] == '\n';
  }

  absl::Status Comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return Error("the comment is not closed: expected #}");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    Skip(end);
    EndTag(2, sign == '-', sign != '+');
    return absl::OkStatus();
  }

  // A block tag, or {% raw %} with everything up to its end.
  absl::Status Block() {
    size_t name = at_;
    while (name < source_.size() && IsSpace(source_[name])) ++name;
    size_t after = name + 3;
    if (source_.compare(name, 3, "raw") != 0 ||
        (after < source_.size() && IsName(source_[after]))) {
      return Tag(Token::Kind::kBlockBegin);
    }
    while (after < source_.size() && IsSpace(source_[after])) ++after;
    const bool minus = after < source_.size() && source_[after] == '-';
    if (minus) ++after;
    if (source_.compare(after, 2, "%}") != 0) return Error("raw takes no arguments");
    Skip(after);
    EndTag(2, minus, true);
    for (size_t open = source_.find("{%", at_); open != std::string::npos;
         open = source_.find("{%", open + 2)) {
      size_t in = open + 2;
      const bool strips = in < source_.size() && source_[in] == '-';
      if (in < source_.size() && (source_[in] == '-' || source_[in] == '+')) ++in;
      while (in < source_.size() && IsSpace(source_[in])) ++in;
      if (source_.compare(in, 6, "endraw") != 0) continue;
      in += 6;
      while (in < source_.size() && IsSpace(source_[in])) ++in;
      const bool end_minus = in < source_.size() && source_[in] == '-';
      if (end_minus || (in < source_.size() && source_[in] == '+')) ++in;
      if (source_.compare(in, 2, "%}") != 0) continue;
      std::string text = source_.substr(at_, open - at_);
      if (strips) text = std::string(TrimRight(text));
      if (!text.empty()) Add(Token::Kind::kText, text);
      Skip(in);
      EndTag(2, end_minus, true);
      return absl::OkStatus();
    }
    return Error("raw is not closed: expected {% endraw %}");
  }

  // The tokens of a {{ }} or {% %} tag.
  absl::Status Tag(Token::Kind begin) {
    const bool print = begin == Token::Kind::kPrintBegin;
    const std::string_view close = print ? "}}" : "%}";
    Add(begin);
    int brackets = 0;
    while (true) {
      while (at_ < source_.size() && IsSpace(source_[at_])) Skip(at_ + 1);
      if (at_ == source_.size()) {
        return Error(Cat("the tag is not closed: expected ", close));
      }
      const std::string_view rest = std::string_view(source_).substr(at_);
      const bool sign = rest[0] == '-' || (!print && rest[0] == '+');
      if (brackets == 0 && rest.substr(sign ? 1 : 0).starts_with(close)) {
        Add(print ? Token::Kind::kPrintEnd : Token::Kind::kBlockEnd);
        EndTag(sign ? 3 : 2, rest[0] == '-', !print && rest[0] != '+');
        return absl::OkStatus();
      }
      if (rest[0] == '(' || rest[0] == '[' || rest[0] == '{') ++brackets;
      if ((rest[0] == ')' || rest[0] == ']' || rest[0] == '}') && --brackets < 0) {
        return Error(Cat("unexpected ", rest.substr(0, 1)));
      }
      FATHOM_RETURN_IF_ERROR(OneToken());
    }
  }

  absl::Status OneToken() {
    const char c = source_[at_];
    if (IsNameStart(c)) {
      size_t end = at_;
      while (end < source_.size() && IsName(source_[end])) ++end;
      Add(Token::Kind::kName, source_.substr(at_, end - at_));
      at_ = end;
      return absl::OkStatus();
    }
    if (IsDigit(c)) return Number();
    if (c == '"' || c == '\'') return String(c);
    for (const std::string_view sign :
         {"**", "//", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "(",
          ")",  "[",  "]",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"}) {
      if (source_.compare(at_, sign.size(), sign) == 0) {
        Add(Token::Kind::kSign, std::string(sign));
        at_ += sign.size();
        return absl::OkStatus();
      }
    }
    return Error(Cat("unexpected character: ", source_.substr(at_, CharLength(c))));
  }

  absl::Status Number() {
    size_t end = at_;
    std::string digits;
    bool is_float = false;
    const auto take_digits = [&] {
      while (end < source_.size() && (IsDigit(source_[end]) || source_[end] == '_')) {
        if (source_[end] != '_') digits += source_[end];
        ++end;
      }
    };
    take_digits();
    if (end + 1 < source_.size() && source_[end] == '.' && IsDigit(source_[end + 1])) {
      is_float = true;
      digits += source_[end++];
      take_digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-'))
        ++exponent;
      if (exponent < source_.size() && IsDigit(source_[exponent])) {
        is_float = true;
        digits += source_.substr(end, exponent - end);
        end = exponent;
        take_digits();
      }
    }
    if (end < source_.size() && IsName(source_[end])) return Error("malformed number");
    Add(is_float ? Token::Kind::kFloat : Token::Kind::kInteger);
    const char* first = digits.data();
    const char* last = first + digits.size();
    const auto result = is_float ? std::from_chars(first, last, tokens_.back().number)
                                 : std::from_chars(first, last, tokens_.back().integer);
    if (result.ec != std::errc()) return Error(Cat("the number is too large: ", digits));
    at_ = end;
    return absl::OkStatus();
  }

  absl::Status String(char quote) {
    const int line = line_;
    std::string text;
    size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] == '\\' && at + 1 < source_.size()) {
        FATHOM_RETURN_IF_ERROR(Escape(&at, &text));
      } else {
        text += source_[at++];
      }
    }
    if (at >= source_.size()) return Error("the string is not closed");
    Skip(at + 1);
    tokens_.push_back({Token::Kind::kString, line, std::move(text)});
    return absl::OkStatus();
  }

  // Python's escapes; an unknown one stands for itself.
  absl::Status Escape(size_t* at, std::string* out) {
    static constexpr std::pair<char, char> kSimple[] = {
        {'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'\\', '\\'}, {'\'', '\''},
        {'"', '"'},  {'a', '\a'}, {'b', '\b'}, {'f', '\f'},  {'v', '\v'}};
    const char c = source_[*at + 1];
    *at += 2;
    if (c == '\n') return absl::OkStatus();
    for (const auto& [name, value] : kSimple) {
      if (c == name) {
        *out += value;
        return absl::OkStatus();
      }
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0 && !(c >= '0' && c <= '7')) {
      *out += '\\';
      *out += c;
      return absl::OkStatus();
    }
    uint64_t code = 0;
    if (digits > 0) {
      for (size_t i = 0; i < digits; ++i, ++*at) {
        const int digit = *at < source_.size() ? HexDigit(source_[*at]) : -1;
        if (digit < 0)
          return Error(Cat("malformed escape: expected ", digits, " hexadecimal digits"));
        code = code * 16 + static_cast<uint64_t>(digit);
      }
    } else {
      --*at;
      for (int i = 0; i < 3 && *at < source_.size() && source_[*at] >= '0' && source_[*at] <= '7';
           ++i, ++*at) {
        code = code * 8 + static_cast<uint64_t>(source_[*at] - '0');
      }
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      return Error("the escape is no character");
    }
    AppendUtf8(static_cast<uint32_t>(code), out);
    return absl::OkStatus();
  }

  const std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;  // `at_` stands at the start of a line
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Lex(std::string_view source) {
  if (const size_t bad = FindInvalidUtf8(source); bad != std::string_view::npos) {
    return InputError("chat template", Cat("not valid UTF-8 at byte ", bad));
  }
  return Lexer(NormalizeLines(source)).Run();
}

}  // namespace fathom::text::jinja
