// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds the format behind a path; the index of tensors; reads of mapped tensors.
#include "frontend/weights/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "frontend/weights/dequantize.h"
#include "frontend/weights/json.h"
#include "frontend/weights/mapped_checkpoint.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

bool IsDirectory(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

bool Exists(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& path,
                                                             const CheckpointOptions& options) {
  if (options.fp8_block_rows == 0 || options.fp8_block_columns == 0) {
    return InputError(path, "weight_block_size", "two positive sizes", "0");
  }
  if (IsDirectory(path)) {
    const std::string single = absl::StrCat(path, "/model.safetensors");
    if (Exists(single)) {
      FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(single));
      return OpenSafetensors(std::move(file), options);
    }
    if (Exists(single + ".index.json")) return OpenSafetensorsIndex(path, options);
    return InputError(path, "weights", "model.safetensors or model.safetensors.index.json",
                      "neither in this directory");
  }
  FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::Span<const uint8_t> bytes = file->bytes();
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               std::min<size_t>(bytes.size(), 16));
  if (start.starts_with("GGUF")) return OpenGguf(std::move(file), options);
  // The JSON header of a safetensors file begins behind its 8-byte length.
  if (start.size() > 8 && start[8] == '{') return OpenSafetensors(std::move(file), options);
  if (path.ends_with(".gguf")) {
    return InputError(path, "magic", "\"GGUF\"", Quoted(start.substr(0, 4)));
  }
  if (path.ends_with(".safetensors")) return OpenSafetensors(std::move(file), options);
  return InputError(path, "file format",
                    "safetensors (8 bytes of header length, then \"{\") or GGUF (\"GGUF\")",
                    absl::StrCat("a file that starts with ", Quoted(start)));
}

const TensorInfo* Checkpoint::Find(std::string_view tensor_name) const {
  const auto it = by_name_.find(tensor_name);
  return it == by_name_.end() ? nullptr : it->second;
}

absl::Status Checkpoint::ReadRows(const TensorInfo& tensor, uint64_t row_begin, uint64_t row_end,
                                  float* out) const {
  if (row_begin > row_end || row_end > tensor.rows()) {
    return InputError(TensorWhere(name_, tensor.name), "rows",
                      absl::StrCat("a range within 0..", tensor.rows()),
                      absl::StrCat(row_begin, "..", row_end));
  }
  if (row_begin == row_end) return absl::OkStatus();
  return DoReadRows(tensor, row_begin, row_end, out);
}

absl::Status Checkpoint::SetTensors(std::vector<TensorInfo> tensors) {
  tensors_ = std::move(tensors);
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.file, a.offset, a.name) < std::tie(b.file, b.offset, b.name);
  });
  by_name_.reserve(tensors_.size());
  for (const TensorInfo& tensor : tensors_) {
    const auto [it, inserted] = by_name_.emplace(tensor.name, &tensor);
    if (!inserted) {
      const auto file_name = [&](uint32_t file) {
        return file < files_.size() ? files_[file].path : name_;
      };
      return InputError(TensorWhere(file_name(tensor.file), tensor.name), "name",
                        "a name used once",
                        absl::StrCat("the same name in ", file_name(it->second->file)));
    }
    total_bytes_ += tensor.bytes;
  }
  return absl::OkStatus();
}

std::string TensorWhere(const std::string& file, std::string_view tensor) {
  return absl::StrCat(file, ": tensor ", Quoted(tensor));
}

bool IsUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const uint8_t lead = text[i];
    // Sequence length and the range of its second byte: this excludes overlong forms, surrogates
    // and code points beyond U+10FFFF.
    size_t length = 0;
    uint8_t low = 0x80, high = 0xbf;
    if (lead < 0x80) {
      ++i;
      continue;
    } else if (lead >= 0xc2 && lead <= 0xdf) {
      length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      length = 3;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      length = 4;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    if (text.size() - i < length) return false;
    for (size_t k = 1; k < length; ++k) {
      const uint8_t byte = text[i + k];
      if (byte < low || byte > high) return false;
      low = 0x80, high = 0xbf;
    }
    i += length;
  }
  return true;
}

bool IsTensorName(std::string_view name) {
  if (name.empty() || name.size() > 1024) return false;
  for (const char c : name) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) return false;
  }
  return IsUtf8(name);
}

uint32_t MappedCheckpoint::AddFile(std::unique_ptr<MappedFile> file) {
  files_.push_back({file->path(), file->size()});
  mapped_.push_back(std::move(file));
  return static_cast<uint32_t>(mapped_.size() - 1);
}

absl::Span<const uint8_t> MappedCheckpoint::data(const TensorInfo& tensor) const {
  return mapped_[tensor.file]->bytes().subspan(tensor.offset, tensor.bytes);
}

