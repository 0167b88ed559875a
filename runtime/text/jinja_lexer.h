// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Cuts a template into text, tags and the tokens inside tags, with the white-space rules of chat
// templates.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_LEXER_H_
#define FATHOM_RUNTIME_TEXT_JINJA_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fathom::text::jinja {

struct Token {
  enum class Kind {
    kText,        // outside tags; never empty
    kPrintBegin,  // {{
    kPrintEnd,    // }}
    kBlockBegin,  // {%
    kBlockEnd,    // %}
    kName,
    kString,   // text: without quotes, escapes resolved
    kInteger,  // integer
    kFloat,    // number
    kSign,     // an operator or bracket, text: itself
    kEnd,
  };
  Kind kind;
  int line;
  std::string text;
  int64_t integer = 0;
  double number = 0;
};

// Jinja's lexer with trim_blocks and lstrip_blocks, as checkpoints' templates are rendered: the
// newline after a block tag is dropped, and so is the indentation before one that starts its line;
// `-` and `+` beside a tag's bracket strip and keep as usual. Line ends become \n, and one at the
// very end is dropped. {# #} is dropped and {% raw %} is text. InvalidArgument names the line.
absl::StatusOr<std::vector<Token>> Lex(std::string_view source);

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_LEXER_H_
