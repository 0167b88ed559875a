// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Decodes metadata values out of little-endian bytes whose extent the readers have checked.
#include "frontend/weights/metadata.h"

#include <cstring>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "frontend/weights/json.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

// An integer of any width, widened; nullopt for other types.
struct WideInt {
  bool negative = false;
  uint64_t bits = 0;  // two's complement when negative
};
std::optional<WideInt> LoadInt(MetadataType type, const char* bytes) {
  const auto from_signed = [](int64_t v) { return WideInt{v < 0, static_cast<uint64_t>(v)}; };
  switch (type) {
    case MetadataType::kU8:
      return WideInt{false, Load<uint8_t>(bytes)};
    case MetadataType::kU16:
      return WideInt{false, Load<uint16_t>(bytes)};
    case MetadataType::kU32:
      return WideInt{false, Load<uint32_t>(bytes)};
    case MetadataType::kU64:
      return WideInt{false, Load<uint64_t>(bytes)};
    case MetadataType::kI8:
      return from_signed(Load<int8_t>(bytes));
    case MetadataType::kI16:
      return from_signed(Load<int16_t>(bytes));
    case MetadataType::kI32:
      return from_signed(Load<int32_t>(bytes));
    case MetadataType::kI64:
      return from_signed(Load<int64_t>(bytes));
    default:
      return std::nullopt;
  }
}

std::optional<double> LoadNumber(MetadataType type, const char* bytes) {
  if (type == MetadataType::kF32) return Load<float>(bytes);
  if (type == MetadataType::kF64) return Load<double>(bytes);
  const std::optional<WideInt> wide = LoadInt(type, bytes);
  if (!wide) return std::nullopt;
  return wide->negative ? static_cast<double>(static_cast<int64_t>(wide->bits))
                        : static_cast<double>(wide->bits);
}

}  // namespace

const char* MetadataTypeName(MetadataType type) {
  constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                    "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

uint32_t MetadataTypeBytes(MetadataType type) {
  constexpr uint32_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<size_t>(type)];
}

const MetadataValue* CheckpointMetadata::Find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

bool CheckpointMetadata::Add(std::string_view key, const MetadataValue& value) {
  return values_.emplace(key, value).second;
}

bool CheckpointMetadata::AddOwnedString(std::string_view key, std::string text) {
  owned_.push_back(std::make_shared<const std::string>(std::move(text)));
  return Add(key, MetadataValue{.bytes = *owned_.back()});
}

absl::StatusOr<const MetadataValue*> CheckpointMetadata::Get(std::string_view key,
                                                             const char* expected) const {
  const MetadataValue* value = Find(key);
  if (value == nullptr) {
    return absl::NotFoundError(absl::StrCat(where_, ": key ", std::string(key), ": expected ",
                                            expected, ", found no such key"));
  }
  return value;
}

absl::Status CheckpointMetadata::WrongType(std::string_view key, const char* expected,
                                           const MetadataValue& value) const {
  std::string found = MetadataTypeName(value.type);
  if (value.type == MetadataType::kArray) {
    found = absl::StrCat("an array of ", value.count, " ", MetadataTypeName(value.element));
  } else if (value.type == MetadataType::kString) {
    found = absl::StrCat("the string ", Quoted(value.bytes));
  } else if (const auto number = LoadNumber(value.type, value.bytes.data())) {
    absl::StrAppend(&found, " ", *number);
  }
  return InputError(absl::StrCat(where_, ": key ", std::string(key)), "value", expected, found);
}

absl::StatusOr<uint64_t> CheckpointMetadata::Uint(std::string_view key) const {
  constexpr const char* kExpected = "a non-negative integer";
  FATHOM_ASSIGN_OR_RETURN(const MetadataValue* value, Get(key, kExpected));
  const std::optional<WideInt> wide = LoadInt(value->type, value->bytes.data());
  if (!wide || wide->negative) return WrongType(key, kExpected, *value);
  return wide->bits;
}

