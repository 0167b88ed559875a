// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The safetensors container: one file, or an index and its shards. Trusts nothing in a header.
//
// File = u64 header length N, N bytes of JSON {name: {dtype, shape, data_offsets}}, tensor bytes.
// data_offsets [begin, end) count from the first tensor byte; together they cover the rest of the
// file without holes or overlaps.
#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "frontend/weights/json.h"
#include "frontend/weights/mapped_checkpoint.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxRank = 8;

// An array of non-negative integers, the way shapes and offsets are written.
absl::StatusOr<std::vector<uint64_t>> ReadIntegers(const Json& value, const std::string& where,
                                                   const char* field, size_t max_count) {
  if (!value.is_array()) {
    return InputError(where, field, "an array of non-negative integers", DescribeJson(value));
  }
  if (value.size() > max_count) {
    return InputError(where, field, absl::StrCat("at most ", max_count, " numbers"), value.size());
  }
  std::vector<uint64_t> numbers;
  for (const Json& element : value) {
    if (!element.is_number_unsigned()) {
      return InputError(where, field, "non-negative integers below 2^64", DescribeJson(element));
    }
    numbers.push_back(element.get<uint64_t>());
  }
  return numbers;
}

absl::StatusOr<StorageType> ReadType(const Json& value, const std::string& where) {
  if (!value.is_string()) return InputError(where, "dtype", "a string", DescribeJson(value));
  const std::string& name = value.get_ref<const std::string&>();
  if (const auto type = StorageTypeFromSafetensors(name)) return *type;
  for (const char* real : {"F4", "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"}) {
    if (name == real) return UnsupportedError(where, absl::StrCat("dtype ", name));
  }
  return InputError(where, "dtype", "a safetensors type such as BF16, F32 or F8_E4M3",
                    Quoted(name));
}

absl::StatusOr<TensorInfo> ReadTensor(const std::string& name, const Json& entry,
                                      const std::string& path, uint64_t data_start,
                                      uint64_t file_size) {
  const std::string where = TensorWhere(path, name);
  if (!IsTensorName(name)) {
    return InputError(where, "name", "1 to 1024 bytes without control characters",
                      absl::StrCat(name.size(), " bytes"));
  }
  if (!entry.is_object()) {
    return InputError(where, "entry", "an object", DescribeJson(entry));
  }
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!entry.contains(field)) return InputError(where, field, "the field", "none");
  }
  TensorInfo tensor;
  tensor.name = name;
  FATHOM_ASSIGN_OR_RETURN(tensor.type, ReadType(entry["dtype"], where));
  FATHOM_ASSIGN_OR_RETURN(tensor.shape, ReadIntegers(entry["shape"], where, "shape", kMaxRank));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<uint64_t> range,
                          ReadIntegers(entry["data_offsets"], where, "data_offsets", 2));
  uint64_t elements = 1;
  for (const uint64_t dim : tensor.shape) {
    if (dim == 0 || !CheckedMul(elements, dim, &elements)) {
      return InputError(where, "shape", "positive sizes with a product below 2^64",
                        ShapeString(tensor.shape));
    }
  }
  if (range.size() != 2 || range[0] > range[1]) {
    return InputError(where, "data_offsets", "[begin, end] with begin <= end", ShapeString(range));
  }
  if (range[1] > file_size - data_start) {
    return InputError(where, "data_offsets",
                      absl::StrCat("an end of at most ", file_size - data_start,
                                   " (the bytes behind the header)"),
                      range[1]);
  }
  tensor.offset = data_start + range[0];
  tensor.bytes = range[1] - range[0];
  const std::optional<uint64_t> bytes = StoredBytes(tensor.type, elements);
  if (!bytes || *bytes != tensor.bytes) {
    return InputError(where, "data_offsets",
                      absl::StrCat(bytes ? absl::StrCat(*bytes) : "less than 2^64", " bytes for ",
                                   StorageTypeName(tensor.type), " ", ShapeString(tensor.shape)),
                      absl::StrCat(tensor.bytes, " bytes"));
  }
  return tensor;
}

