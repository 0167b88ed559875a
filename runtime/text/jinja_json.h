// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Values from JSON and back to it.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_JSON_H_
#define FATHOM_RUNTIME_TEXT_JINJA_JSON_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/text/jinja_context.h"

namespace fathom::text::jinja {

// Every string of `json`, keys included, is marked as content. InvalidArgument: nested more than
// 100 deep, a string that is not UTF-8.
absl::StatusOr<Value> FromJson(const nlohmann::ordered_json& json, int depth = 0);

struct JsonStyle {
  int indent = -1;  // -1: on one line
  bool ascii = false;
  bool sort_keys = false;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// Python's json.dumps. What the values brought in keeps its origin; brackets, commas and the like
// are the template's. InvalidArgument: a value that is no JSON.
absl::Status AppendJson(Context& context, const Value& value, const JsonStyle& style, int level,
                        MarkedText* out);

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_JSON_H_
