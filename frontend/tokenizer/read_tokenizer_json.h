// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads the tokenizer of a Hugging Face checkpoint folder.
#ifndef FATHOM_FRONTEND_TOKENIZER_READ_TOKENIZER_JSON_H_
#define FATHOM_FRONTEND_TOKENIZER_READ_TOKENIZER_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "frontend/tokenizer/tokenizer_def.h"

namespace fathom::tokenizer {

// Reads `dir`/tokenizer.json and, where they exist, tokenizer_config.json (special tokens,
// add_bos_token, chat_template), special_tokens_map.json, chat_template.jinja,
// additional_chat_templates/*.jinja, generation_config.json and config.json (ids that end a
// generation). NotFound: no tokenizer.json. InvalidArgument: a file that is malformed or
// contradicts itself (two tokens with one id, a merge of tokens that do not exist ...); names file
// and field. Unimplemented: a model that is not BPE, a step without counterpart, a pattern beyond
// the runtime's dialect.
absl::StatusOr<TokenizerDef> ReadTokenizerJson(const std::string& dir);

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_READ_TOKENIZER_JSON_H_
