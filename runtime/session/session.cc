// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Packing the new tokens of sequences into calls of the program.
#include "runtime/session/session.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// P is rounded up to this many pages, so that a growing context seldom needs a new command list.
constexpr int64_t kPageStep = 16;

// Tokens of context that `more` tokens behind `have` others attend to in all: each also to itself.
uint64_t Attended(uint64_t have, uint64_t more) { return more * have + more * (more + 1) / 2; }

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Create(std::shared_ptr<const Program> program,
                                                         const SessionOptions& requested) {
  SessionOptions options = requested;
  const int64_t limit =
      static_cast<int64_t>(program->artifact().header().model()->context_length());
  if (options.context_size == 0) {
    // The model's, or as much of it as the device's largest buffer holds for every sequence.
    const int64_t pages = program->max_cache_pages() / std::max(options.max_sequences, 1);
    options.context_size = std::clamp<int64_t>(pages * program->page_tokens(), 1, limit);
  }
  // Rope tables end where the model's context ends.
  if (options.context_size < 1 || options.context_size > limit) {
    return InputError("ctx-size", "out of range", absl::StrCat("1 to the model's ", limit),
                      options.context_size);
  }
  FATHOM_RETURN_IF_ERROR(CheckCalls(options.max_sequences, options.chunk));
  const uint64_t pages =
      CeilDiv(static_cast<uint64_t>(options.context_size), program->page_tokens()) *
      static_cast<uint64_t>(options.max_sequences);
  if (pages > INT32_MAX) {
    return InputError("ctx-size", "too many cache pages", "at most 2^31 - 1", pages);
  }
  FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<Context> context,
                          Context::Create(std::move(program), static_cast<uint32_t>(pages)));
  return std::unique_ptr<Session>(
      new Session(std::move(context), options, static_cast<int32_t>(pages)));
}

absl::StatusOr<SequenceId> Session::AddSequence() {
  for (size_t id = 0; id < sequences_.size(); ++id) {
    if (sequences_[id].has_value()) continue;
    sequences_[id].emplace();
    return static_cast<SequenceId>(id);
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("sequences: expected at most ", sequences_.size(), " at the same time"));
}

absl::StatusOr<Session::Sequence*> Session::Find(SequenceId id) {
  if (id < 0 || static_cast<size_t>(id) >= sequences_.size() || !sequences_[id].has_value()) {
    return absl::NotFoundError(absl::StrCat("there is no sequence ", id));
  }
  return &*sequences_[id];
}

absl::Status Session::RemoveSequence(SequenceId id) {
  FATHOM_RETURN_IF_ERROR(Truncate(id, 0));
  sequences_[id].reset();
  return absl::OkStatus();
}

absl::StatusOr<absl::Span<const int32_t>> Session::Tokens(SequenceId id) const {
  FATHOM_ASSIGN_OR_RETURN(const Sequence* sequence, const_cast<Session*>(this)->Find(id));
  return absl::Span<const int32_t>(sequence->tokens);
}

absl::Status Session::Truncate(SequenceId id, int64_t length) {
  FATHOM_ASSIGN_OR_RETURN(Sequence * sequence, Find(id));
  const int64_t have = static_cast<int64_t>(sequence->tokens.size());
  if (length < 0 || length > have) {
    return InputError("length", "out of range", absl::StrCat("0 to ", have), length);
  }
  sequence->tokens.resize(static_cast<size_t>(length));
  const size_t keep = CeilDiv(static_cast<uint64_t>(length), static_cast<uint64_t>(page_tokens()));
  for (size_t i = keep; i < sequence->pages.size(); ++i) pool_.Return(sequence->pages[i]);
  sequence->pages.resize(std::min(keep, sequence->pages.size()));
  return absl::OkStatus();
}

