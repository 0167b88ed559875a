// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A model's weights as named tensors that are read row by row and never loaded whole.
#ifndef FATHOM_FRONTEND_WEIGHTS_CHECKPOINT_H_
#define FATHOM_FRONTEND_WEIGHTS_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "frontend/weights/metadata.h"
#include "frontend/weights/tensor_info.h"

namespace fathom {

enum class CheckpointKind { kSafetensors, kGguf, kRandom };

struct CheckpointOptions {
  // The block that one `weight_scale_inv` value covers: quantization_config.weight_block_size.
  uint64_t fp8_block_rows = 128;
  uint64_t fp8_block_columns = 128;
};

struct CheckpointFile {
  std::string path;
  uint64_t size = 0;  // bytes
};

// Immutable once made; every const method may be called from several threads at once.
class Checkpoint {
 public:
  // `path` is one of
  //   a directory   with model.safetensors, or with model.safetensors.index.json and its shards
  //   *.safetensors one file of that format
  //   *.gguf        a GGUF file, version 2 or 3, little-endian, not split
  // Files are told apart by content, not by name. Everything in a header is verified here: names,
  // types, shapes, offsets, sizes, overlaps. Headers cost memory, tensors do not: they stay mapped.
  // Errors: InputError naming file and field; UnsupportedError for a storage type or a format
  // feature that is real but not handled.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& path,
                                                          const CheckpointOptions& options = {});
  virtual ~Checkpoint() = default;
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  CheckpointKind kind() const { return kind_; }
  // What to call this checkpoint in messages: the path given to Open, or "random:SEED".
  const std::string& name() const { return name_; }
  // In the order in which the bytes lie in the files, so that a reader streams forwards.
  absl::Span<const TensorInfo> tensors() const { return tensors_; }
  // Null when there is no tensor of that name.
  const TensorInfo* Find(std::string_view tensor_name) const;
  // Sum of the tensors' stored bytes.
  uint64_t total_bytes() const { return total_bytes_; }
  const CheckpointMetadata& metadata() const { return metadata_; }
  // Indexed by TensorInfo::file; empty for random weights.
  absl::Span<const CheckpointFile> files() const { return files_; }

  // The stored bytes, straight from the mapping; empty when the tensor is not `verbatim`.
  virtual absl::Span<const uint8_t> data(const TensorInfo& tensor) const = 0;

  // Writes rows [row_begin, row_end) as float32 to `out`, (row_end - row_begin) x columns() values,
  // row-major. `tensor` must come from this checkpoint. Block types are dequantised; an fp8 tensor
  // with a `<name>_scale_inv` companion is multiplied by it (the name notwithstanding, it is a
  // multiplier). Errors: row range outside the tensor, a companion of the wrong shape or type, the
  // file shrank. Values are passed on as they are, NaN and infinity included.
  absl::Status ReadRows(const TensorInfo& tensor, uint64_t row_begin, uint64_t row_end,
                        float* out) const;

  // Hints: the tensor will be read soon; the tensor is done with, so that its pages need not stay
  // in this process's resident set.
  virtual void WillNeed(const TensorInfo& tensor) const {}
  virtual void DropPages(const TensorInfo& tensor) const {}

 protected:
  Checkpoint(CheckpointKind kind, std::string name)
      : kind_(kind), name_(std::move(name)), metadata_(name_) {}

  virtual absl::Status DoReadRows(const TensorInfo& tensor, uint64_t row_begin, uint64_t row_end,
                                  float* out) const = 0;
  // Takes the tensors, sorted by (file, offset, name). An error when two share a name.
  absl::Status SetTensors(std::vector<TensorInfo> tensors);

  CheckpointKind kind_;
  std::string name_;
  std::vector<CheckpointFile> files_;
  CheckpointMetadata metadata_;

 private:
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string_view, const TensorInfo*> by_name_;
  uint64_t total_bytes_ = 0;
};

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_CHECKPOINT_H_
