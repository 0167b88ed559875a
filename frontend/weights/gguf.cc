// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The GGUF container, versions 2 and 3: header, key/values, tensor descriptions, aligned data.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "frontend/weights/json.h"
#include "frontend/weights/mapped_checkpoint.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

constexpr uint64_t kMaxTensors = 1'000'000;
constexpr uint64_t kMaxKeys = 100'000;
constexpr uint64_t kMaxKeyBytes = 65'535;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint32_t kMaxRank = 4;
// The least that one key/value pair and one tensor description occupy: no count can promise more
// of them than the rest of the file has room for.
constexpr uint64_t kLeastKeyBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kLeastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

// Walks the file; every read is checked against what is left.
class Cursor {
 public:
  Cursor(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }
  const std::string& path() const { return path_; }

  template <typename T>
  absl::Status Read(const std::string& field, T* value) {
    FATHOM_ASSIGN_OR_RETURN(const std::string_view raw, ReadBytes(field, sizeof(T)));
    std::memcpy(value, raw.data(), sizeof(T));
    return absl::OkStatus();
  }

  absl::StatusOr<std::string_view> ReadBytes(const std::string& field, uint64_t length) {
    if (length > left()) {
      return InputError(absl::StrCat(path_, ": ", field, " at byte ", position_), "length",
                        absl::StrCat("at most ", left(), " bytes (the rest of the file)"),
                        absl::StrCat(length, " bytes"));
    }
    const std::string_view raw = bytes_.substr(position_, length);
    position_ += length;
    return raw;
  }

  // A string: its 64-bit length, then its bytes.
  absl::StatusOr<std::string_view> ReadString(const std::string& field, uint64_t max_length) {
    uint64_t length;
    FATHOM_RETURN_IF_ERROR(Read(field, &length));
    if (length > max_length) {
      return InputError(absl::StrCat(path_, ": ", field, " at byte ", position_ - 8), "length",
                        absl::StrCat("at most ", max_length, " bytes"),
                        absl::StrCat(length, " bytes"));
    }
    return ReadBytes(field, length);
  }

 private:
  std::string_view bytes_;
  std::string path_;
  uint64_t position_ = 0;
};

