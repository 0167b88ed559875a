// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// ChatTemplate over the parser and evaluator, and the cutting of its result by origin.
#include "runtime/text/chat_template.h"

#include <utility>

#include "runtime/base/status.h"
#include "runtime/text/jinja_eval.h"
#include "runtime/text/jinja_json.h"
#include "runtime/text/jinja_parser.h"
#include "runtime/text/strings.h"
#include "runtime/text/tokenizer.h"

namespace fathom::text {
namespace {

using jinja::MarkedText;

constexpr size_t kMaxSourceBytes = 1 << 20;

std::vector<TextSegment> CutByOrigin(const MarkedText& text) {
  std::vector<TextSegment> segments;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && text.origin(end) == text.origin(at)) ++end;
    segments.push_back(
        {text.bytes().substr(at, end - at), text.origin(at) == MarkedText::kControl});
    at = end;
  }
  return segments;
}

}  // namespace

struct ChatTemplate::State {
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return InputError("chat template", "too long", Cat("at most ", kMaxSourceBytes, " bytes"),
                      source.size());
  }
  auto state = std::make_unique<State>();
  FATHOM_ASSIGN_OR_RETURN(state->block, jinja::Parse(source));
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(state)));
}

absl::StatusOr<std::vector<TextSegment>> ChatTemplate::Render(const ChatInput& input) const {
  jinja::Scope globals;
  FATHOM_ASSIGN_OR_RETURN(globals["messages"], jinja::FromJson(input.messages));
  FATHOM_ASSIGN_OR_RETURN(globals["tools"], jinja::FromJson(input.tools));
  globals["documents"] = jinja::Value();
  globals["add_generation_prompt"] = jinja::Value::Bool(input.add_generation_prompt);
  if (!input.variables.is_object()) {
    return InputError("chat template: variables", "wrong type", "an object",
                      input.variables.type_name());
  }
  for (const auto& [name, value] : input.variables.items()) {
    FATHOM_ASSIGN_OR_RETURN(globals[name], jinja::FromJson(value));
  }
  for (const auto& [name, text] : input.special_tokens) globals[name] = jinja::Value::Control(text);
  jinja::Context context;
  context.now = input.now.value_or(std::time(nullptr));
  FATHOM_ASSIGN_OR_RETURN(const MarkedText text,
                          jinja::Evaluate(state_->block, std::move(globals), &context));
  return CutByOrigin(text);
}

std::map<std::string, std::string> SpecialTokens(const Tokenizer& tokenizer) {
  std::map<std::string, std::string> tokens;
  const auto add = [&](const char* name, std::optional<int32_t> id) {
    if (!id) return;
    if (const auto token = tokenizer.IdToToken(*id)) tokens[name] = std::string(*token);
  };
  add("bos_token", tokenizer.bos_id());
  add("pad_token", tokenizer.pad_id());
  add("unk_token", tokenizer.unknown_id());
  if (!tokenizer.eos_ids().empty()) add("eos_token", tokenizer.eos_ids()[0]);
  return tokens;
}

}  // namespace fathom::text
