// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A tokenizer segment for tests: the 256 bytes, an end-of-text token and a role marker.
#ifndef FATHOM_TESTS_UNIT_RUNTIME_SESSION_BYTE_TOKENIZER_H_
#define FATHOM_TESTS_UNIT_RUNTIME_SESSION_BYTE_TOKENIZER_H_

#include <string>
#include <vector>

#include "runtime/schema/tokenizer_generated.h"

namespace fathom::testing {

inline constexpr int32_t kEndOfText = 256;  // "<|end|>"
inline constexpr int32_t kRoleMark = 257;   // "<|role|>"
inline constexpr uint32_t kByteVocabulary = 258;

// Ids 0 to 255 are the bytes; nothing is merged.
inline std::vector<uint8_t> ByteTokenizer(const std::string& chat_template = "") {
  schema::TokenizerT tokenizer;
  tokenizer.kind = schema::TokenizerKind::byte_level_bpe;
  const auto add = [&](const std::string& token, schema::TokenClass token_class) {
    tokenizer.token_bytes.insert(tokenizer.token_bytes.end(), token.begin(), token.end());
    tokenizer.token_ends.push_back(static_cast<uint32_t>(tokenizer.token_bytes.size()));
    tokenizer.token_classes.push_back(static_cast<uint8_t>(token_class));
  };
  for (int byte = 0; byte < 256; ++byte) {
    add(std::string(1, static_cast<char>(byte)), schema::TokenClass::normal);
  }
  for (const char* content : {"<|end|>", "<|role|>"}) {
    auto token = std::make_unique<schema::AddedTokenT>();
    token->id = static_cast<uint32_t>(tokenizer.token_ends.size());
    token->content = content;
    token->control = true;
    token->special = true;
    tokenizer.added_tokens.push_back(std::move(token));
    add(content, schema::TokenClass::control);
  }
  tokenizer.eos_ids = {static_cast<uint32_t>(kEndOfText)};
  if (!chat_template.empty()) {
    tokenizer.chat_templates.push_back(std::make_unique<schema::ChatTemplateSourceT>());
    tokenizer.chat_templates[0]->name = "default";
    tokenizer.chat_templates[0]->source = chat_template;
  }
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::CreateTokenizer(builder, &tokenizer), schema::TokenizerIdentifier());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_RUNTIME_SESSION_BYTE_TOKENIZER_H_
