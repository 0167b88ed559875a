// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Builds the JSON tree from parser events, so that every limit is met before memory is used.
#include "frontend/weights/json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "frontend/weights/mapped_file.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

using Json = nlohmann::json;

// Receives the parser's events. Each returns false to stop; status() then tells why.
class TreeBuilder {
 public:
  TreeBuilder(std::string_view where, const JsonLimits& limits) : where_(where), limits_(limits) {}

  absl::Status status() const { return status_; }
  Json Take() { return std::move(root_); }

  bool null() { return Add(Json(nullptr)) != nullptr; }
  bool boolean(bool value) { return Add(Json(value)) != nullptr; }
  bool number_integer(Json::number_integer_t value) { return Add(Json(value)) != nullptr; }
  bool number_unsigned(Json::number_unsigned_t value) { return Add(Json(value)) != nullptr; }
  bool number_float(Json::number_float_t value, const Json::string_t&) {
    return Add(Json(value)) != nullptr;
  }
  bool string(Json::string_t& value) { return Add(Json(std::move(value))) != nullptr; }
  bool binary(Json::binary_t&) { return Fail("binary values are not JSON"); }

  bool start_object(size_t) { return Open(Json::object()); }
  bool end_object() { return Close(); }
  bool start_array(size_t) { return Open(Json::array()); }
  bool end_array() { return Close(); }

  bool key(Json::string_t& name) {
    if (stack_.back()->contains(name)) {
      return Fail(absl::StrCat("key ", Quoted(name), ": expected once in its object, found twice"));
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const Json::exception& error) {
    // The library's text reads "[json.exception.parse_error.101] parse error at line ..: why".
    std::string_view why = error.what();
    if (const size_t bracket = why.find("] "); bracket != why.npos) why.remove_prefix(bracket + 2);
    return Fail(absl::StrCat("expected JSON, found an error at byte ", position, ": ",
                             absl::CHexEscape(std::string(why.substr(0, 200)))));
  }

 private:
  bool Fail(const std::string& what) {
    if (status_.ok()) status_ = InputError(where_, what);
    return false;
  }

  // Puts `value` where the current container expects one; null after a failure.
  Json* Add(Json value) {
    if (++values_ > limits_.max_values) {
      Fail(absl::StrCat("number of JSON values: expected at most ", limits_.max_values,
                        ", found more"));
      return nullptr;
    }
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json* container = stack_.back();
    if (container->is_array()) {
      container->push_back(std::move(value));
      return &container->back();
    }
    Json& slot = (*container)[key_];
    slot = std::move(value);
    return &slot;
  }

  bool Open(Json container) {
    if (stack_.size() >= limits_.max_depth) {
      return Fail(absl::StrCat("nesting of JSON values: expected at most ", limits_.max_depth,
                               " levels, found more"));
    }
    // The pointer stays good: a container grows only while it is the innermost open one.
    Json* added = Add(std::move(container));
    if (added == nullptr) return false;
    stack_.push_back(added);
    return true;
  }

  bool Close() {
    stack_.pop_back();
    return true;
  }

  std::string where_;
  JsonLimits limits_;
  absl::Status status_;
  Json root_;
  std::vector<Json*> stack_;
  std::string key_;
  uint64_t values_ = 0;
};

}  // namespace

absl::StatusOr<Json> ParseStrictJson(std::string_view text, std::string_view where,
                                     const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return InputError(where, "size", absl::StrCat("at most ", limits.max_bytes, " bytes"),
                      absl::StrCat(text.size(), " bytes"));
  }
  TreeBuilder builder(where, limits);
  const bool done = Json::sax_parse(text.begin(), text.end(), &builder);
  FATHOM_RETURN_IF_ERROR(builder.status());
  if (!done) return InputError(where, "is not JSON");
  return builder.Take();
}

absl::StatusOr<Json> ReadJsonFile(const std::string& path, const JsonLimits& limits) {
  FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  if (file->size() > limits.max_bytes) {
    return InputError(path, "file size", absl::StrCat("at most ", limits.max_bytes, " bytes"),
                      absl::StrCat(file->size(), " bytes"));
  }
  // A copy, so that a file cut while it is parsed cannot end the process.
  const std::string text(reinterpret_cast<const char*>(file->bytes().data()), file->size());
  return ParseStrictJson(text, path, limits);
}

std::string Quoted(std::string_view text) {
  constexpr size_t kLongest = 80;
  const std::string start = absl::CHexEscape(std::string(text.substr(0, kLongest)));
  if (text.size() <= kLongest) return absl::StrCat("\"", start, "\"");
  return absl::StrCat("\"", start, "...\" (", text.size(), " bytes)");
}

std::string DescribeJson(const Json& value) {
  switch (value.type()) {
    case Json::value_t::string:
      return Quoted(value.get_ref<const std::string&>());
    case Json::value_t::array:
      return "an array";
    case Json::value_t::object:
      return "an object";
    default:
      return value.dump();
  }
}

}  // namespace fathom
