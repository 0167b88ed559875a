// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Takes the tokenizer's keys out of a GGUF file.
#ifndef FATHOM_FRONTEND_CONFIG_GGUF_TOKENIZER_FIELDS_H_
#define FATHOM_FRONTEND_CONFIG_GGUF_TOKENIZER_FIELDS_H_

#include "absl/status/statusor.h"
#include "frontend/tokenizer/gguf_tokenizer.h"
#include "frontend/weights/checkpoint.h"

namespace fathom {

// The keys `tokenizer.*` as they stand in the file, ready for tokenizer::TokenizerFromGguf, which
// checks that they fit together. Errors: not a GGUF checkpoint; model or tokens missing; a key of
// the wrong type. An id of -1 (as u32: 4294967295) means "none", as some writers put it.
absl::StatusOr<tokenizer::GgufTokenizerFields> ReadGgufTokenizer(const Checkpoint& gguf);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_CONFIG_GGUF_TOKENIZER_FIELDS_H_
