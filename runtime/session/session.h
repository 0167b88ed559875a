// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sequences of tokens over one paged KV cache: prefill in chunks, decode of many sequences at once.
#ifndef FATHOM_RUNTIME_SESSION_SESSION_H_
#define FATHOM_RUNTIME_SESSION_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/context.h"
#include "runtime/exec/memory_plan.h"
#include "runtime/session/page_pool.h"

namespace fathom {

struct SessionOptions {
  int64_t context_size = 0;       // tokens per sequence; 0: the model's own context length
  int32_t max_sequences = 1;      // at the same time
  int32_t chunk = kDefaultChunk;  // most tokens of one call
  // A sequence's logits depend on its own tokens alone, byte for byte, and on which of them were
  // appended one at a time (docs/design/009): the last token of a prompt that `chunk` leaves over
  // is a prompt then, and so are few tokens, which some targets are faster to compute as steps
  // (docs/design/010, 014).
  bool deterministic = false;
};

using SequenceId = int32_t;

// Tokens to append to one sequence.
struct Extension {
  SequenceId sequence = 0;
  absl::Span<const int32_t> tokens;  // at least one
};

// Not thread-safe. Pages of 64 tokens are taken from the cache as sequences grow and go back when
// they shrink or leave, so unused context costs no memory.
class Session {
 public:
  // InvalidArgument: a context beyond the model's, sequences outside 1 to 4096, chunk outside 1 to
  // 65536.
  static absl::StatusOr<std::unique_ptr<Session>> Create(std::shared_ptr<const Program> program,
                                                         const SessionOptions& options);

  int64_t context_size() const { return options_.context_size; }
  uint32_t vocab_size() const { return context_->program().vocab_size(); }
  const Program& program() const { return context_->program(); }

  // ResourceExhausted when max_sequences are there already.
  absl::StatusOr<SequenceId> AddSequence();
  absl::Status RemoveSequence(SequenceId id);
  // The tokens in the cache; NotFound for an unknown sequence.
  absl::StatusOr<absl::Span<const int32_t>> Tokens(SequenceId id) const;
  // Forgets all tokens from `length` on.
  absl::Status Truncate(SequenceId id, int64_t length);

  // Appends tokens to each of the sequences (each named once) and gives the logits of each one's
  // last new token: row i belongs to extensions[i], valid until the next call. Single tokens
  // beside longer prompts take passes of their own, unless all are few enough for steps. Checks
  // everything first: an unknown sequence, an id outside the vocabulary, more tokens than the
  // context holds (OutOfRange) change nothing. `progress` sees tokens done and in all after each
  // chunk; false cancels, and what was done stays.
  absl::StatusOr<Logits> Extend(absl::Span<const Extension> extensions,
                                const std::function<bool(int64_t, int64_t)>& progress = nullptr);

  // When set, every call adds its dispatches to it.
  void set_profile(std::vector<DispatchProfile>* profile) { profile_ = profile; }

 private:
  struct Sequence {
    std::vector<int32_t> tokens;
    std::vector<int32_t> pages;
  };
  // A run of new tokens of one sequence inside one call.
  struct Piece {
    size_t extension;
    absl::Span<const int32_t> tokens;
    bool last;  // ends its extension: its logits are wanted
  };

  Session(std::unique_ptr<Context> context, const SessionOptions& options, int32_t pages)
      : context_(std::move(context)),
        options_(options),
        pool_(pages),
        sequences_(static_cast<size_t>(options.max_sequences)) {}
  // Tokens done and in all of one Extend.
  struct Progress {
    const std::function<bool(int64_t, int64_t)>& report;
    int64_t done, total;
  };
  // Whether so many tokens, which attend to so many of context, are faster as steps than as a
  // prompt whatever they are, and may be so.
  bool IsFew(uint64_t tokens, uint64_t attended) const;
  absl::Status CheckExtensions(absl::Span<const Extension> extensions) const;
  absl::Status ExtendTogether(absl::Span<const Extension> extensions,
                              absl::Span<const size_t> which, Progress& progress);
  absl::Status Call(absl::Span<const Extension> extensions, absl::Span<const Piece> pieces);
  absl::Status TakePages(Sequence& sequence, int64_t tokens);
  absl::StatusOr<Sequence*> Find(SequenceId id);
  int64_t page_tokens() const { return context_->program().page_tokens(); }

  const std::unique_ptr<Context> context_;
  const SessionOptions options_;
  PagePool pool_;
  std::vector<std::optional<Sequence>> sequences_;  // by id
  std::vector<float> logits_;                       // (extensions, stride)
  std::vector<DispatchProfile>* profile_ = nullptr;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_SESSION_SESSION_H_
