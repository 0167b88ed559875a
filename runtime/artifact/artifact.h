// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An open .fathom file: verified header, segments read on demand.
#ifndef FATHOM_RUNTIME_ARTIFACT_ARTIFACT_H_
#define FATHOM_RUNTIME_ARTIFACT_ARTIFACT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/artifact/file.h"
#include "runtime/schema/artifact_generated.h"
#include "runtime/schema/prefix.h"

namespace fathom {

// Bytes done and in all; false stops the work with a CancelledError. Called from one thread at a
// time.
using ProgressFunction = std::function<bool(uint64_t done, uint64_t total)>;

// Immutable after Open, so usable from several threads. An artifact carries native code: opening
// one is safe whatever its bytes are, running one equals running a program.
class Artifact {
 public:
  // Reads and checks prefix and header (docs/spec/artifact.md gives the order). Touches no weight.
  static absl::StatusOr<std::shared_ptr<const Artifact>> Open(const std::string& path);

  // The prefix and, right behind it, the header of an artifact that need not exist ("fathom-compile
  // --header-only"), checked the same way. `name` stands for the path. Such an artifact has no
  // file: it can be planned and explained, not run.
  static absl::StatusOr<std::shared_ptr<const Artifact>> FromHeader(
      const std::string& name, absl::Span<const uint8_t> bytes);

  const std::string& path() const { return path_; }
  bool has_file() const { return file_ != nullptr; }
  const File& file() const { return *file_; }
  const schema::ArtifactPrefix& prefix() const { return prefix_; }
  // Verified: every index and range in it is valid. Lives as long as this object.
  const schema::Artifact& header() const { return *schema::GetArtifact(header_.get()); }

  // The bytes of segment `index` (< number of segments), read into memory.
  absl::StatusOr<std::vector<uint8_t>> ReadSegment(uint32_t index) const;

  // Compares the digest of every segment and every tensor with its bytes, on `threads` threads (0:
  // one per CPU). The first mismatch is a DataLossError that names the segment or tensor.
  absl::Status VerifyHashes(int threads = 0, const ProgressFunction& progress = nullptr) const;

 private:
  struct AlignedDelete {
    void operator()(uint8_t* bytes) const;
  };
  explicit Artifact(std::string path) : path_(std::move(path)) {}
  absl::Status AllocateHeader();
  absl::Status CheckHeader() const;

  const std::string path_;
  std::unique_ptr<File> file_;  // null after FromHeader
  schema::ArtifactPrefix prefix_;
  std::unique_ptr<uint8_t, AlignedDelete> header_;  // prefix_.header_length bytes, 64-byte aligned
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_ARTIFACT_ARTIFACT_H_