// The tensors must follow one another from the header to the end of the file.
absl::Status CheckContiguous(std::vector<TensorInfo>& tensors, const std::string& path,
                             uint64_t data_start, uint64_t file_size) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.name < b.name;
  });
  uint64_t end = data_start;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != end) {
      return InputError(TensorWhere(path, tensor.name),
                        tensor.offset < end ? "data_offsets overlap another tensor"
                                            : "data_offsets leave a hole before this tensor",
                        absl::StrCat("begin ", end - data_start),
                        absl::StrCat("begin ", tensor.offset - data_start));
    }
    end = tensor.offset + tensor.bytes;
  }
  if (end != file_size) {
    return InputError(path, "file size", absl::StrCat(end, " bytes (header and tensors)"),
                      absl::StrCat(file_size, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status ReadMetadata(const Json& entry, const std::string& path,
                          CheckpointMetadata* metadata) {
  const std::string where = absl::StrCat(path, ": __metadata__");
  if (!entry.is_object()) return InputError(where, "value", "an object", DescribeJson(entry));
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) {
      return InputError(absl::StrCat(where, ": ", Quoted(key)), "value", "a string",
                        DescribeJson(value));
    }
    // Every shard repeats the metadata; the first one counts.
    metadata->AddOwnedString(key, value.get<std::string>());
  }
  return absl::OkStatus();
}

// Verifies the header of `file` and returns its tensors, marked as lying in file `index`.
absl::StatusOr<std::vector<TensorInfo>> ReadHeader(const MappedFile& file, uint32_t index,
                                                   CheckpointMetadata* metadata) {
  const std::string where = absl::StrCat(file.path(), ": header");
  const absl::Span<const uint8_t> bytes = file.bytes();
  if (bytes.size() < 8) {
    return InputError(where, "file size", "at least 8 bytes", absl::StrCat(bytes.size(), " bytes"));
  }
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), 8);
  if (header_bytes > kMaxHeaderBytes) {
    return InputError(where, "length", absl::StrCat("at most ", kMaxHeaderBytes, " bytes"),
                      absl::StrCat(header_bytes, " bytes"));
  }
  if (header_bytes > bytes.size() - 8) {
    return InputError(where, "length",
                      absl::StrCat("at most ", bytes.size() - 8, " bytes (the rest of the file)"),
                      absl::StrCat(header_bytes, " bytes"));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
  if (text.empty() || text[0] != '{') {
    return InputError(where, "first byte", "\"{\"", Quoted(text.substr(0, 1)));
  }
  FATHOM_ASSIGN_OR_RETURN(const Json header, ParseStrictJson(text, where));
  std::vector<TensorInfo> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      FATHOM_RETURN_IF_ERROR(ReadMetadata(entry, file.path(), metadata));
      continue;
    }
    FATHOM_ASSIGN_OR_RETURN(TensorInfo tensor,
                            ReadTensor(name, entry, file.path(), 8 + header_bytes, file.size()));
    tensor.file = index;
    tensors.push_back(std::move(tensor));
  }
  FATHOM_RETURN_IF_ERROR(CheckContiguous(tensors, file.path(), 8 + header_bytes, file.size()));
  return tensors;
}

// A shard lies beside its index: a plain file name, so that an index cannot reach other files.
bool IsPlainFileName(const std::string& name) {
  return IsTensorName(name) && name != "." && name != ".." &&
         name.find_first_of("/\\") == name.npos;
}

using WeightMap = std::map<std::string, std::vector<std::string>>;  // shard -> tensors

absl::StatusOr<WeightMap> ReadWeightMap(const std::string& index_path) {
  FATHOM_ASSIGN_OR_RETURN(const Json index, ReadJsonFile(index_path));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return InputError(index_path, "weight_map", "an object of tensor names and file names",
                      index.is_object() && index.contains("weight_map")
                          ? DescribeJson(index["weight_map"])
                          : "none");
  }
  WeightMap shards;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    const std::string where = absl::StrCat(index_path, ": weight_map: ", Quoted(tensor));
    if (!shard.is_string() || !IsPlainFileName(shard.get_ref<const std::string&>())) {
      return InputError(where, "shard", "the name of a file beside the index", DescribeJson(shard));
    }
    shards[shard.get<std::string>()].push_back(tensor);
  }
  if (shards.empty()) return InputError(index_path, "weight_map", "at least one tensor", "none");
  return shards;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenSafetensors(std::unique_ptr<MappedFile> file,
                                                            const CheckpointOptions& options) {
  auto checkpoint =
      std::make_unique<MappedCheckpoint>(CheckpointKind::kSafetensors, file->path(), options);
  const uint32_t index = checkpoint->AddFile(std::move(file));
  FATHOM_ASSIGN_OR_RETURN(
      std::vector<TensorInfo> tensors,
      ReadHeader(checkpoint->file(index), index, &checkpoint->mutable_metadata()));
  FATHOM_RETURN_IF_ERROR(checkpoint->SetTensors(std::move(tensors)));
  return checkpoint;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenSafetensorsIndex(const std::string& directory,
                                                                 const CheckpointOptions& options) {
  const std::string index_path = absl::StrCat(directory, "/model.safetensors.index.json");
  FATHOM_ASSIGN_OR_RETURN(const WeightMap shards, ReadWeightMap(index_path));
  auto checkpoint =
      std::make_unique<MappedCheckpoint>(CheckpointKind::kSafetensors, directory, options);
  std::vector<TensorInfo> tensors;
  for (const auto& [shard, names] : shards) {
    absl::StatusOr<std::unique_ptr<MappedFile>> file =
        MappedFile::Open(absl::StrCat(directory, "/", shard));
    if (absl::IsNotFound(file.status())) {
      return InputError(index_path, absl::StrCat("weight_map: shard ", Quoted(shard)),
                        "the file beside the index", "no such file");
    }
    FATHOM_RETURN_IF_ERROR(file.status());
    const uint32_t index = checkpoint->AddFile(*std::move(file));
    FATHOM_ASSIGN_OR_RETURN(
        std::vector<TensorInfo> of_shard,
        ReadHeader(checkpoint->file(index), index, &checkpoint->mutable_metadata()));
    tensors.insert(tensors.end(), std::make_move_iterator(of_shard.begin()),
                   std::make_move_iterator(of_shard.end()));
  }
  FATHOM_RETURN_IF_ERROR(checkpoint->SetTensors(std::move(tensors)));
  // Shards are opened in the order of the map, so a shard's number is its file index.
  uint32_t file = 0;
  for (const auto& [shard, names] : shards) {
    for (const std::string& name : names) {
      const TensorInfo* tensor = checkpoint->Find(name);
      if (tensor == nullptr || tensor->file != file) {
        return InputError(absl::StrCat(index_path, ": weight_map: ", Quoted(name)), "shard",
                          absl::StrCat("the tensor in ", shard),
                          tensor == nullptr
                              ? "it in no shard"
                              : absl::StrCat("it in ", checkpoint->files()[tensor->file].path));
      }
    }
    ++file;
  }
  return checkpoint;
}

}  // namespace fathom
