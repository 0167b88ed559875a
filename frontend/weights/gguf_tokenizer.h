// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tokenizer that a GGUF file carries, as plain fields.
#ifndef FATHOM_FRONTEND_WEIGHTS_GGUF_TOKENIZER_H_
#define FATHOM_FRONTEND_WEIGHTS_GGUF_TOKENIZER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/weights/checkpoint.h"

namespace fathom {

// The keys `tokenizer.*` as they stand in the file; the comment gives the key's last words.
struct GgufTokenizer {
  std::string model;                 // ggml.model: "gpt2" (byte-level BPE), "llama" (SPM) ...
  std::string pre;                   // ggml.pre: the pre-tokenizer's name; empty when absent
  std::vector<std::string> tokens;   // ggml.tokens: spelling of each id
  std::vector<float> scores;         // ggml.scores: one per token, or empty
  // ggml.token_type: one per token, or empty. 1 normal, 2 unknown, 3 control, 4 user defined,
  // 5 unused, 6 byte.
  std::vector<int32_t> token_types;
  std::vector<std::string> merges;   // ggml.merges: "left right", best first; empty for SPM
  // ggml.*_token_id: each below tokens.size().
  std::optional<uint32_t> bos_id, eos_id, eot_id, unknown_id, padding_id;
  // ggml.add_*: absent means that the model kind decides.
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::string chat_template;         // chat_template; empty when absent
};

// Errors: not a GGUF checkpoint; model or tokens missing; a key of the wrong type; scores or types
// whose number differs from the tokens'; an id that is no token.
absl::StatusOr<GgufTokenizer> ReadGgufTokenizer(const Checkpoint& checkpoint);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_GGUF_TOKENIZER_H_
