// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes a .fathom file front to back: segments, tensors, then the header (docs/spec/artifact.md).
#ifndef FATHOM_COMPILER_EMIT_ARTIFACT_WRITER_H_
#define FATHOM_COMPILER_EMIT_ARTIFACT_WRITER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "compiler/emit/streamed_file.h"

struct crypto_generichash_blake2b_state;

namespace fathom {

using DigestBytes = std::array<uint8_t, 32>;

// What was written, for the header.
struct WrittenSegment {
  uint8_t kind;  // schema::SegmentKind
  std::string name;
  uint64_t offset, length;
  DigestBytes digest;
};
struct WrittenTensor {
  std::string name;
  std::vector<uint64_t> shape;
  uint8_t encoding;  // schema::Encoding
  uint32_t segment;
  uint64_t offset, length;  // offset from the segment's start
  DigestBytes digest;
  std::optional<DigestBytes> source;
};

// The file appears under its name only when Finish succeeds (OutputFile). Not thread-safe.
class ArtifactWriter {
 public:
  // Errors: kPermissionDenied / kNotFound / kInvalidArgument naming the path and the system's reason.
  static absl::StatusOr<std::unique_ptr<ArtifactWriter>> Create(const std::string& path, Caching caching);
  // Writes nothing: Reserve takes the place of Append, digests are zero, and HeaderOnly that of Finish.
  static std::unique_ptr<ArtifactWriter> Measure();
  ~ArtifactWriter();

  // A segment is either bytes given whole, or a run of tensors between Begin and End.
  absl::Status AddSegment(uint8_t kind, std::string name, absl::Span<const uint8_t> bytes);
  absl::Status BeginTensorSegment(uint8_t kind, std::string name);
  absl::Status BeginTensor(std::string name, std::vector<uint64_t> shape, uint8_t encoding);
  absl::Status Append(absl::Span<const uint8_t> bytes);  // bytes of the open tensor
  void Reserve(uint64_t bytes);                            // the same, when measuring
  void EndTensor();
  // Instead of Append and EndTensor: the tensor is [offset, offset + length) of `file`, whose bytes should have this
  // digest. False, and the open tensor is empty again, when they have another.
  absl::StatusOr<bool> TakeTensor(InputFile& file, uint64_t offset, uint64_t length, const DigestBytes& digest);
  // What the tensor begun last was encoded from.
  void SetSource(const DigestBytes& source) { tensors_.back().source = source; }
  // The segment's digest is the hash of its tensors' digests, in order: no byte is hashed twice.
  void EndTensorSegment();

  const std::vector<WrittenSegment>& segments() const { return segments_; }
  const std::vector<WrittenTensor>& tensors() const { return tensors_; }

  // Writes the header (a finished FlatBuffer) and the prefix, syncs, renames to the final path.
  absl::Status Finish(absl::Span<const uint8_t> header);

  // The prefix of the file that Finish would write, and behind it the header.
  std::vector<uint8_t> HeaderOnly(absl::Span<const uint8_t> header) const;

  uint64_t bytes_written() const { return position_; }

 private:
  ArtifactWriter();
  void OpenTensor();
  bool measuring() const { return file_ == nullptr; }
  absl::Status Write(absl::Span<const uint8_t> bytes);
  absl::Status PadTo(uint64_t alignment);
  // The prefix of a file whose header begins at `offset`.
  std::array<uint8_t, 64> Prefix(absl::Span<const uint8_t> header, uint64_t offset) const;

  std::unique_ptr<OutputFile> file_;  // null when measuring
  uint64_t position_ = 0;
  std::vector<WrittenSegment> segments_;
  std::vector<WrittenTensor> tensors_;
  size_t segment_first_tensor_ = 0;
  std::unique_ptr<crypto_generichash_blake2b_state> hash_;
};

// BLAKE2b-256.
DigestBytes HashBytes(absl::Span<const uint8_t> bytes);

}  // namespace fathom

#endif  // FATHOM_COMPILER_EMIT_ARTIFACT_WRITER_H_
