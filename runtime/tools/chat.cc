// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom chat: turns on a terminal or through a pipe, built on the C interface.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "runtime/base/status.h"
#include "runtime/session/generate.h"
#include "runtime/tools/api_handles.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {
namespace {

constexpr char kHelp[] =
    "/reset forgets the conversation, /exit or Ctrl-D ends it, Ctrl-C stops an answer\n";

struct Turn {
  std::string role;
  std::string content;
};

class Chat {
 public:
  explicit Chat(const GenerateFlags& flags) : flags_(flags), generator_(flags) {}

  absl::Status Open() {
    FATHOM_ASSIGN_OR_RETURN(model_, OpenModel(flags_.model));
    FATHOM_ASSIGN_OR_RETURN(session_, OpenSession(model_.get(), flags_));
    FATHOM_RETURN_IF_ERROR(FromApi(fathom_sequence_add(session_.get(), &sequence_)));
    Reset();
    return absl::OkStatus();
  }

  absl::Status Run() {
    const bool terminal = ::isatty(STDIN_FILENO) == 1 && !flags_.model.quiet;
    if (terminal) std::fputs(kHelp, stderr);
    for (std::string line; Ask(terminal, &line);) {
      if (line == "/exit") break;
      if (line == "/reset") {
        Reset();
        continue;
      }
      if (line.empty()) continue;
      turns_.push_back({"user", line});
      FATHOM_RETURN_IF_ERROR(AnswerTurn());
    }
    return absl::OkStatus();
  }

 private:
  static bool Ask(bool terminal, std::string* line) {
    if (terminal) std::fputs("> ", stderr);
    return static_cast<bool>(std::getline(std::cin, *line));
  }

  void Reset() {
    turns_.clear();
    if (!flags_.system.empty()) turns_.push_back({"system", flags_.system});
  }

  absl::StatusOr<std::vector<int32_t>> Render() const {
    std::vector<fathom_message> messages;
    for (const Turn& turn : turns_) messages.push_back({turn.role.c_str(), turn.content.c_str()});
    size_t count = 0;
    FATHOM_RETURN_IF_ERROR(FromApi(fathom_apply_chat_template(
        model_.get(), messages.data(), messages.size(), true, nullptr, 0, &count)));
    std::vector<int32_t> tokens(count);
    FATHOM_RETURN_IF_ERROR(FromApi(fathom_apply_chat_template(
        model_.get(), messages.data(), messages.size(), true, tokens.data(), count, &count)));
    return tokens;
  }

  absl::Status AnswerTurn() {
    FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, Render());
    if (tokens.empty()) return InputError(flags_.model.model, "the chat template rendered nothing");
    // Only what differs from what the cache holds is computed: usually the new turn.
    size_t same = 0;
    while (same + 1 < tokens.size() && same < cached_.size() && tokens[same] == cached_[same])
      ++same;
    FATHOM_RETURN_IF_ERROR(
        FromApi(fathom_sequence_truncate(session_.get(), sequence_, static_cast<int64_t>(same))));
    cached_.resize(same);

    ClearInterrupt();
    Answer answer;
    fathom_generation result;
    const absl::Status status = generator_.Run(
        session_.get(), sequence_, {tokens.begin() + static_cast<ptrdiff_t>(same), tokens.end()},
        &answer, &result);
    std::printf("\n");
    std::fflush(stdout);
    FATHOM_RETURN_IF_ERROR(status);
    turns_.push_back({"assistant", answer.text});
    cached_ = tokens;
    cached_.insert(cached_.end(), answer.tokens.begin(), answer.tokens.end());
    int64_t length = 0;
    FATHOM_RETURN_IF_ERROR(FromApi(fathom_sequence_length(session_.get(), sequence_, &length)));
    cached_.resize(static_cast<size_t>(length));  // the last token was sampled, not decoded
    if (flags_.model.verbose) {
      std::fprintf(stderr, "%s; %s\n", FormatSpeed(result).c_str(),
                   StopReasonName(static_cast<StopReason>(result.reason)));
    } else if (result.reason == FATHOM_STOP_CONTEXT_FULL && !flags_.model.quiet) {
      std::fprintf(stderr, "the context is full; /reset starts again\n");
    }
    return absl::OkStatus();
  }

  const GenerateFlags& flags_;
  Generator generator_;
  ModelHandle model_;
  SessionHandle session_;
  int32_t sequence_ = 0;
  std::vector<Turn> turns_;
  std::vector<int32_t> cached_;  // the tokens of the sequence
};

}  // namespace

absl::Status RunChat(const GenerateFlags& flags) {
  Chat chat(flags);
  FATHOM_RETURN_IF_ERROR(chat.Open());
  return chat.Run();
}

}  // namespace fathom::tools
