// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One pass over a pattern: escapes and classes are rewritten, everything else is copied.
#include "frontend/tokenizer/pattern_dialect.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "runtime/base/status.h"

namespace fathom::tokenizer {
namespace {

// Unicode's White_Space and its complement. PCRE2's own \s also takes U+180E, which lost the
// property in Unicode 6.3.
constexpr std::string_view kSpace =
    R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029})"
    R"(\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{00}-\x{08}\x{0e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";

// The properties that both dialects name alike; any other name is taken for a script.
constexpr std::array<std::string_view, 39> kCategories = {
    "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "LC", "Ll", "Lm", "Lo", "Lt", "Lu",
    "M",  "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf",
    "Pi", "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs", "Any"};
constexpr std::array<std::string_view, 12> kBinary = {
    "Alphabetic",  "Lowercase", "Uppercase",   "White_Space",        "Emoji",
    "Ideographic", "ID_Start",  "ID_Continue", "Emoji_Presentation", "Extended_Pictographic",
    "Math",        "Hex_Digit"};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where) : in_(pattern), where_(where) {}

  absl::StatusOr<std::string> Run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        FATHOM_RETURN_IF_ERROR(Escape(/*in_class=*/false));
      } else if (c == '[') {
        FATHOM_RETURN_IF_ERROR(Class());
      } else {
        out_ += c;
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  absl::Status Unsupported(std::string_view what) const {
    return UnsupportedError(where_, std::string(what) + " at byte " + std::to_string(at_) +
                                        " of the pattern is not supported: " + std::string(in_));
  }

  // A shorthand class: inside [...] its members, outside a class of its own.
  void Members(std::string_view members, bool negated, bool in_class) {
    if (in_class) {
      out_ += members;
    } else {
      out_ += negated ? "[^" : "[";
      out_ += members;
      out_ += "]";
    }
    at_ += 2;
  }

  absl::Status Escape(bool in_class) {
    if (at_ + 1 == in_.size()) return InputError(where_, "the pattern ends in a backslash");
    const char c = in_[at_ + 1];
    switch (c) {
      case 's':
        Members(kSpace, false, in_class);
        return absl::OkStatus();
      case 'S':
        Members(kNotSpace, false, in_class);
        return absl::OkStatus();
      case 'w':
      case 'W':
        if (c == 'W' && in_class) return Unsupported("\\W inside a class");
        Members(kWord, c == 'W', in_class);
        return absl::OkStatus();
      case 'd':
        out_ += R"(\p{Nd})";
        at_ += 2;
        return absl::OkStatus();
      case 'D':
        out_ += R"(\P{Nd})";
        at_ += 2;
        return absl::OkStatus();
      case 'h':
        Members("0-9a-fA-F", false, in_class);
        return absl::OkStatus();
      case 'p':
      case 'P':
        return Property();
      case 'b':
      case 'B':
      case 'H':
      case 'R':
      case 'X':
      case 'y':
      case 'Y':
      case 'g':
      case 'k':
      case 'c':
      case 'C':
      case 'M':
      case 'G':
      case 'K':
      case 'O':
      case 'N':
      case 'u':
      case 'x':
        if (c == 'x' || c == 'u') return CodePoint();
        return Unsupported(std::string("\\") + c);
      default:
        // \n, \r, \t, \A, \z, \1, an escaped sign: the same in both.
        out_.append(in_, at_, 2);
        at_ += 2;
        return absl::OkStatus();
    }
  }

  // \x and \u with digits, \x with digits in braces.
  absl::Status CodePoint() {
    const bool braces = in_[at_ + 1] == 'x' && at_ + 2 < in_.size() && in_[at_ + 2] == '{';
    size_t digits = at_ + (braces ? 3 : 2);
    const size_t most = braces ? 8 : in_[at_ + 1] == 'x' ? 2 : 4;
    size_t end = digits;
    while (end < in_.size() && end - digits < most &&
           std::isxdigit(static_cast<unsigned char>(in_[end]))) {
      ++end;
    }
    if (end == digits || (braces && (end == in_.size() || in_[end] != '}'))) {
      return Unsupported("a malformed code point");
    }
    out_ += "\\x{";
    out_.append(in_, digits, end - digits);
    out_ += "}";
    at_ = end + (braces ? 1 : 0);
    return absl::OkStatus();
  }

  // \p{Name}, \p{^Name}, \P{Name}.
  absl::Status Property() {
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{')
      return Unsupported("a property without braces");
    const size_t close = in_.find('}', at_);
    if (close == std::string_view::npos) return InputError(where_, "a property is not closed");
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    bool negated = in_[at_ + 1] == 'P';
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.remove_prefix(1);
    }
    if (name.empty() ||
        !std::all_of(name.begin(), name.end(), [](char c) { return IsLetter(c) || c == '_'; })) {
      return Unsupported("property \\p{" + std::string(name) + "}");
    }
    const auto known = [&](const auto& names) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    out_ += negated ? "\\P{" : "\\p{";
    // PCRE2 reads a bare script name as script extensions.
    if (!known(kCategories) && !known(kBinary)) out_ += "sc:";
    if (name == "LC") {
      out_ += "L&";
    } else {
      out_ += name;
    }
    out_ += "}";
    at_ = close + 1;
    return absl::OkStatus();
  }

  absl::Status Class() {
    out_ += in_[at_++];
    if (at_ < in_.size() && in_[at_] == '^') out_ += in_[at_++];
    if (at_ < in_.size() && in_[at_] == ']') {  // a first ] is a member
      out_ += "\\]";
      ++at_;
    }
    while (at_ < in_.size() && in_[at_] != ']') {
      if (in_[at_] == '\\') {
        FATHOM_RETURN_IF_ERROR(Escape(/*in_class=*/true));
      } else if (in_[at_] == '[') {
        return Unsupported("a class inside a class");
      } else if (in_[at_] == '&' && in_.substr(at_, 2) == "&&") {
        return Unsupported("an intersection of classes");
      } else {
        out_ += in_[at_++];
      }
    }
    if (at_ == in_.size()) return InputError(where_, "a class of the pattern is not closed");
    out_ += in_[at_++];
    return absl::OkStatus();
  }

  const std::string_view in_;
  const std::string_view where_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> TranslatePattern(std::string_view pattern, std::string_view where) {
  return Translator(pattern, where).Run();
}

}  // namespace fathom::tokenizer
