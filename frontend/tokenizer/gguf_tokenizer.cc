// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GGUF metadata to a tokenizer definition.
#include "frontend/tokenizer/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "frontend/tokenizer/known_pre_tokenizers.h"
#include "frontend/tokenizer/vocabulary.h"
#include "runtime/base/status.h"

namespace fathom::tokenizer {
namespace {

using schema::TokenClass;
using schema::TokenizerKind;

// GGUF's token types.
enum Type : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

// Files name one id that ends a generation; a model's chat format may end its turns with another.
constexpr std::array<std::string_view, 9> kEndOfTurn = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|EOT|>",
    "<|endoftext|>",
    "<|return|>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};

class Reader {
 public:
  explicit Reader(const GgufTokenizerFields& fields)
      : fields_(fields), vocabulary_(&def_, Where("tokens")) {}

  absl::StatusOr<TokenizerDef> Run() {
    FATHOM_RETURN_IF_ERROR(CheckLists());
    bool add_bos = false;
    if (fields_.model == "gpt2") {
      FATHOM_RETURN_IF_ERROR(AddKnownPreTokenizer(fields_.pre, Where("pre"), &def_, &add_bos));
    } else if (fields_.model == "llama") {
      def_.kind = TokenizerKind::sentencepiece_bpe;
      def_.byte_fallback = true;
      add_bos = true;
      AddSpaceSteps();
    } else {
      return UnsupportedError(Where("model"), "tokenizer " + fields_.model +
                                                  " is not supported: expected gpt2 or llama");
    }
    FATHOM_RETURN_IF_ERROR(AddTokens());
    if (def_.kind == TokenizerKind::byte_level_bpe) FATHOM_RETURN_IF_ERROR(AddMerges());
    FATHOM_RETURN_IF_ERROR(AddIds(add_bos));
    vocabulary_.Finish();
    if (!fields_.chat_template.empty()) {
      def_.chat_templates.push_back({"default", fields_.chat_template});
    }
    for (const TokenizerDef::ChatTemplate& named : fields_.named_templates) {
      if (named.name != "default") def_.chat_templates.push_back(named);
    }
    return std::move(def_);
  }

 private:
  std::string Where(std::string_view field) const {
    return fields_.file + ": tokenizer.ggml." + std::string(field);
  }
  int32_t TypeOf(size_t id) const {
    return fields_.token_types.empty() ? kNormal : fields_.token_types[id];
  }

  absl::Status CheckLists() const {
    constexpr size_t kMaxTokens = 1u << 22;
    const size_t size = fields_.tokens.size();
    if (size == 0 || size > kMaxTokens) {
      return InputError(Where("tokens"), "wrong number of tokens",
                        "1 to " + std::to_string(kMaxTokens), std::to_string(size));
    }
    if (!fields_.token_types.empty() && fields_.token_types.size() != size) {
      return InputError(Where("token_type"), "wrong length", size, fields_.token_types.size());
    }
    for (size_t id = 0; id < fields_.token_types.size(); ++id) {
      if (TypeOf(id) < 0 || TypeOf(id) > kByte) {
        return InputError(Where("token_type") + "[" + std::to_string(id) + "]", "unknown type",
                          "0 to 6", TypeOf(id));
      }
    }
    const bool scored = fields_.model == "llama";
    if (scored && fields_.scores.size() != size) {
      return InputError(Where("scores"), "wrong length", size, fields_.scores.size());
    }
    for (size_t id = 0; scored && id < size; ++id) {
      if (std::isnan(fields_.scores[id])) {
        return InputError(Where("scores") + "[" + std::to_string(id) + "]", "not a number");
      }
    }
    return absl::OkStatus();
  }

  // SentencePiece writes a space as U+2581 and starts a text with one.
  void AddSpaceSteps() {
    TokenizerDef::NormalizerStep prepend, replace;
    const bool prefix = fields_.add_space_prefix.value_or(true);
    if (prefix) {
      prepend.kind = schema::NormalizerKind::prepend;
      prepend.content = kSpaceMark;
      def_.normalizer.push_back(prepend);
      def_.decoder_strip_left = 1;
      def_.decoder_strip_char = " ";
    }
    replace.kind = schema::NormalizerKind::replace_text;
    replace.pattern = " ";
    replace.content = kSpaceMark;
    def_.normalizer.push_back(replace);
    def_.decoder_replacements.push_back({std::string(kSpaceMark), " "});
  }

