// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Translates the regular expressions of tokenizer.json (Oniguruma) to the dialect of the runtime
// (PCRE2).
#ifndef FATHOM_FRONTEND_TOKENIZER_PATTERN_DIALECT_H_
#define FATHOM_FRONTEND_TOKENIZER_PATTERN_DIALECT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace fathom::tokenizer {

// The two dialects agree on nearly everything the published patterns use. They differ in what \s,
// \w, \d and \h mean, in \p{Script}, and in nested and intersected classes; the first four are
// spelled out as ranges and properties, scripts are asked for as scripts, classes of classes are
// Unimplemented. `where` names the field in errors. Whether the result compiles is checked by the
// runtime when it opens the tokenizer.
absl::StatusOr<std::string> TranslatePattern(std::string_view pattern, std::string_view where);

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_PATTERN_DIALECT_H_
