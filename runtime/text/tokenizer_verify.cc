// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the FlatBuffers verifier cannot know about a tokenizer segment.
#include "runtime/text/tokenizer_verify.h"

#include <cmath>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "runtime/base/status.h"
#include "runtime/text/strings.h"
#include "runtime/text/utf8.h"

namespace fathom::text {
namespace {

using schema::TokenClass;
using schema::TokenizerKind;

std::string At(std::string_view field, uint64_t index) {
  return Cat("tokenizer: ", field, "[", index, "]");
}

bool IsUtf8(const flatbuffers::String* text) {
  return text == nullptr ||
         FindInvalidUtf8({text->c_str(), text->size()}) == std::string_view::npos;
}

uint32_t TokenLength(const schema::Tokenizer& t, uint32_t id) {
  return t.token_ends()->Get(id) - (id == 0 ? 0 : t.token_ends()->Get(id - 1));
}

absl::Status CheckVocabulary(const schema::Tokenizer& t) {
  const uint32_t size = t.token_ends()->size();
  if (t.kind() > TokenizerKind::MAX) {
    return InputError("tokenizer: kind", "unknown", Cat("at most ", int(TokenizerKind::MAX)),
                      int(t.kind()));
  }
  if (size == 0 || size > kMaxTokens) {
    return InputError("tokenizer: token_ends", "wrong number of tokens", Cat("1 to ", kMaxTokens),
                      size);
  }
  if (t.token_classes()->size() != size) {
    return InputError("tokenizer: token_classes", "wrong length", size, t.token_classes()->size());
  }
  uint32_t last = 0;
  for (uint32_t id = 0; id < size; ++id) {
    const uint32_t end = t.token_ends()->Get(id);
    if (end < last) return InputError(At("token_ends", id), "out of order", last, end);
    const uint8_t token_class = t.token_classes()->Get(id);
    if (token_class > static_cast<uint8_t>(TokenClass::MAX)) {
      return InputError(At("token_classes", id), "unknown class",
                        Cat("at most ", int(TokenClass::MAX)), int(token_class));
    }
    if (token_class == static_cast<uint8_t>(TokenClass::byte) && end - last != 1) {
      return InputError(At("token_ends", id), "a byte token has the wrong length", 1, end - last);
    }
    last = end;
  }
  if (last != t.token_bytes()->size()) {
    return InputError("tokenizer: token_bytes", "wrong length", last, t.token_bytes()->size());
  }
  const bool scored = t.kind() == TokenizerKind::sentencepiece_bpe;
  const uint32_t scores = t.token_scores() == nullptr ? 0 : t.token_scores()->size();
  if (scores != (scored ? size : 0)) {
    return InputError("tokenizer: token_scores", "wrong length", scored ? size : 0, scores);
  }
  for (uint32_t id = 0; id < scores; ++id) {
    if (std::isnan(t.token_scores()->Get(id))) {
      return InputError(At("token_scores", id), "not a number");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMerges(const schema::Tokenizer& t) {
  if (t.merges() == nullptr) return absl::OkStatus();
  const uint32_t size = t.token_ends()->size();
  if (t.merges()->size() > kMaxTokens) {
    return InputError("tokenizer: merges", "too many", Cat("at most ", kMaxTokens),
                      t.merges()->size());
  }
  for (uint32_t rank = 0; rank < t.merges()->size(); ++rank) {
    const schema::TokenMerge& merge = *t.merges()->Get(rank);
    for (const uint32_t id : {merge.left(), merge.right(), merge.result()}) {
      if (id >= size)
        return InputError(At("merges", rank), "id out of range", Cat("below ", size), id);
    }
    const uint64_t parts = uint64_t{TokenLength(t, merge.left())} + TokenLength(t, merge.right());
    if (parts != TokenLength(t, merge.result())) {
      return InputError(At("merges", rank), "the result is not as long as its parts", parts,
                        TokenLength(t, merge.result()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAddedTokens(const schema::Tokenizer& t) {
  if (t.added_tokens() == nullptr) return absl::OkStatus();
  absl::flat_hash_set<std::string_view, StringHash> seen;
  uint32_t index = 0;
  for (const schema::AddedToken* token : *t.added_tokens()) {
    const std::string where = At("added_tokens", index++);
    const std::string_view content(token->content()->c_str(), token->content()->size());
    if (token->id() >= t.token_ends()->size()) {
      return InputError(where, "id out of range", Cat("below ", t.token_ends()->size()),
                        token->id());
    }
    if (content.empty() || content.size() > kMaxAddedTokenBytes) {
      return InputError(where, "wrong length", Cat("1 to ", kMaxAddedTokenBytes, " bytes"),
                        content.size());
    }
    if (!IsUtf8(token->content())) return InputError(where, "not valid UTF-8");
    if (!seen.insert(content).second) return InputError(where, Cat("given twice: ", content));
  }
  return absl::OkStatus();
}

absl::Status CheckIds(const schema::Tokenizer& t) {
  const uint32_t size = t.token_ends()->size();
  const auto list = [&](const flatbuffers::Vector<uint32_t>* ids, std::string_view field) {
    for (uint32_t i = 0; ids != nullptr && i < ids->size(); ++i) {
      if (ids->Get(i) >= size) {
        return InputError(At(field, i), "id out of range", Cat("below ", size), ids->Get(i));
      }
    }
    return absl::OkStatus();
  };
  FATHOM_RETURN_IF_ERROR(list(t.prefix_ids(), "prefix_ids"));
  FATHOM_RETURN_IF_ERROR(list(t.suffix_ids(), "suffix_ids"));
  FATHOM_RETURN_IF_ERROR(list(t.eos_ids(), "eos_ids"));
  const std::pair<const char*, int32_t> single[] = {
      {"bos_id", t.bos_id()}, {"pad_id", t.pad_id()}, {"unknown_id", t.unknown_id()}};
  for (const auto& [field, id] : single) {
    if (id < -1 || (id >= 0 && static_cast<uint32_t>(id) >= size)) {
      return InputError(Cat("tokenizer: ", field), "id out of range", Cat("-1 or below ", size),
                        id);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTexts(const schema::Tokenizer& t) {
  if (const schema::TokenDecoder* decoder = t.decoder(); decoder != nullptr) {
    if (!IsUtf8(decoder->first_token_drop()) || !IsUtf8(decoder->strip_char())) {
      return InputError("tokenizer: decoder", "not valid UTF-8");
    }
    for (uint32_t i = 0; decoder->replacements() != nullptr && i < decoder->replacements()->size();
         ++i) {
      const schema::TokenReplacement& r = *decoder->replacements()->Get(i);
      if (r.pattern()->size() == 0 || !IsUtf8(r.pattern()) || !IsUtf8(r.content())) {
        return InputError(At("decoder.replacements", i), "empty or not valid UTF-8");
      }
    }
  }
  if (t.chat_templates() == nullptr) return absl::OkStatus();
  uint32_t index = 0;
  for (const schema::ChatTemplateSource* source : *t.chat_templates()) {
    if (!IsUtf8(source->source()) || !IsUtf8(source->name())) {
      return InputError(At("chat_templates", index), "not valid UTF-8");
    }
    ++index;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<const schema::Tokenizer*> VerifyTokenizer(absl::Span<const uint8_t> segment) {
  if (segment.size() < 8 || segment.size() >= FLATBUFFERS_MAX_BUFFER_SIZE) {
    return InputError("tokenizer", "wrong size",
                      Cat("8 to ", uint64_t{FLATBUFFERS_MAX_BUFFER_SIZE} - 1, " bytes"),
                      segment.size());
  }
  if (!schema::TokenizerBufferHasIdentifier(segment.data())) {
    return InputError("tokenizer: identifier", "not a tokenizer segment",
                      schema::TokenizerIdentifier(), "other bytes");
  }
  flatbuffers::Verifier verifier(segment.data(), segment.size());
  if (!schema::VerifyTokenizerBuffer(verifier)) {
    return InputError("tokenizer", "the segment is damaged: an offset or length leaves it");
  }
  const schema::Tokenizer* root = schema::GetTokenizer(segment.data());
  FATHOM_RETURN_IF_ERROR(CheckVocabulary(*root));
  FATHOM_RETURN_IF_ERROR(CheckMerges(*root));
  FATHOM_RETURN_IF_ERROR(CheckAddedTokens(*root));
  FATHOM_RETURN_IF_ERROR(CheckIds(*root));
  FATHOM_RETURN_IF_ERROR(CheckTexts(*root));
  return root;
}

}  // namespace fathom::text
