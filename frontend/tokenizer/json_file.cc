// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files and JSON values of a tokenizer.
#include "frontend/tokenizer/json_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

#include "runtime/base/status.h"

namespace fathom::tokenizer {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{512} << 20;
constexpr int kMaxDepth = 200;
constexpr uint64_t kMaxId = 1u << 22;

const Json& Null() {
  static const Json null;
  return null;
}

// Notes the first key that an object has twice, and nesting that no tokenizer file has.
class KeyChecker {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxDepth) too_deep_ = true;
    switch (event) {
      case Json::parse_event_t::object_start:
        keys_.emplace_back();
        break;
      case Json::parse_event_t::object_end:
        if (!keys_.empty()) keys_.pop_back();
        break;
      case Json::parse_event_t::key: {
        const auto& key = value.get_ref<const std::string&>();
        if (!keys_.empty() && !keys_.back().insert(key).second && !duplicate_) duplicate_ = key;
        break;
      }
      default:
        break;
    }
    return true;
  }
  std::optional<std::string> duplicate_;
  bool too_deep_ = false;

 private:
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

absl::StatusOr<std::optional<std::string>> ReadTextFile(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) return std::optional<std::string>();
  if (status.type() != std::filesystem::file_type::regular) {
    return InputError(path, "not a regular file");
  }
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return InputError(path, "cannot be read: " + error.message());
  if (size > kMaxFileBytes) {
    return InputError(path, "too large", std::to_string(kMaxFileBytes) + " bytes at most",
                      std::to_string(size));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(static_cast<size_t>(size), '\0');
  if (!file || !file.read(text.data(), static_cast<std::streamsize>(size))) {
    return InputError(path, "cannot be read");
  }
  return std::optional<std::string>(std::move(text));
}

absl::StatusOr<Json> ParseJson(const std::string& text, const std::string& path) {
  KeyChecker checker;
  try {
    Json json = Json::parse(text, [&](int depth, Json::parse_event_t event, Json& value) {
      return checker(depth, event, value);
    });
    if (checker.duplicate_) return InputError(path, "key given twice: " + *checker.duplicate_);
    if (checker.too_deep_) {
      return InputError(path, "nested too deeply", "at most " + std::to_string(kMaxDepth), "more");
    }
    return json;
  } catch (const std::exception& e) {
    return InputError(path, std::string("not valid JSON: ") + e.what());
  }
}

Node Node::operator[](std::string_view key) const {
  const std::string name(key);
  std::string where = where_ + (where_.ends_with(".json") ? ": " : ".") + name;
  if (!value_.is_object()) return Node(Null(), std::move(where));
  const auto it = value_.find(name);
  return Node(it == value_.end() ? Null() : *it, std::move(where));
}

Node Node::At(size_t index) const {
  return Node(value_[index], where_ + "[" + std::to_string(index) + "]");
}

absl::Status Node::TypeError(std::string_view expected) const {
  std::string found =
      value_.is_null() ? "nothing" : value_.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (found.size() > 80) found = found.substr(0, 80) + "...";
  return InputError(where_, "wrong value", std::string(expected), found);
}

absl::StatusOr<std::string> Node::String(std::string_view fallback) const {
  if (value_.is_null()) return std::string(fallback);
  return RequiredString();
}

absl::StatusOr<std::string> Node::RequiredString() const {
  if (!value_.is_string()) return TypeError("a string");
  return value_.get<std::string>();
}

absl::StatusOr<bool> Node::Bool(bool fallback) const {
  if (value_.is_null()) return fallback;
  if (!value_.is_boolean()) return TypeError("true or false");
  return value_.get<bool>();
}

absl::StatusOr<uint32_t> Node::RequiredId() const {
  if (!value_.is_number_unsigned() || value_.get<uint64_t>() >= kMaxId) {
    return TypeError("a token id from 0 to " + std::to_string(kMaxId - 1));
  }
  return static_cast<uint32_t>(value_.get<uint64_t>());
}

absl::Status Node::ExpectArray() const {
  return value_.is_array() ? absl::OkStatus() : TypeError("an array");
}
absl::Status Node::ExpectObject() const {
  return value_.is_object() ? absl::OkStatus() : TypeError("an object");
}

}  // namespace fathom::tokenizer
