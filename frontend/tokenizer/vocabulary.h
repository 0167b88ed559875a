// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Builds the token and merge tables of a definition from what files say, for tokenizer.json and
// GGUF alike.
#ifndef FATHOM_FRONTEND_TOKENIZER_VOCABULARY_H_
#define FATHOM_FRONTEND_TOKENIZER_VOCABULARY_H_

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "frontend/tokenizer/tokenizer_def.h"

namespace fathom::tokenizer {

class VocabularyBuilder {
 public:
  // `def->kind` must be set. `where` names the vocabulary in errors.
  VocabularyBuilder(TokenizerDef* def, std::string where) : def_(def), where_(std::move(where)) {}

  // A token of the model, as the file spells it. Errors: the id or the spelling is taken.
  absl::Status AddToken(uint32_t id, std::string_view spelling);
  // <0x00> ... <0xFF> become byte tokens.
  void MarkByteTokens();
  // A token that is matched as a whole. When the model has it too, its id must be the same.
  absl::Status AddAdded(TokenizerDef::Added added);
  // The merge of rank `rank`. Errors: a part or the result is no token.
  absl::Status AddMerge(std::string_view left, std::string_view right, size_t rank);
  // After everything was added: what is no longer reachable by merging is marked so.
  void Finish();

  // The id of a spelling, added tokens included; -1 for none.
  int32_t Find(std::string_view spelling) const;

 private:
  struct Entry {
    uint32_t id;
    bool literal;  // byte-level: spelled with characters that are no aliases, so no text merges to
                   // it
  };
  TokenizerDef::Token& Grow(uint32_t id);
  TokenizerDef* def_;
  std::string where_;
  std::unordered_map<std::string, Entry> spellings_;
  std::unordered_set<std::string> added_;
};

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_VOCABULARY_H_
