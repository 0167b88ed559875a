// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What safetensors and GGUF checkpoints share: tensors in mapped files. For the readers only.
#ifndef FATHOM_FRONTEND_WEIGHTS_MAPPED_CHECKPOINT_H_
#define FATHOM_FRONTEND_WEIGHTS_MAPPED_CHECKPOINT_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "frontend/weights/checkpoint.h"
#include "frontend/weights/mapped_file.h"

namespace fathom {

class MappedCheckpoint : public Checkpoint {
 public:
  MappedCheckpoint(CheckpointKind kind, std::string name, const CheckpointOptions& options)
      : Checkpoint(kind, std::move(name)), options_(options) {}

  absl::Span<const uint8_t> data(const TensorInfo& tensor) const override;
  void WillNeed(const TensorInfo& tensor) const override;
  void DropPages(const TensorInfo& tensor) const override;

  // For the readers, while the checkpoint is being put together. AddFile returns the file's index.
  uint32_t AddFile(std::unique_ptr<MappedFile> file);
  const MappedFile& file(uint32_t index) const { return *mapped_[index]; }
  CheckpointMetadata& mutable_metadata() { return metadata_; }
  using Checkpoint::SetTensors;

 protected:
  absl::Status DoReadRows(const TensorInfo& tensor, uint64_t row_begin, uint64_t row_end,
                          float* out) const override;

 private:
  // The companion scale of an fp8 tensor, checked; null when it has none.
  absl::StatusOr<const TensorInfo*> FindScale(const TensorInfo& tensor) const;
  void ReadScaledRows(const TensorInfo& tensor, const TensorInfo& scale, uint64_t row_begin,
                      uint64_t row_end, float* out) const;

  CheckpointOptions options_;
  std::vector<std::unique_ptr<MappedFile>> mapped_;
};

// Where `tensor` of `file` is named in a message: "model.safetensors: tensor \"a.weight\"".
std::string TensorWhere(const std::string& file, std::string_view tensor);

// True for names a checkpoint may use: 1 to 1024 bytes of UTF-8 without control characters.
bool IsTensorName(std::string_view name);
bool IsUtf8(std::string_view text);

// The readers of one format each; `path` names a regular file.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenSafetensors(std::unique_ptr<MappedFile> file,
                                                            const CheckpointOptions& options);
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenSafetensorsIndex(const std::string& directory,
                                                                 const CheckpointOptions& options);
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenGguf(std::unique_ptr<MappedFile> file,
                                                     const CheckpointOptions& options);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_MAPPED_CHECKPOINT_H_
