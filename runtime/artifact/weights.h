// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The weight segments of an artifact in this process's memory.
#ifndef FATHOM_RUNTIME_ARTIFACT_WEIGHTS_H_
#define FATHOM_RUNTIME_ARTIFACT_WEIGHTS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/artifact/artifact.h"

namespace fathom {

// map        read-only file mapping: starts at once, shares the page cache, 4 KiB pages (about 25 %
// slower
//            to stream). A file truncated by somebody else while mapped kills the process (SIGBUS).
// copy       anonymous memory with huge pages, filled by several threads.
// automatic  copy when the memory available is comfortably larger than the weights, else map.
enum class LoadMode { automatic, map, copy };

class Weights {
 public:
  // `threads`: 0 means one per CPU. `progress` counts bytes copied (never called when mapping).
  static absl::StatusOr<std::shared_ptr<const Weights>> Load(
      std::shared_ptr<const Artifact> artifact, LoadMode mode, int threads = 0,
      const ProgressFunction& progress = nullptr);
  ~Weights();

  // The bytes of segment `index`; empty when it is not a weight segment. 4096-byte aligned.
  absl::Span<const uint8_t> segment(uint32_t index) const { return segments_[index]; }
  // The caller has copied bytes [begin, end) of segment `index` elsewhere: pages of the mapping
  // that lie inside leave this process's memory. They come back from the file when they are read
  // again.
  void Forget(uint32_t index, uint64_t begin, uint64_t end) const;
  LoadMode mode() const { return mode_; }  // map or copy
  uint64_t bytes() const { return bytes_; }

 private:
  explicit Weights(std::shared_ptr<const Artifact> artifact) : artifact_(std::move(artifact)) {}
  absl::Status Map();
  absl::Status Copy(int threads, const ProgressFunction& progress);

  std::shared_ptr<const Artifact> artifact_;
  LoadMode mode_ = LoadMode::map;
  uint64_t bytes_ = 0;
  std::vector<absl::Span<const uint8_t>> segments_;
  std::vector<std::pair<void*, size_t>> mappings_;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_ARTIFACT_WEIGHTS_H_
