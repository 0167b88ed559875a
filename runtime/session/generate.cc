// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The generation loop.
#include "runtime/session/generate.h"

#include <chrono>
#include <optional>

#include "runtime/base/status.h"
#include "runtime/session/stop_strings.h"

namespace fathom {
namespace {

class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

const char* StopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::end_of_text:
      return "end of text";
    case StopReason::max_tokens:
      return "token limit";
    case StopReason::stop_string:
      return "stop string";
    case StopReason::context_full:
      return "context full";
    case StopReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

absl::StatusOr<Generation> Generate(Session& session, SequenceId id,
                                    absl::Span<const int32_t> prompt,
                                    const text::Tokenizer* tokenizer,
                                    const GenerateOptions& options, const TokenCallback& callback) {
  FATHOM_ASSIGN_OR_RETURN(Sampler sampler, Sampler::Create(options.sampler));
  FATHOM_ASSIGN_OR_RETURN(StopStrings stop, StopStrings::Create(options.stop));
  if (tokenizer == nullptr && !options.stop.empty()) {
    return InputError("stop strings", "the model has no tokenizer");
  }
  if (options.max_tokens < -1) {
    return InputError("predict", "out of range", "at least -1", options.max_tokens);
  }
  std::vector<int32_t> banned;
  if (options.ignore_eos && tokenizer != nullptr) banned = tokenizer->eos_ids();
  std::optional<text::StreamDecoder> decoder;
  if (tokenizer != nullptr) decoder.emplace(*tokenizer);

  Generation result;
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  const Stopwatch prompt_time;
  const Extension prompt_extension{id, prompt};
  FATHOM_ASSIGN_OR_RETURN(Logits logits, session.Extend({&prompt_extension, 1}));
  result.prompt_seconds = prompt_time.Seconds();

  while (true) {
    if (static_cast<int64_t>(result.tokens.size()) == options.max_tokens) {
      result.reason = StopReason::max_tokens;
      break;
    }
    FATHOM_ASSIGN_OR_RETURN(const int32_t token,
                            sampler.Sample(logits.row(0, session.vocab_size()), banned));
    if (tokenizer != nullptr && tokenizer->IsEos(token)) {
      result.reason = StopReason::end_of_text;
      break;
    }
    result.tokens.push_back(token);
    std::string shown;
    if (decoder.has_value()) {
      // A vocabulary padded for speed has ids that spell nothing.
      if (token < tokenizer->vocab_size()) {
        FATHOM_ASSIGN_OR_RETURN(const std::string text, decoder->Add(token));
        shown = stop.Add(text);
      }
      result.text += shown;
    }
    if (callback && !callback(token, shown)) {
      result.reason = StopReason::cancelled;
      break;
    }
    if (stop.found()) {
      result.reason = StopReason::stop_string;
      break;
    }
    FATHOM_ASSIGN_OR_RETURN(const absl::Span<const int32_t> cached, session.Tokens(id));
    if (static_cast<int64_t>(cached.size()) >= session.context_size()) {
      result.reason = StopReason::context_full;
      break;
    }
    if (static_cast<int64_t>(result.tokens.size()) == options.max_tokens) continue;
    const Stopwatch decode_time;
    const Extension extension{id, {&token, 1}};
    FATHOM_ASSIGN_OR_RETURN(logits, session.Extend({&extension, 1}));
    result.decode_seconds += decode_time.Seconds();
    ++result.decoded_tokens;
  }
  if (decoder.has_value() && !stop.found()) {
    std::string rest = stop.Add(decoder->Finish());
    if (!stop.found()) rest += stop.Finish();
    result.text += rest;
    if (callback && !rest.empty() && result.reason != StopReason::cancelled) callback(-1, rest);
  }
  return result;
}

}  // namespace fathom
