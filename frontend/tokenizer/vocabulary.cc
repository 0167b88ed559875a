// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// VocabularyBuilder: spellings to bytes, ids checked, merges by id.
#include "frontend/tokenizer/vocabulary.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "frontend/tokenizer/byte_alias.h"
#include "runtime/base/status.h"

namespace fathom::tokenizer {
namespace {

using schema::TokenClass;
using schema::TokenizerKind;

// The byte that "<0x0A>" stands for. Exactly two upper-case digits, as the format has them.
std::optional<char> ByteOfToken(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>')
    return std::nullopt;
  int value = 0;
  for (const char c : spelling.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + digit;
  }
  return static_cast<char>(value);
}

}  // namespace

bool LooksLikeControl(std::string_view content) {
  return content.find_first_of("<>[]{}|") != std::string_view::npos ||
         content.find("\xEF\xBD\x9C") != std::string_view::npos;  // U+FF5C, DeepSeek's bar
}

TokenizerDef::Token& VocabularyBuilder::Grow(uint32_t id) {
  if (id >= def_->tokens.size()) def_->tokens.resize(size_t{id} + 1);
  return def_->tokens[id];
}

absl::Status VocabularyBuilder::AddToken(uint32_t id, std::string_view spelling) {
  TokenizerDef::Token& token = Grow(id);
  if (token.token_class != TokenClass::missing) {
    return InputError(where_, "id " + std::to_string(id) + " is given to two tokens: " +
                                  token.bytes + " and " + std::string(spelling));
  }
  std::optional<std::string> bytes;
  if (def_->kind == TokenizerKind::byte_level_bpe) bytes = BytesOfAliases(spelling);
  const bool literal = def_->kind == TokenizerKind::byte_level_bpe && !bytes;
  if (!spellings_.try_emplace(std::string(spelling), Entry{id, literal}).second) {
    return InputError(where_, "token given twice: " + std::string(spelling));
  }
  token.bytes = bytes ? *std::move(bytes) : std::string(spelling);
  token.token_class = literal ? TokenClass::added : TokenClass::normal;
  return absl::OkStatus();
}

void VocabularyBuilder::MarkByteTokens() {
  for (TokenizerDef::Token& token : def_->tokens) {
    if (token.token_class != TokenClass::normal) continue;
    if (const std::optional<char> byte = ByteOfToken(token.bytes)) {
      token.bytes = *byte;
      token.token_class = TokenClass::byte;
    }
  }
}

absl::Status VocabularyBuilder::AddAdded(TokenizerDef::Added added) {
  if (added.content.empty() || added.content.size() > 1024) {
    return InputError(where_, "added token " + std::to_string(added.id) + " has the wrong length",
                      "1 to 1024 bytes", std::to_string(added.content.size()));
  }
  if (!added_.insert(added.content).second) {
    return InputError(where_, "added token given twice: " + added.content);
  }
  const auto it = spellings_.find(added.content);
  if (it != spellings_.end() && it->second.id != added.id) {
    return InputError(where_, "added token " + added.content + " has two ids",
                      std::to_string(it->second.id), std::to_string(added.id));
  }
  TokenizerDef::Token& token = Grow(added.id);
  if (it == spellings_.end()) {
    if (token.token_class != TokenClass::missing) {
      return InputError(where_, "id " + std::to_string(added.id) + " is given to two tokens: " +
                                    token.bytes + " and " + added.content);
    }
    spellings_.try_emplace(added.content, Entry{added.id, true});
    // It stands for the text it is written with, also where the vocabulary spells bytes by alias.
    token.bytes = added.content;
    token.token_class = TokenClass::added;
  }
  if (added.control) token.token_class = TokenClass::control;
  def_->added_tokens.push_back(std::move(added));
  return absl::OkStatus();
}

absl::Status VocabularyBuilder::AddMerge(std::string_view left, std::string_view right,
                                         size_t rank) {
  const auto find = [&](const std::string& spelling) { return spellings_.find(spelling); };
  const auto a = find(std::string(left));
  const auto b = find(std::string(right));
  const auto result = find(std::string(left) + std::string(right));
  for (const auto& [it, spelling] :
       {std::pair(a, std::string(left)), std::pair(b, std::string(right)),
        std::pair(result, std::string(left) + std::string(right))}) {
    if (it == spellings_.end()) {
      return InputError(where_, "merge " + std::to_string(rank) + " (\"" + std::string(left) +
                                    "\" \"" + std::string(right) +
                                    "\") names a token that does not exist: " + spelling);
    }
  }
  def_->merges.push_back({a->second.id, b->second.id, result->second.id});
  return absl::OkStatus();
}

void VocabularyBuilder::Finish() {
  // Merges stay only where the result's bytes are its parts' bytes: not where a part stands for a
  // byte or is spelled in characters that a byte-level text never has.
  std::erase_if(def_->merges, [&](const schema::TokenMerge& merge) {
    const auto& tokens = def_->tokens;
    for (const uint32_t id : {merge.left(), merge.right(), merge.result()}) {
      if (tokens[id].token_class == TokenClass::byte) return true;
    }
    return tokens[merge.left()].bytes + tokens[merge.right()].bytes != tokens[merge.result()].bytes;
  });
  if (def_->unknown_id >= 0) {
    TokenizerDef::Token& token = def_->tokens[static_cast<size_t>(def_->unknown_id)];
    if (token.token_class == TokenClass::normal) token.token_class = TokenClass::unknown;
  }
}

int32_t VocabularyBuilder::Find(std::string_view spelling) const {
  const auto it = spellings_.find(std::string(spelling));
  return it == spellings_.end() ? -1 : static_cast<int32_t>(it->second.id);
}

}  // namespace fathom::tokenizer