void MappedCheckpoint::WillNeed(const TensorInfo& tensor) const {
  mapped_[tensor.file]->WillNeed(tensor.offset, tensor.bytes);
}

void MappedCheckpoint::DropPages(const TensorInfo& tensor) const {
  mapped_[tensor.file]->Drop(tensor.offset, tensor.bytes);
}

absl::StatusOr<const TensorInfo*> MappedCheckpoint::FindScale(const TensorInfo& tensor) const {
  const std::string where = TensorWhere(files_[tensor.file].path, tensor.name);
  const TensorInfo* scale = Find(absl::StrCat(tensor.name, "_scale_inv"));
  if (scale == nullptr) {
    if (Find(absl::StrCat(tensor.name, "_scale")) != nullptr) {
      return UnsupportedError(where, absl::StrCat("fp8 with a ", Quoted(tensor.name + "_scale"),
                                                  " tensor: only block scales named "
                                                  "weight_scale_inv are supported"));
    }
    return nullptr;
  }
  switch (scale->type) {
    case StorageType::kF32:
    case StorageType::kBF16:
    case StorageType::kF16:
    case StorageType::kF8E8M0:
      break;
    default:
      return InputError(TensorWhere(files_[scale->file].path, scale->name), "dtype",
                        "F32, BF16, F16 or F8_E8M0", StorageTypeName(scale->type));
  }
  if (tensor.shape.size() < 2) {
    return InputError(where, "rank of a block-scaled tensor", "at least 2", tensor.shape.size());
  }
  std::vector<uint64_t> expected = tensor.shape;
  uint64_t* const last_two = &expected[expected.size() - 2];
  last_two[0] = CeilDiv(last_two[0], options_.fp8_block_rows);
  last_two[1] = CeilDiv(last_two[1], options_.fp8_block_columns);
  if (scale->shape != expected) {
    return InputError(
        TensorWhere(files_[scale->file].path, scale->name), "shape",
        absl::StrCat(ShapeString(expected), " (blocks of ", options_.fp8_block_rows, " x ",
                     options_.fp8_block_columns, " over ", ShapeString(tensor.shape), ")"),
        ShapeString(scale->shape));
  }
  return scale;
}

absl::Status MappedCheckpoint::DoReadRows(const TensorInfo& tensor, uint64_t row_begin,
                                          uint64_t row_end, float* out) const {
  FATHOM_RETURN_IF_ERROR(mapped_[tensor.file]->CheckUnchanged());
  if (tensor.type == StorageType::kF8E4M3 || tensor.type == StorageType::kF8E5M2) {
    FATHOM_ASSIGN_OR_RETURN(const TensorInfo* scale, FindScale(tensor));
    if (scale != nullptr) {
      FATHOM_RETURN_IF_ERROR(mapped_[scale->file]->CheckUnchanged());
      ReadScaledRows(tensor, *scale, row_begin, row_end, out);
      return absl::OkStatus();
    }
  }
  // Rows hold whole blocks (checked when the file was opened), so this is one run of bytes.
  const uint64_t row_bytes = tensor.bytes / tensor.rows();
  Dequantize(tensor.type, data(tensor).data() + row_begin * row_bytes,
             (row_end - row_begin) * tensor.columns(), out);
  return absl::OkStatus();
}

void MappedCheckpoint::ReadScaledRows(const TensorInfo& tensor, const TensorInfo& scale,
                                      uint64_t row_begin, uint64_t row_end, float* out) const {
  const uint64_t columns = tensor.columns();
  const uint64_t block_columns = options_.fp8_block_columns;
  // A stack of matrices (rank 3) restarts its blocks with each matrix.
  const uint64_t matrix_rows = tensor.shape[tensor.shape.size() - 2];
  const uint64_t matrix_scale_rows = scale.shape[scale.shape.size() - 2];
  const uint64_t scale_row_bytes = scale.bytes / scale.rows();
  const uint8_t* const codes = data(tensor).data();
  std::vector<float> scales(scale.columns());  // (columns / block_columns), of one row of blocks
  uint64_t loaded = ~uint64_t{0};
  for (uint64_t row = row_begin; row < row_end; ++row, out += columns) {
    const uint64_t scale_row =
        row / matrix_rows * matrix_scale_rows + row % matrix_rows / options_.fp8_block_rows;
    if (scale_row != loaded) {
      Dequantize(scale.type, data(scale).data() + scale_row * scale_row_bytes, scales.size(),
                 scales.data());
      loaded = scale_row;
    }
    for (uint64_t block = 0; block < scales.size(); ++block) {
      const uint64_t begin = block * block_columns;
      DequantizeScaled(tensor.type, codes + row * columns + begin,
                       std::min(columns - begin, block_columns), scales[block], out + begin);
    }
  }
}

}  // namespace fathom
