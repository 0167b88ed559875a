// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a prompt to text: prefill, sample, decode, stop.
#ifndef FATHOM_RUNTIME_SESSION_GENERATE_H_
#define FATHOM_RUNTIME_SESSION_GENERATE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/session/sampler.h"
#include "runtime/session/session.h"
#include "runtime/text/tokenizer.h"

namespace fathom {

struct GenerateOptions {
  SamplerOptions sampler;
  int64_t max_tokens = -1;  // -1: until the model ends its text or the context is full
  bool ignore_eos = false;  // end-of-text tokens are never chosen
  std::vector<std::string> stop;
};

enum class StopReason { end_of_text, max_tokens, stop_string, context_full, cancelled };
const char* StopReasonName(StopReason reason);

struct Generation {
  std::vector<int32_t> tokens;  // sampled, without the end-of-text token
  std::string text;             // without the stop string
  StopReason reason = StopReason::max_tokens;
  int64_t prompt_tokens = 0;  // prefilled here
  double prompt_seconds = 0;
  int64_t decoded_tokens = 0;  // decode calls
  double decode_seconds = 0;
};

// One sampled token and the text that may be shown because of it (often empty, whole UTF-8
// characters, never part of a stop string). The last call has token -1 and the text that was held
// back. False cancels.
using TokenCallback = std::function<bool(int32_t token, std::string_view text)>;

// Appends `prompt` (at least one token) to sequence `id`, then samples. With a null tokenizer there
// is no text, no end of text and no stop string. The last sampled token is not in the cache
// afterwards.
absl::StatusOr<Generation> Generate(Session& session, SequenceId id,
                                    absl::Span<const int32_t> prompt,
                                    const text::Tokenizer* tokenizer,
                                    const GenerateOptions& options,
                                    const TokenCallback& callback = nullptr);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_SESSION_GENERATE_H_
