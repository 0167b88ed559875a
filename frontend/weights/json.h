// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JSON for files that nobody vouches for: bounded, strict, and with errors instead of exceptions.
#ifndef FATHOM_FRONTEND_WEIGHTS_JSON_H_
#define FATHOM_FRONTEND_WEIGHTS_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"

namespace fathom {

struct JsonLimits {
  uint64_t max_bytes = uint64_t{100} << 20;
  uint32_t max_depth = 64;        // nested arrays and objects
  uint64_t max_values = 4 << 20;  // values of any kind, keys not counted
};

// Parses one JSON document that fills `text`. Beyond what JSON itself asks for, these are errors:
// a key that appears twice in one object, nesting or counts beyond `limits`, a number outside the
// range of a double, strings that are not UTF-8. `where` opens every message, as in
// "model.safetensors: header".
absl::StatusOr<nlohmann::json> ParseStrictJson(std::string_view text, std::string_view where,
                                               const JsonLimits& limits = {});

// The same for a regular file.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path, const JsonLimits& limits = {});

// `text` in double quotes for an error message: escaped, and cut when it is long.
std::string Quoted(std::string_view text);

// "true", "12", "\"text\"", "an array": a JSON value for an error message.
std::string DescribeJson(const nlohmann::json& value);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_JSON_H_
