// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From tokens to the tree of a template.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_PARSER_H_
#define FATHOM_RUNTIME_TEXT_JINJA_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/text/jinja_ast.h"

namespace fathom::text::jinja {

// Nesting beyond this is refused: of blocks, brackets and operators.
inline constexpr int kMaxNesting = 100;

// InvalidArgument: a syntax error. Unimplemented: a part of Jinja outside the subset (include,
// import, call blocks, unknown tags ...). Both name line and construct.
absl::StatusOr<Block> Parse(std::string_view source);

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_PARSER_H_