absl::StatusOr<int64_t> CheckpointMetadata::Int(std::string_view key) const {
  constexpr const char* kExpected = "a signed 64-bit integer";
  FATHOM_ASSIGN_OR_RETURN(const MetadataValue* value, Get(key, kExpected));
  const std::optional<WideInt> wide = LoadInt(value->type, value->bytes.data());
  if (!wide || (!wide->negative && wide->bits > std::numeric_limits<int64_t>::max())) {
    return WrongType(key, kExpected, *value);
  }
  return static_cast<int64_t>(wide->bits);
}

absl::StatusOr<double> CheckpointMetadata::Float(std::string_view key) const {
  FATHOM_ASSIGN_OR_RETURN(const MetadataValue* value, Get(key, "a number"));
  const std::optional<double> number = LoadNumber(value->type, value->bytes.data());
  if (!number) return WrongType(key, "a number", *value);
  return *number;
}

absl::StatusOr<bool> CheckpointMetadata::Bool(std::string_view key) const {
  FATHOM_ASSIGN_OR_RETURN(const MetadataValue* value, Get(key, "a bool"));
  if (value->type != MetadataType::kBool) return WrongType(key, "a bool", *value);
  return value->bytes[0] != 0;
}

absl::StatusOr<std::string_view> CheckpointMetadata::String(std::string_view key) const {
  FATHOM_ASSIGN_OR_RETURN(const MetadataValue* value, Get(key, "a string"));
  if (value->type != MetadataType::kString) return WrongType(key, "a string", *value);
  return value->bytes;
}

absl::StatusOr<std::vector<std::string_view>> CheckpointMetadata::Strings(
    std::string_view key) const {
  FATHOM_ASSIGN_OR_RETURN(const MetadataValue* value, Get(key, "an array of strings"));
  if (value->type != MetadataType::kArray || value->element != MetadataType::kString) {
    return WrongType(key, "an array of strings", *value);
  }
  std::vector<std::string_view> strings;
  strings.reserve(value->count);
  std::string_view rest = value->bytes;
  for (uint64_t i = 0; i < value->count; ++i) {
    const uint64_t length = Load<uint64_t>(rest.data());
    strings.push_back(rest.substr(8, length));
    rest.remove_prefix(8 + length);
  }
  return strings;
}

absl::StatusOr<std::vector<int64_t>> CheckpointMetadata::Ints(std::string_view key) const {
  constexpr const char* kExpected = "an array of integers";
  FATHOM_ASSIGN_OR_RETURN(const MetadataValue* value, Get(key, kExpected));
  if (value->type != MetadataType::kArray) return WrongType(key, kExpected, *value);
  std::vector<int64_t> ints;
  const uint32_t stride = MetadataTypeBytes(value->element);
  for (uint64_t i = 0; i < value->count; ++i) {
    const std::optional<WideInt> wide = LoadInt(value->element, value->bytes.data() + i * stride);
    if (!wide || (!wide->negative && wide->bits > std::numeric_limits<int64_t>::max())) {
      return WrongType(key, kExpected, *value);
    }
    ints.push_back(static_cast<int64_t>(wide->bits));
  }
  return ints;
}

absl::StatusOr<std::vector<float>> CheckpointMetadata::Floats(std::string_view key) const {
  constexpr const char* kExpected = "an array of numbers";
  FATHOM_ASSIGN_OR_RETURN(const MetadataValue* value, Get(key, kExpected));
  if (value->type != MetadataType::kArray) return WrongType(key, kExpected, *value);
  std::vector<float> floats;
  const uint32_t stride = MetadataTypeBytes(value->element);
  for (uint64_t i = 0; i < value->count; ++i) {
    const std::optional<double> number =
        LoadNumber(value->element, value->bytes.data() + i * stride);
    if (!number) return WrongType(key, kExpected, *value);
    floats.push_back(static_cast<float>(*number));
  }
  return floats;
}

}  // namespace fathom
