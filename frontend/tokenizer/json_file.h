// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading a tokenizer's JSON files: parsing with clear errors, and typed access to fields that name
// themselves.
#ifndef FATHOM_FRONTEND_TOKENIZER_JSON_FILE_H_
#define FATHOM_FRONTEND_TOKENIZER_JSON_FILE_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace fathom::tokenizer {

using Json = nlohmann::json;

// The whole file; none when there is no such file. InvalidArgument: not a regular file, unreadable,
// or longer than 512 MiB.
absl::StatusOr<std::optional<std::string>> ReadTextFile(const std::string& path);

// InvalidArgument with the place of the fault: malformed JSON, unpaired surrogates, numbers out of
// range, a key given twice in one object.
absl::StatusOr<Json> ParseJson(const std::string& text, const std::string& path);

// A JSON value with the name it has in errors: "dir/tokenizer.json: model.vocab". The value must
// outlive it.
class Node {
 public:
  Node(const Json& value, std::string where) : value_(value), where_(std::move(where)) {}

  const Json& json() const { return value_; }
  const std::string& where() const { return where_; }
  bool IsNull() const { return value_.is_null(); }
  // The member `key`; a null node when there is none or this is no object.
  Node operator[](std::string_view key) const;
  Node At(size_t index) const;  // of an array, `index` below its size

  // The value, or `fallback` when it is absent or null; InvalidArgument when it has another type.
  absl::StatusOr<std::string> String(std::string_view fallback) const;
  absl::StatusOr<bool> Bool(bool fallback) const;
  // The value; InvalidArgument when it is absent or has another type.
  absl::StatusOr<std::string> RequiredString() const;
  absl::StatusOr<uint32_t> RequiredId() const;  // an integer in [0, 2^22)
  absl::Status ExpectArray() const;
  absl::Status ExpectObject() const;
  absl::Status TypeError(std::string_view expected) const;

 private:
  const Json& value_;
  std::string where_;
};

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_JSON_FILE_H_