absl::Status Session::CheckExtensions(absl::Span<const Extension> extensions) const {
  if (extensions.empty()) return InputError("sequences", "nothing to extend");
  std::vector<bool> seen(sequences_.size());
  for (const Extension& extension : extensions) {
    FATHOM_ASSIGN_OR_RETURN(const absl::Span<const int32_t> tokens, Tokens(extension.sequence));
    if (seen[extension.sequence]) {
      return InputError("sequences",
                        absl::StrCat("sequence ", extension.sequence, " is named twice"));
    }
    seen[extension.sequence] = true;
    if (extension.tokens.empty()) {
      return InputError("tokens",
                        absl::StrCat("nothing to append to sequence ", extension.sequence));
    }
    for (size_t i = 0; i < extension.tokens.size(); ++i) {
      const int32_t token = extension.tokens[i];
      if (token < 0 || static_cast<uint32_t>(token) >= vocab_size()) {
        return InputError(absl::StrCat("tokens[", i, "]"), "outside the vocabulary",
                          absl::StrCat("0 to ", vocab_size() - 1), token);
      }
    }
    const int64_t have = static_cast<int64_t>(tokens.size());
    const int64_t more = static_cast<int64_t>(extension.tokens.size());
    if (more > options_.context_size - have) {
      return absl::OutOfRangeError(
          absl::StrCat("the context is full: expected at most ", options_.context_size,
                       " tokens, found ", have, " and ", more,
                       " more; a larger --ctx-size holds more, up to what the model was made for"));
    }
  }
  return absl::OkStatus();
}

bool Session::IsFew(uint64_t tokens, uint64_t attended) const {
  const schema::EntryPoint* steps = context_->program().FindEntry("decode");
  return !options_.deterministic && steps != nullptr && tokens <= steps->few_tokens() &&
         attended <= steps->few_context();
}

absl::StatusOr<Logits> Session::Extend(absl::Span<const Extension> extensions,
                                       const std::function<bool(int64_t, int64_t)>& progress) {
  FATHOM_RETURN_IF_ERROR(CheckExtensions(extensions));
  const int64_t stride = context_->program().logits_stride();
  logits_.resize(extensions.size() * static_cast<size_t>(stride));
  Progress state{progress, 0, 0};
  uint64_t attended = 0;
  for (const Extension& extension : extensions) {
    FATHOM_ASSIGN_OR_RETURN(const Sequence* s, Find(extension.sequence));
    attended += Attended(s->tokens.size(), extension.tokens.size());
    state.total += static_cast<int64_t>(extension.tokens.size());
  }
  // Steps and prompts each have passes of their own: in the kernels of prompts a step costs more
  // than the weights read once more (docs/design/014), and its bytes would depend on its company.
  const bool together = IsFew(static_cast<uint64_t>(state.total), attended);
  std::vector<size_t> steps, rest;
  for (size_t i = 0; i < extensions.size(); ++i)
    (extensions[i].tokens.size() == 1 && !together ? steps : rest).push_back(i);
  for (const auto* which : {&steps, &rest})
    FATHOM_RETURN_IF_ERROR(ExtendTogether(extensions, *which, state));
  return Logits{logits_.data(), static_cast<int64_t>(extensions.size()), stride};
}

absl::Status Session::ExtendTogether(absl::Span<const Extension> extensions,
                                     absl::Span<const size_t> which, Progress& progress) {
  std::vector<Piece> pieces;
  size_t next = 0;    // of `which`
  size_t offset = 0;  // tokens of it that are in a piece already
  while (next < which.size()) {
    pieces.clear();
    size_t room = static_cast<size_t>(options_.chunk);
    while (next < which.size() && room > 0) {
      const absl::Span<const int32_t> rest = extensions[which[next]].tokens.subspan(offset);
      const size_t count = std::min(rest.size(), room);
      pieces.push_back({which[next], rest.first(count), count == rest.size()});
      room -= count;
      offset += count;
      if (count == rest.size()) {
        ++next;
        offset = 0;
      }
    }
    FATHOM_RETURN_IF_ERROR(Call(extensions, pieces));
    for (const Piece& piece : pieces) progress.done += static_cast<int64_t>(piece.tokens.size());
    if (progress.report && !progress.report(progress.done, progress.total))
      return absl::CancelledError("the prompt was cancelled");
  }
  return absl::OkStatus();
}