  absl::Status AddTokens() {
    for (uint32_t id = 0; id < fields_.tokens.size(); ++id) {
      const std::string& text = fields_.tokens[id];
      const int32_t type = TypeOf(id);
      if (type == kControl || type == kUserDefined) {
        if (text.empty()) continue;  // a hole
        TokenizerDef::Added added;
        added.id = id;
        added.content = text;
        added.special = type == kControl;
        added.control = added.special || LooksLikeControl(text);
        FATHOM_RETURN_IF_ERROR(vocabulary_.AddAdded(std::move(added)));
      } else {
        FATHOM_RETURN_IF_ERROR(vocabulary_.AddToken(id, text));
      }
    }
    def_.tokens.resize(fields_.tokens.size());
    if (def_.kind != TokenizerKind::sentencepiece_bpe) return absl::OkStatus();
    vocabulary_.MarkByteTokens();
    for (uint32_t id = 0; id < fields_.tokens.size(); ++id) {
      TokenizerDef::Token& token = def_.tokens[id];
      token.score = fields_.scores[id];
      const int32_t type = TypeOf(id);
      if (type == kByte && token.token_class != TokenClass::byte) {
        return InputError(Where("tokens") + "[" + std::to_string(id) + "]",
                          "a malformed byte token", "<0x00> to <0xFF>", fields_.tokens[id]);
      }
      if (type == kUnused && token.token_class == TokenClass::normal)
        token.token_class = TokenClass::added;
      if (type == kUnknown && token.token_class == TokenClass::normal) {
        token.token_class = TokenClass::unknown;
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddMerges() {
    for (size_t rank = 0; rank < fields_.merges.size(); ++rank) {
      const std::string& merge = fields_.merges[rank];
      const size_t space = merge.find(' ', 1);
      if (space == std::string::npos || space + 1 == merge.size()) {
        return InputError(Where("merges") + "[" + std::to_string(rank) + "]", "malformed",
                          "two tokens with a space between", merge);
      }
      FATHOM_RETURN_IF_ERROR(vocabulary_.AddMerge(std::string_view(merge).substr(0, space),
                                                  std::string_view(merge).substr(space + 1), rank));
    }
    return absl::OkStatus();
  }

  absl::Status CheckId(const std::optional<uint32_t>& id, std::string_view field) const {
    if (id && *id >= def_.tokens.size()) {
      return InputError(Where(field), "id out of range",
                        "below " + std::to_string(def_.tokens.size()), *id);
    }
    return absl::OkStatus();
  }

  void AddEos(uint32_t id) {
    if (std::find(def_.eos_ids.begin(), def_.eos_ids.end(), id) == def_.eos_ids.end()) {
      def_.eos_ids.push_back(id);
    }
  }

  // A file without token types has its markers in the vocabulary only; the two it names are
  // control.
  absl::Status MarkControl(const std::optional<uint32_t>& id) {
    if (!id || !fields_.token_types.empty() || fields_.tokens[*id].empty()) return absl::OkStatus();
    for (const TokenizerDef::Added& added : def_.added_tokens) {
      if (added.id == *id) return absl::OkStatus();
    }
    TokenizerDef::Added added;
    added.id = *id;
    added.content = fields_.tokens[*id];
    added.special = added.control = true;
    return vocabulary_.AddAdded(std::move(added));
  }

  absl::Status AddIds(bool add_bos) {
    const std::pair<const std::optional<uint32_t>*, const char*> named[] = {
        {&fields_.bos_id, "bos_token_id"},     {&fields_.eos_id, "eos_token_id"},
        {&fields_.eot_id, "eot_token_id"},     {&fields_.eom_id, "eom_token_id"},
        {&fields_.pad_id, "padding_token_id"}, {&fields_.unknown_id, "unknown_token_id"}};
    for (const auto& [id, field] : named) FATHOM_RETURN_IF_ERROR(CheckId(*id, field));
    FATHOM_RETURN_IF_ERROR(MarkControl(fields_.bos_id));
    FATHOM_RETURN_IF_ERROR(MarkControl(fields_.eos_id));
    const auto as_int = [](const std::optional<uint32_t>& id) {
      return id ? static_cast<int32_t>(*id) : -1;
    };
    def_.bos_id = as_int(fields_.bos_id);
    def_.pad_id = as_int(fields_.pad_id);
    def_.unknown_id = as_int(fields_.unknown_id);
    if (def_.kind == TokenizerKind::sentencepiece_bpe && def_.unknown_id < 0) {
      def_.unknown_id = vocabulary_.Find("<unk>");
    }
    for (const auto* id : {&fields_.eos_id, &fields_.eot_id, &fields_.eom_id}) {
      if (*id) AddEos(**id);
    }
    for (const TokenizerDef::Added& added : def_.added_tokens) {
      if (std::find(kEndOfTurn.begin(), kEndOfTurn.end(), added.content) != kEndOfTurn.end()) {
        AddEos(added.id);
      }
    }
    if (fields_.add_bos.value_or(add_bos) && def_.bos_id >= 0) {
      def_.prefix_ids.push_back(static_cast<uint32_t>(def_.bos_id));
    }
    if (fields_.add_eos.value_or(false) && fields_.eos_id)
      def_.suffix_ids.push_back(*fields_.eos_id);
    return absl::OkStatus();
  }

  const GgufTokenizerFields& fields_;
  TokenizerDef def_;
  VocabularyBuilder vocabulary_;
};

}  // namespace

absl::StatusOr<TokenizerDef> TokenizerFromGguf(const GgufTokenizerFields& fields) {
  return Reader(fields).Run();
}

}  // namespace fathom::tokenizer
