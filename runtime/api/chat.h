// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A conversation as the tokens a model expects.
#ifndef FATHOM_RUNTIME_API_CHAT_H_
#define FATHOM_RUNTIME_API_CHAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/api/model.h"

namespace fathom {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// Renders `messages` with the model's template and encodes the result; control tokens come from the
// template only. InvalidArgument: no tokenizer, no template, or messages that the template refuses.
absl::StatusOr<std::vector<int32_t>> TokenizeChat(const Model& model,
                                                  absl::Span<const ChatMessage> messages,
                                                  bool add_generation_prompt);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_API_CHAT_H_
