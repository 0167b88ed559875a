// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A checkpoint's chat template: from messages to the text the model was trained on.
#ifndef FATHOM_RUNTIME_TEXT_CHAT_TEMPLATE_H_
#define FATHOM_RUNTIME_TEXT_CHAT_TEMPLATE_H_

#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/text/segment.h"

namespace fathom::text {

class Tokenizer;

// What a template is rendered with. All of it but `special_tokens` counts as written by a user.
struct ChatInput {
  // A list of {"role": ..., "content": ..., ...}; members keep their order.
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  // Ends with the opening of the assistant's turn.
  bool add_generation_prompt = true;
  // Definitions of tools, or null.
  nlohmann::ordered_json tools = nullptr;
  // Further variables, as an object: {"enable_thinking": false}.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  // bos_token, eos_token and the like: the template author's text. See SpecialTokens.
  std::map<std::string, std::string> special_tokens;
  // The time for strftime_now; now when absent.
  std::optional<std::time_t> now;
};

// Templates are written in a subset of Jinja 2 as the `transformers` library renders it
// (trim_blocks, lstrip_blocks): for, if, set, macro, filter, with, raw, generation, break,
// continue; every operator, inline if, slices; namespace, range, dict, raise_exception,
// strftime_now; the filters, tests and methods that published templates use. Anything else is
// Unimplemented and named with its line; a filter or test that does not exist when the template is
// parsed, a method when it is called.
//
// A template is somebody else's program: it runs with bounded steps, work, output and nesting
// (ResourceExhausted), sees no attribute that is not data, and changes nothing outside its
// namespaces.
class ChatTemplate {
 public:
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Parse(std::string_view source);
  ~ChatTemplate();

  // The text as stretches of alternating origin, none empty: what the template says is `control`,
  // what came from the input is not, however the template cut, joined or escaped it. For
  // Tokenizer::EncodeSegments. InvalidArgument: the template refuses the messages (raise_exception)
  // or fails on them. Const, and safe from several threads.
  absl::StatusOr<std::vector<TextSegment>> Render(const ChatInput& input) const;

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The variables bos_token, eos_token, pad_token and unk_token of `tokenizer`, each where there is
// one.
std::map<std::string, std::string> SpecialTokens(const Tokenizer& tokenizer);

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_CHAT_TEMPLATE_H_
