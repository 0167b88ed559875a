// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The pre-tokenizers that GGUF files name instead of spelling out.
#ifndef FATHOM_FRONTEND_TOKENIZER_KNOWN_PRE_TOKENIZERS_H_
#define FATHOM_FRONTEND_TOKENIZER_KNOWN_PRE_TOKENIZERS_H_

#include <string_view>

#include "absl/status/status.h"
#include "frontend/tokenizer/tokenizer_def.h"

namespace fathom::tokenizer {

// Adds the normalizer and the split steps of the tokenizer.json that `pre` (tokenizer.ggml.pre; ""
// and "default" are GPT-2's) stands for, sets ignore_merges, and *add_bos where that tokenizer adds
// one unless told otherwise. Unimplemented, with the names that are known, for any other.
absl::Status AddKnownPreTokenizer(std::string_view pre, std::string_view where, TokenizerDef* def,
                                  bool* add_bos);

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_KNOWN_PRE_TOKENIZERS_H_
