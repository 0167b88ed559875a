// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A tokenizer as a checkpoint describes it, checked and ready to be written into an artifact.
#ifndef FATHOM_FRONTEND_TOKENIZER_TOKENIZER_DEF_H_
#define FATHOM_FRONTEND_TOKENIZER_TOKENIZER_DEF_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/schema/tokenizer_generated.h"

namespace fathom::tokenizer {

// The fields are those of runtime/schema/tokenizer.fbs, where each is explained; an id is an index
// of `tokens`.
struct TokenizerDef {
  struct Token {
    std::string bytes;
    schema::TokenClass token_class = schema::TokenClass::missing;
    float score = 0;
  };
  struct Added {
    uint32_t id = 0;
    std::string content;
    bool control = false;
    bool special = false;
    bool left_strip = false;
    bool right_strip = false;
    bool single_word = false;
    bool normalized = false;
  };
  struct NormalizerStep {
    schema::NormalizerKind kind = schema::NormalizerKind::nfc;
    std::string pattern;
    std::string content;
    bool left = false;
    bool right = false;
  };
  struct PreTokenizerStep {
    schema::PreTokenizerKind kind = schema::PreTokenizerKind::split;
    std::string pattern;
    schema::SplitBehavior behavior = schema::SplitBehavior::isolated;
    bool invert = false;
    std::string content;
    schema::PrependScheme prepend = schema::PrependScheme::never;
    bool split = false;
  };
  struct Replacement {
    std::string pattern;
    std::string content;
  };
  struct ChatTemplate {
    std::string name;
    std::string source;
  };

  schema::TokenizerKind kind = schema::TokenizerKind::byte_level_bpe;
  std::vector<Token> tokens;
  std::vector<schema::TokenMerge> merges;
  std::vector<Added> added_tokens;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  std::vector<Replacement> decoder_replacements;
  std::string decoder_first_token_drop;
  uint32_t decoder_strip_left = 0;
  std::string decoder_strip_char;
  std::vector<uint32_t> prefix_ids;
  std::vector<uint32_t> suffix_ids;
  int32_t bos_id = -1;
  int32_t pad_id = -1;
  int32_t unknown_id = -1;
  std::vector<uint32_t> eos_ids;
  bool byte_fallback = false;
  bool fuse_unknown = false;
  bool ignore_merges = false;
  std::vector<ChatTemplate> chat_templates;
};

// Whether an added token that its file does not call special still looks like one: role markers,
// <think> and tool tags are published as ordinary added tokens, yet user text must not be able to
// write them. Runs of white space and plain words are content; anything with a bracket or a bar is
// a marker.
bool LooksLikeControl(std::string_view content);

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_TOKENIZER_DEF_H_
