// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The typed key/value pairs of a checkpoint file, decoded on demand from the mapped bytes.
#ifndef FATHOM_FRONTEND_WEIGHTS_METADATA_H_
#define FATHOM_FRONTEND_WEIGHTS_METADATA_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fathom {

// The codes are those of the GGUF format.
enum class MetadataType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
const char* MetadataTypeName(MetadataType type);
// Bytes of one value; 0 for strings and arrays.
uint32_t MetadataTypeBytes(MetadataType type);

// A value as it lies in the file, little-endian. For a string `bytes` is its text. For an array
// `bytes` is the run of its elements (each string led by its 64-bit length) and `element` their
// type; arrays do not nest.
struct MetadataValue {
  MetadataType type = MetadataType::kString;
  MetadataType element = MetadataType::kString;
  uint64_t count = 1;
  std::string_view bytes;
};

// GGUF: every key. safetensors: the strings of `__metadata__`. The views handed out point into
// the checkpoint's mapped file and live as long as the checkpoint.
//
// The typed getters convert between widths (any integer type serves for Uint and Int, integers for
// Float) and return an InputError naming file, key, expected and found type when the value is of
// another kind or does not fit, and a NotFound error of the same wording when the key is missing.
class CheckpointMetadata {
 public:
  // `where` opens the messages: the file's path.
  explicit CheckpointMetadata(std::string where = "") : where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  const MetadataValue* Find(std::string_view key) const;
  // All of them, by key.
  const std::map<std::string, MetadataValue, std::less<>>& values() const { return values_; }

  absl::StatusOr<uint64_t> Uint(std::string_view key) const;
  absl::StatusOr<int64_t> Int(std::string_view key) const;
  absl::StatusOr<double> Float(std::string_view key) const;
  absl::StatusOr<bool> Bool(std::string_view key) const;
  absl::StatusOr<std::string_view> String(std::string_view key) const;
  absl::StatusOr<std::vector<std::string_view>> Strings(std::string_view key) const;
  absl::StatusOr<std::vector<int64_t>> Ints(std::string_view key) const;
  absl::StatusOr<std::vector<float>> Floats(std::string_view key) const;

  // For the readers. False when the key is already there.
  bool Add(std::string_view key, const MetadataValue& value);
  bool AddOwnedString(std::string_view key, std::string text);

 private:
  absl::StatusOr<const MetadataValue*> Get(std::string_view key, const char* expected) const;
  absl::Status WrongType(std::string_view key, const char* expected,
                         const MetadataValue& value) const;

  std::string where_;
  std::map<std::string, MetadataValue, std::less<>> values_;
  // Shared, so that a copy's views stay good.
  std::vector<std::shared_ptr<const std::string>> owned_;
};

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_METADATA_H_
