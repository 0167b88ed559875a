// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom run: continue a text. Built on the C interface, as any other program would be.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "runtime/base/status.h"
#include "runtime/session/generate.h"
#include "runtime/tools/api_handles.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {
namespace {

constexpr size_t kMaxPromptBytes = size_t{64} << 20;

absl::StatusOr<std::string> ReadPrompt(const GenerateFlags& flags) {
  if (flags.prompt.has_value()) return *flags.prompt;
  std::ifstream file;
  if (!flags.file.empty()) {
    file.open(flags.file, std::ios::binary);
    if (!file) return InputError(flags.file, "cannot open");
  } else if (::isatty(STDIN_FILENO) == 1) {
    return InputError("prompt", "give one with -p, -f or on standard input");
  }
  std::istream& in = flags.file.empty() ? std::cin : file;
  std::string text;
  char block[65536];
  while (in.read(block, sizeof(block)), in.gcount() > 0) {
    text.append(block, static_cast<size_t>(in.gcount()));
    if (text.size() > kMaxPromptBytes) {
      return InputError("prompt", "length", absl::StrCat("at most ", kMaxPromptBytes, " bytes"),
                        "more");
    }
  }
  // The end of the file's last line is no part of a text that goes on.
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

absl::Status RunGenerate(const GenerateFlags& flags) {
  FATHOM_ASSIGN_OR_RETURN(const std::string prompt, ReadPrompt(flags));
  FATHOM_ASSIGN_OR_RETURN(const ModelHandle model, OpenModel(flags.model));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, Tokenize(model.get(), prompt));
  if (tokens.empty()) return InputError("prompt", "there is no text to continue");
  FATHOM_ASSIGN_OR_RETURN(const SessionHandle session, OpenSession(model.get(), flags));
  int32_t sequence = 0;
  FATHOM_RETURN_IF_ERROR(FromApi(fathom_sequence_add(session.get(), &sequence)));

  Generator generator(flags);
  Answer answer;
  answer.print = !flags.json;
  fathom_generation result;
  FATHOM_RETURN_IF_ERROR(generator.Run(session.get(), sequence, tokens, &answer, &result));
  if (flags.json) {
    nlohmann::ordered_json json = {
        {"text", answer.text},
        {"tokens", answer.tokens},
        {"stop", StopReasonName(static_cast<StopReason>(result.reason))},
        {"seed", generator.seed()},
        {"prompt_tokens", result.prompt_tokens},
        {"generated_tokens", result.generated_tokens},
        {"prompt_tokens_per_second", PerSecond(result.prompt_tokens, result.prompt_seconds)},
        {"decode_tokens_per_second", PerSecond(result.decoded_tokens, result.decode_seconds)}};
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::printf("\n");
  }
  std::fflush(stdout);
  if (!flags.model.quiet) {
    std::fprintf(stderr, "%s; %s; seed %llu\n", FormatSpeed(result).c_str(),
                 StopReasonName(static_cast<StopReason>(result.reason)),
                 static_cast<unsigned long long>(generator.seed()));
  }
  return absl::OkStatus();
}

}  // namespace fathom::tools