absl::Status CheckBools(std::string_view bytes, const std::string& where) {
  for (const char c : bytes) {
    if (c != 0 && c != 1) {
      return InputError(where, "bool", "0 or 1", static_cast<int>(static_cast<uint8_t>(c)));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadType(Cursor* cursor, const std::string& field, MetadataType* type) {
  uint32_t code;
  FATHOM_RETURN_IF_ERROR(cursor->Read(field, &code));
  if (code > static_cast<uint32_t>(MetadataType::kF64)) {
    return InputError(absl::StrCat(cursor->path(), ": ", field), "value type", "a code of 0 to 12",
                      code);
  }
  *type = static_cast<MetadataType>(code);
  return absl::OkStatus();
}

absl::StatusOr<MetadataValue> ReadArray(Cursor* cursor, const std::string& field) {
  const std::string where = absl::StrCat(cursor->path(), ": ", field);
  MetadataValue value;
  value.type = MetadataType::kArray;
  FATHOM_RETURN_IF_ERROR(ReadType(cursor, field, &value.element));
  if (value.element == MetadataType::kArray) {
    return InputError(where, "array elements", "plain values", "nested arrays");
  }
  FATHOM_RETURN_IF_ERROR(cursor->Read(field, &value.count));
  const bool strings = value.element == MetadataType::kString;
  const uint64_t least = strings ? 8 : MetadataTypeBytes(value.element);
  if (value.count > cursor->left() / least) {
    return InputError(
        where, "array length",
        absl::StrCat("at most ", cursor->left() / least, " elements (the rest of the file)"),
        value.count);
  }
  if (!strings) {
    FATHOM_ASSIGN_OR_RETURN(value.bytes, cursor->ReadBytes(field, value.count * least));
    if (value.element == MetadataType::kBool) {
      FATHOM_RETURN_IF_ERROR(CheckBools(value.bytes, where));
    }
    return value;
  }
  Cursor start = *cursor;
  for (uint64_t i = 0; i < value.count; ++i) {
    FATHOM_RETURN_IF_ERROR(cursor->ReadString(field, cursor->left()).status());
  }
  FATHOM_ASSIGN_OR_RETURN(value.bytes,
                          start.ReadBytes(field, cursor->position() - start.position()));
  return value;
}

absl::Status ReadKeyValue(Cursor* cursor, uint64_t number, CheckpointMetadata* metadata) {
  FATHOM_ASSIGN_OR_RETURN(const std::string_view key,
                          cursor->ReadString(absl::StrCat("key ", number), kMaxKeyBytes));
  const std::string field = absl::StrCat("key ", Quoted(key));
  const std::string where = absl::StrCat(cursor->path(), ": ", field);
  if (key.empty() || key.find('\0') != key.npos || !IsUtf8(key)) {
    return InputError(where, "name", "UTF-8 text without NUL", absl::StrCat(key.size(), " bytes"));
  }
  MetadataValue value;
  FATHOM_RETURN_IF_ERROR(ReadType(cursor, field, &value.type));
  if (value.type == MetadataType::kArray) {
    FATHOM_ASSIGN_OR_RETURN(value, ReadArray(cursor, field));
  } else if (value.type == MetadataType::kString) {
    FATHOM_ASSIGN_OR_RETURN(value.bytes, cursor->ReadString(field, cursor->left()));
  } else {
    FATHOM_ASSIGN_OR_RETURN(value.bytes, cursor->ReadBytes(field, MetadataTypeBytes(value.type)));
    if (value.type == MetadataType::kBool) FATHOM_RETURN_IF_ERROR(CheckBools(value.bytes, where));
  }
  if (!metadata->Add(key, value)) return InputError(where, "name", "a key used once", "it twice");
  return absl::OkStatus();
}

// GGUF's tensor type codes. The second list is of types that exist but are not decoded here.
absl::StatusOr<StorageType> TypeFromCode(uint32_t code, const std::string& where) {
  switch (code) {
    case 0:
      return StorageType::kF32;
    case 1:
      return StorageType::kF16;
    case 2:
      return StorageType::kQ4_0;
    case 3:
      return StorageType::kQ4_1;
    case 6:
      return StorageType::kQ5_0;
    case 7:
      return StorageType::kQ5_1;
    case 8:
      return StorageType::kQ8_0;
    case 12:
      return StorageType::kQ4_K;
    case 13:
      return StorageType::kQ5_K;
    case 14:
      return StorageType::kQ6_K;
    case 24:
      return StorageType::kI8;
    case 25:
      return StorageType::kI16;
    case 26:
      return StorageType::kI32;
    case 27:
      return StorageType::kI64;
    case 28:
      return StorageType::kF64;
    case 30:
      return StorageType::kBF16;
  }
  struct Known {
    uint32_t code;
    const char* name;
  };
  constexpr Known kOthers[] = {
      {9, "Q8_1"},    {10, "Q2_K"},    {11, "Q3_K"},  {15, "Q8_K"},   {16, "IQ2_XXS"},
      {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},
      {22, "IQ2_S"},  {23, "IQ4_XS"},  {29, "IQ1_M"}, {34, "TQ1_0"},  {35, "TQ2_0"},
      {39, "MXFP4"},  {40, "NVFP4"},
  };
  for (const Known& other : kOthers) {
    if (other.code == code) {
      return UnsupportedError(
          where, absl::StrCat("tensor type ", other.name,
                              " is not supported; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, "
                              "Q4_K, Q5_K and Q6_K are"));
    }
  }
  return InputError(where, "tensor type", "a GGUF type code", code);
}

// One tensor description; `offset` still counts from the start of the data.
absl::StatusOr<TensorInfo> ReadTensor(Cursor* cursor, uint64_t number) {
  FATHOM_ASSIGN_OR_RETURN(const std::string_view name,
                          cursor->ReadString(absl::StrCat("name of tensor ", number), 1024));
  const std::string where = TensorWhere(cursor->path(), name);
  if (!IsTensorName(name)) {
    return InputError(where, "name", "1 to 1024 bytes of UTF-8 without control characters",
                      absl::StrCat(name.size(), " bytes"));
  }
  TensorInfo tensor;
  tensor.name = std::string(name);
  uint32_t rank;
  FATHOM_RETURN_IF_ERROR(cursor->Read("tensor rank", &rank));
  if (rank == 0 || rank > kMaxRank) {
    return InputError(where, "number of dimensions", absl::StrCat("1 to ", kMaxRank), rank);
  }
  uint64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    uint64_t dim;
    FATHOM_RETURN_IF_ERROR(cursor->Read("tensor dimension", &dim));
    tensor.shape.push_back(dim);
    if (dim == 0 || !CheckedMul(elements, dim, &elements)) {
      return InputError(where, "dimensions", "positive sizes with a product below 2^64",
                        ShapeString(tensor.shape));
    }
  }
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  uint32_t code;
  FATHOM_RETURN_IF_ERROR(cursor->Read("tensor type", &code));
  FATHOM_ASSIGN_OR_RETURN(tensor.type, TypeFromCode(code, where));
  if (tensor.columns() % BlockElements(tensor.type) != 0) {
    return InputError(where, "row length",
                      absl::StrCat("a multiple of ", BlockElements(tensor.type), " for ",
                                   StorageTypeName(tensor.type)),
                      tensor.columns());
  }
  const std::optional<uint64_t> bytes = StoredBytes(tensor.type, elements);
  if (!bytes) {
    return InputError(where, "dimensions", "less than 2^64 bytes", ShapeString(tensor.shape));
  }
  tensor.bytes = *bytes;
  FATHOM_RETURN_IF_ERROR(cursor->Read("tensor offset", &tensor.offset));
  return tensor;
}

// Tensors follow one another in the order of their descriptions, each padded to the alignment.
absl::Status PlaceTensors(const Cursor& cursor, uint64_t file_size, uint64_t alignment,
                          std::vector<TensorInfo>* tensors) {
  // Neither sum can wrap: the positions are within the file, the alignment is at most 1 MiB.
  const uint64_t data_start = RoundUp(cursor.position(), alignment);
  uint64_t expected = 0;
  for (TensorInfo& tensor : *tensors) {
    const std::string where = TensorWhere(cursor.path(), tensor.name);
    if (tensor.offset != expected) {
      return InputError(
          where, "offset",
          absl::StrCat(expected, " (the end of the tensor before it, aligned to ", alignment, ")"),
          tensor.offset);
    }
    if (data_start > file_size || !RangeFits(tensor.offset, tensor.bytes, file_size - data_start)) {
      return InputError(
          where, "end of the tensor", absl::StrCat("within the file's ", file_size, " bytes"),
          absl::StrCat("byte ", data_start, " + ", tensor.offset, " + ", tensor.bytes));
    }
    expected = RoundUp(tensor.offset + tensor.bytes, alignment);
    tensor.offset += data_start;
  }
  return absl::OkStatus();
}

absl::Status CheckHeader(Cursor* cursor, uint64_t* tensor_count, uint64_t* key_count) {
  FATHOM_ASSIGN_OR_RETURN(const std::string_view magic, cursor->ReadBytes("magic", 4));
  if (magic != "GGUF") {
    return InputError(absl::StrCat(cursor->path(), ": magic"), "value", "\"GGUF\"", Quoted(magic));
  }
  uint32_t version;
  FATHOM_RETURN_IF_ERROR(cursor->Read("version", &version));
  if (version != 0 && (version & 0xffff) == 0) {
    return UnsupportedError(absl::StrCat(cursor->path(), ": version"), "big-endian GGUF");
  }
  if (version != 2 && version != 3) {
    return InputError(absl::StrCat(cursor->path(), ": version"), "value", "2 or 3", version);
  }
  FATHOM_RETURN_IF_ERROR(cursor->Read("tensor_count", tensor_count));
  FATHOM_RETURN_IF_ERROR(cursor->Read("metadata_kv_count", key_count));
  const uint64_t max_keys = std::min(kMaxKeys, cursor->left() / kLeastKeyBytes);
  if (*key_count > max_keys) {
    return InputError(absl::StrCat(cursor->path(), ": metadata_kv_count"), "value",
                      absl::StrCat("at most ", max_keys), *key_count);
  }
  const uint64_t max_tensors = std::min(kMaxTensors, cursor->left() / kLeastTensorBytes);
  if (*tensor_count > max_tensors) {
    return InputError(absl::StrCat(cursor->path(), ": tensor_count"), "value",
                      absl::StrCat("at most ", max_tensors), *tensor_count);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenGguf(std::unique_ptr<MappedFile> file,
                                                     const CheckpointOptions& options) {
  auto checkpoint =
      std::make_unique<MappedCheckpoint>(CheckpointKind::kGguf, file->path(), options);
  const absl::Span<const uint8_t> bytes = file->bytes();
  Cursor cursor({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file->path());
  const uint64_t file_size = file->size();
  checkpoint->AddFile(std::move(file));
  uint64_t tensor_count, key_count;
  FATHOM_RETURN_IF_ERROR(CheckHeader(&cursor, &tensor_count, &key_count));

  CheckpointMetadata& metadata = checkpoint->mutable_metadata();
  for (uint64_t i = 0; i < key_count; ++i) {
    FATHOM_RETURN_IF_ERROR(ReadKeyValue(&cursor, i, &metadata));
  }
  uint64_t alignment = 32;
  if (metadata.Has("general.alignment")) {
    FATHOM_ASSIGN_OR_RETURN(alignment, metadata.Uint("general.alignment"));
    if (alignment == 0 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0) {
      return InputError(absl::StrCat(cursor.path(), ": key general.alignment"), "value",
                        absl::StrCat("a power of two up to ", kMaxAlignment), alignment);
    }
  }
  if (metadata.Has("split.count")) {
    FATHOM_ASSIGN_OR_RETURN(const uint64_t parts, metadata.Uint("split.count"));
    if (parts > 1) {
      return UnsupportedError(
          absl::StrCat(cursor.path(), ": key split.count"),
          absl::StrCat("a GGUF split into ", parts, " files; merge it into one first"));
    }
  }
  std::vector<TensorInfo> tensors;
  tensors.reserve(tensor_count);
  for (uint64_t i = 0; i < tensor_count; ++i) {
    FATHOM_ASSIGN_OR_RETURN(TensorInfo tensor, ReadTensor(&cursor, i));
    tensors.push_back(std::move(tensor));
  }
  FATHOM_RETURN_IF_ERROR(PlaceTensors(cursor, file_size, alignment, &tensors));
  FATHOM_RETURN_IF_ERROR(checkpoint->SetTensors(std::move(tensors)));
  return checkpoint;
}

}  // namespace fathom
