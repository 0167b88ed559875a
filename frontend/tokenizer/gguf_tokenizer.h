// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tokenizers that GGUF files carry in their metadata: kinds "gpt2" and "llama".
#ifndef FATHOM_FRONTEND_TOKENIZER_GGUF_TOKENIZER_H_
#define FATHOM_FRONTEND_TOKENIZER_GGUF_TOKENIZER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/tokenizer/tokenizer_def.h"

namespace fathom::tokenizer {

// The metadata under "tokenizer.", field by field, as the file has it. A list that is absent stays
// empty.
struct GgufTokenizerFields {
  std::string file;                      // its path, for errors
  std::string model;                     // tokenizer.ggml.model
  std::string pre;                       // tokenizer.ggml.pre
  std::vector<std::string> tokens;       // tokenizer.ggml.tokens
  std::vector<float> scores;             // tokenizer.ggml.scores
  std::vector<int32_t> token_types;      // tokenizer.ggml.token_type
  std::vector<std::string> merges;       // tokenizer.ggml.merges
  std::optional<uint32_t> bos_id;        // tokenizer.ggml.bos_token_id
  std::optional<uint32_t> eos_id;        // tokenizer.ggml.eos_token_id
  std::optional<uint32_t> eot_id;        // tokenizer.ggml.eot_token_id
  std::optional<uint32_t> eom_id;        // tokenizer.ggml.eom_token_id
  std::optional<uint32_t> unknown_id;    // tokenizer.ggml.unknown_token_id
  std::optional<uint32_t> pad_id;        // tokenizer.ggml.padding_token_id
  std::optional<bool> add_bos;           // tokenizer.ggml.add_bos_token
  std::optional<bool> add_eos;           // tokenizer.ggml.add_eos_token
  std::optional<bool> add_space_prefix;  // tokenizer.ggml.add_space_prefix
  std::string chat_template;             // tokenizer.chat_template
  // tokenizer.chat_template.NAME, for each name of tokenizer.chat_templates
  std::vector<TokenizerDef::ChatTemplate> named_templates;
};

// InvalidArgument: lists of different lengths, ids outside the vocabulary, merges of tokens that do
// not exist, malformed byte tokens, scores that are no numbers. Unimplemented: another kind or
// pre-tokenizer.
absl::StatusOr<TokenizerDef> TokenizerFromGguf(const GgufTokenizerFields& fields);

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_GGUF_TOKENIZER_H_
