// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// StreamDecoder: a token's own replacements, then the bytes it adds to the text, given out
// character by character.
#include "runtime/base/status.h"
#include "runtime/text/bpe.h"
#include "runtime/text/strings.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_state.h"
#include "runtime/text/utf8.h"

namespace fathom::text {
namespace {

std::string_view View(const flatbuffers::String* s) {
  return s == nullptr ? std::string_view() : std::string_view(s->c_str(), s->size());
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Moves everything from `*waiting` to the result that no later byte can change.
std::string TakeComplete(std::string* waiting) {
  std::string out;
  size_t at = 0;
  while (at < waiting->size()) {
    const Utf8Char c = ReadUtf8(*waiting, at);
    if (c.state == Utf8State::kIncomplete) break;
    if (c.state == Utf8State::kValid) {
      out.append(*waiting, at, c.length);
    } else {
      out.append(kReplacement);
    }
    at += c.length;
  }
  waiting->erase(0, at);
  return out;
}

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special) {}

absl::StatusOr<std::string> StreamDecoder::Add(int32_t id) {
  if (id < 0 || id >= tokenizer_.vocab_size()) {
    return InputError("token id", "outside the vocabulary",
                      Cat("0 to ", tokenizer_.vocab_size() - 1), id);
  }
  if (skip_special_ && tokenizer_.IsSpecial(id)) return std::string();
  const schema::Tokenizer& root = *tokenizer_.state_->root;
  const auto at = static_cast<uint32_t>(id);
  std::string piece(TokenBytes(root, at));
  const bool is_byte =
      root.token_classes()->Get(at) == static_cast<uint8_t>(schema::TokenClass::byte);
  if (const schema::TokenDecoder* decoder = root.decoder(); decoder != nullptr) {
    const std::string_view drop = View(decoder->first_token_drop());
    if (first_ && !drop.empty() && !is_byte) piece = ReplaceAll(piece, drop, "");
    for (uint32_t i = 0;
         !is_byte && decoder->replacements() != nullptr && i < decoder->replacements()->size();
         ++i) {
      const schema::TokenReplacement& r = *decoder->replacements()->Get(i);
      piece = ReplaceAll(piece, View(r.pattern()), View(r.content()));
    }
    const std::string_view strip = View(decoder->strip_char());
    while (!strip_done_ && !strip.empty() && stripped_ < decoder->strip_left() &&
           piece.substr(0, strip.size()) == strip) {
      piece.erase(0, strip.size());
      ++stripped_;
    }
    if (!piece.empty()) strip_done_ = true;
  }
  first_ = false;
  waiting_ += piece;
  return TakeComplete(&waiting_);
}

std::string StreamDecoder::Finish() {
  // What is left is the beginning of one character.
  std::string out = waiting_.empty() ? std::string() : std::string(kReplacement);
  waiting_.clear();
  first_ = true;
  stripped_ = 0;
  strip_done_ = false;
  return out;
}

}  // namespace fathom::text
