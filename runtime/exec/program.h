// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One program of an artifact, loaded on a device: code and weights, shared by all contexts.
#ifndef FATHOM_RUNTIME_EXEC_PROGRAM_H_
#define FATHOM_RUNTIME_EXEC_PROGRAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/artifact/artifact.h"
#include "runtime/artifact/weights.h"
#include "runtime/exec/cache_memory.h"
#include "runtime/hal/device.h"

namespace fathom {

// The number of the program that suits `device` best: made for its driver, every feature present,
// and of those the one that uses most features. kUnimplemented, with the reason for each program,
// when none does.
absl::StatusOr<uint32_t> PickProgram(const Artifact& artifact, const hal::Device& device);

// Immutable after Load; any number of contexts may use it at once.
class Program {
 public:
  // `device` outlives the program. Checks that every entry point has the signature of
  // docs/spec/artifact.md. Weights that the device cannot use where they are get copied into its
  // memory; `progress` then counts their bytes.
  static absl::StatusOr<std::shared_ptr<const Program>> Load(
      std::shared_ptr<const Artifact> artifact, std::shared_ptr<const Weights> weights,
      hal::Device& device, const ProgressFunction& progress = nullptr);

  const Artifact& artifact() const { return *artifact_; }
  const Weights& weights() const { return *weights_; }
  const schema::Program& header() const { return *header_; }
  hal::Device& device() const { return device_; }
  const hal::Executable& executable() const { return *executable_; }

  // The entry point called `name`, or null.
  const schema::EntryPoint* FindEntry(const std::string& name) const;
  // Where bytes [offset, offset + length) of tensor `index` of the header lie.
  hal::BufferRef TensorRef(uint32_t index, uint64_t offset, uint64_t length) const;

  uint32_t page_tokens() const { return header_->kv()->page_tokens(); }
  uint64_t page_bytes() const { return header_->kv()->page_bytes(); }  // of all layers
  // Most pages that one cache of the device can have.
  uint32_t max_cache_pages() const { return MaxCachePages(device_.info(), *header_->kv()); }
  uint32_t vocab_size() const { return artifact_->header().model()->vocab_size(); }
  // float32 elements from one row of logits to the next: vocab_size rounded up to 16.
  uint32_t logits_stride() const { return (vocab_size() + 15) / 16 * 16; }

 private:
  Program(std::shared_ptr<const Artifact> artifact, std::shared_ptr<const Weights> weights,
          hal::Device& device)
      : artifact_(std::move(artifact)), weights_(std::move(weights)), device_(device) {}
  absl::Status LoadCode();
  absl::Status PlaceWeights(const ProgressFunction& progress);
  absl::Status PlaceSegment(uint32_t segment, const ProgressFunction& progress, uint64_t* placed);
  absl::Status CheckSignature(const schema::EntryPoint& entry) const;

  const std::shared_ptr<const Artifact> artifact_;
  const std::shared_ptr<const Weights> weights_;
  hal::Device& device_;
  const schema::Program* header_ = nullptr;
  std::unique_ptr<hal::Executable> executable_;
  // Bytes [begin, end) of a weight segment in device memory. One piece holds all of a segment
  // unless the device has no buffers of that size; no tensor crosses the end of a piece.
  struct Piece {
    uint64_t begin;
    uint64_t end;
    std::shared_ptr<hal::Buffer> buffer;
  };
  std::vector<std::vector<Piece>> segments_;  // empty: not a weight segment
};

// The names of an entry point's inputs, in order.
inline constexpr const char* kInputNames[] = {"tokens",     "positions",      "sequence",
                                              "page_table", "context_length", "logit_rows"};
inline constexpr size_t kInputs = 6;

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_PROGRAM_H_