absl::Status Session::TakePages(Sequence& sequence, int64_t tokens) {
  const size_t pages = CeilDiv(static_cast<uint64_t>(tokens), static_cast<uint64_t>(page_tokens()));
  while (sequence.pages.size() < pages) {
    FATHOM_ASSIGN_OR_RETURN(const int32_t page, pool_.Take());
    sequence.pages.push_back(page);
  }
  return absl::OkStatus();
}

absl::Status Session::Call(absl::Span<const Extension> extensions, absl::Span<const Piece> pieces) {
  std::vector<int32_t> tokens, positions, sequence, context_length, logit_rows;
  size_t columns = 0;
  bool one_token_each = true;
  uint64_t attended = 0;
  for (const Piece& piece : pieces) {
    const Extension& extension = extensions[piece.extension];
    FATHOM_ASSIGN_OR_RETURN(Sequence * s, Find(extension.sequence));
    const int64_t length = static_cast<int64_t>(s->tokens.size() + piece.tokens.size());
    FATHOM_RETURN_IF_ERROR(TakePages(*s, length));
    for (size_t i = 0; i < piece.tokens.size(); ++i) {
      tokens.push_back(piece.tokens[i]);
      positions.push_back(static_cast<int32_t>(s->tokens.size() + i));
      sequence.push_back(static_cast<int32_t>(context_length.size()));
    }
    attended += Attended(s->tokens.size(), piece.tokens.size());
    context_length.push_back(static_cast<int32_t>(length));
    if (piece.last) logit_rows.push_back(static_cast<int32_t>(tokens.size()) - 1);
    columns = std::max(columns, s->pages.size());
    // The last token of a prompt that its chunks leave over could go either way.
    const size_t count = options_.deterministic ? extension.tokens.size() : piece.tokens.size();
    one_token_each = one_token_each && count == 1;
  }
  // A call gives at least one row; of a chunk in the middle of a prompt nobody reads it.
  if (logit_rows.empty()) logit_rows.push_back(static_cast<int32_t>(tokens.size()) - 1);
  const uint64_t most =
      CeilDiv(static_cast<uint64_t>(options_.context_size), static_cast<uint64_t>(page_tokens()));
  columns = std::min(RoundUp(columns, kPageStep), most);
  std::vector<int32_t> page_table(pieces.size() * columns, 0);
  for (size_t b = 0; b < pieces.size(); ++b) {
    const Sequence& s = *sequences_[extensions[pieces[b].extension].sequence];
    std::copy(s.pages.begin(), s.pages.end(),
              page_table.begin() + static_cast<ptrdiff_t>(b * columns));
  }

  const bool decode = context_->program().FindEntry("decode") != nullptr &&
                      (one_token_each || IsFew(tokens.size(), attended));
  std::vector<DispatchProfile> profile;
  const absl::StatusOr<Logits> run =
      context_->Run(decode ? "decode" : "prefill",
                    {tokens, positions, sequence, page_table, context_length, logit_rows},
                    profile_ != nullptr ? &profile : nullptr);
  if (absl::IsResourceExhausted(run.status())) {
    return absl::ResourceExhaustedError(
        absl::StrCat(run.status().message(),
                     "; a smaller --chunk or a shorter context needs less (fathom plan)"));
  }
  FATHOM_ASSIGN_OR_RETURN(const Logits logits, run);
  if (profile_ != nullptr) profile_->insert(profile_->end(), profile.begin(), profile.end());
  int64_t row = 0;
  for (const Piece& piece : pieces) {
    Sequence& s = *sequences_[extensions[piece.extension].sequence];
    s.tokens.insert(s.tokens.end(), piece.tokens.begin(), piece.tokens.end());
    if (!piece.last) continue;
    std::memcpy(logits_.data() + piece.extension * static_cast<size_t>(logits.stride),
                logits.data + row * logits.stride,
                static_cast<size_t>(logits.stride) * sizeof(float));
    ++row;
  }
  return absl::OkStatus();
}

}  // namespace fathom
