// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs a parsed template.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_EVAL_H_
#define FATHOM_RUNTIME_TEXT_JINJA_EVAL_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/text/jinja_ast.h"
#include "runtime/text/jinja_context.h"

namespace fathom::text::jinja {

using Scope = std::map<std::string, Value, std::less<>>;

// The text of `block` with the variables of `globals`. `context` holds the limits and what is left
// of them.
absl::StatusOr<MarkedText> Evaluate(const Block& block, Scope globals, Context* context);

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_EVAL_H_
