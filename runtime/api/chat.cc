// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Template, then tokenizer.
#include "runtime/api/chat.h"

#include "runtime/base/status.h"
#include "runtime/text/chat_template.h"

namespace fathom {

absl::StatusOr<std::vector<int32_t>> TokenizeChat(const Model& model,
                                                  absl::Span<const ChatMessage> messages,
                                                  bool add_generation_prompt) {
  FATHOM_ASSIGN_OR_RETURN(const text::Tokenizer* tokenizer, model.RequireTokenizer());
  const auto source = tokenizer->ChatTemplate();
  if (!source.has_value()) {
    return InputError(model.artifact().path(),
                      "the model has no chat template; `fathom run` continues plain text");
  }
  text::ChatInput input;
  for (const ChatMessage& message : messages) {
    input.messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  input.add_generation_prompt = add_generation_prompt;
  input.special_tokens = text::SpecialTokens(*tokenizer);
  const auto worded = [&](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(model.artifact().path(),
                                                    ": chat template: ", status.message()));
  };
  const auto chat_template = text::ChatTemplate::Parse(*source);
  if (!chat_template.ok()) return worded(chat_template.status());
  const auto segments = (*chat_template)->Render(input);
  if (!segments.ok()) return worded(segments.status());
  return tokenizer->EncodeSegments(*segments);
}

}  // namespace fathom
