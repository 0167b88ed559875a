// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Text to token ids and back, from the tokenizer segment of an artifact.
#ifndef FATHOM_RUNTIME_TEXT_TOKENIZER_H_
#define FATHOM_RUNTIME_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/text/segment.h"

namespace fathom::text {

struct EncodeOptions {
  // Adds what the checkpoint puts around a text (often a BOS token, often nothing).
  bool add_special = true;
  // Recognises control tokens spelled in the text. Only for text that no user wrote.
  bool parse_special = false;
};

// Every const member is safe from any number of threads.
class Tokenizer {
 public:
  // Verifies all of `segment` (a FlatBuffer of runtime/schema/tokenizer.fbs): InvalidArgument names
  // the field at fault. The bytes must stay in place and unchanged for as long as the tokenizer
  // lives. Takes a few milliseconds for 128k tokens; the tables of the encoder are built at the
  // first Encode.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Open(absl::Span<const uint8_t> segment);
  ~Tokenizer();

  // The same ids as the checkpoint's own tokenizer gives. InvalidArgument: not UTF-8 (an unpaired
  // surrogate included), or longer than kMaxTextBytes. ResourceExhausted: the checkpoint's split
  // pattern is too slow.
  static constexpr size_t kMaxTextBytes = size_t{64} << 20;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options = {}) const;
  // Encodes the concatenation of `segments` (words and merges run across their borders, as in the
  // text the model was trained on), recognising a control token only where it lies in control text
  // entirely.
  absl::StatusOr<std::vector<int32_t>> EncodeSegments(absl::Span<const TextSegment> segments,
                                                      bool add_special = false) const;

  // Valid UTF-8; bytes that are no character become U+FFFD. InvalidArgument: an id outside the
  // vocabulary.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids, bool skip_special = true) const;

  // One past the largest id; holes count.
  int32_t vocab_size() const;
  // The id of a token by its text, added tokens first; none for an unknown text. Tokens of a
  // byte-level vocabulary are spelled as the bytes they stand for (" the", not an alias of it).
  std::optional<int32_t> TokenToId(std::string_view token) const;
  // The bytes of a token, not always UTF-8 by themselves; none for an id outside the vocabulary or
  // a hole.
  std::optional<std::string_view> IdToToken(int32_t id) const;
  // Whether the checkpoint calls the token special: its text is not meant for the user.
  bool IsSpecial(int32_t id) const;

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<int32_t> unknown_id() const;
  // Every id that ends a generation; the first is the template's eos_token.
  const std::vector<int32_t>& eos_ids() const;
  bool IsEos(int32_t id) const;

  // The Jinja source called `name`, or none. Most checkpoints have one, called "default".
  std::optional<std::string_view> ChatTemplate(std::string_view name = "default") const;

  struct State;  // runtime/text/tokenizer_state.h; for this folder only

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Turns tokens into text as they come and gives out whole characters only: bytes that may still
// become a character wait for the next token. The concatenation of everything returned equals
// Decode of all ids. The tokenizer must outlive it. Not for several threads at once.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  // The text that is complete now, often empty. InvalidArgument: an id outside the vocabulary.
  absl::StatusOr<std::string> Add(int32_t id);
  // What still waits, as U+FFFD; the decoder is new afterwards.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  bool first_ = true;
  uint32_t stripped_ = 0;
  bool strip_done_ = false;
  std::string waiting_;
};

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_TOKENIZER_H_
