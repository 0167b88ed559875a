// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How much memory a program needs, from its artifact's header alone.
#ifndef FATHOM_RUNTIME_EXEC_MEMORY_PLAN_H_
#define FATHOM_RUNTIME_EXEC_MEMORY_PLAN_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/artifact/artifact.h"
#include "runtime/hal/device.h"

namespace fathom {

inline constexpr int32_t kMaxSequences = 4096, kMaxChunk = 65536, kDefaultChunk = 1024;

struct MemoryRequest {
  int64_t context = 0;            // tokens per sequence, at least 1
  int32_t sequences = 1;          // at the same time
  int32_t chunk = kDefaultChunk;  // most tokens of one call
};

// Bytes.
struct MemoryPlan {
  uint64_t weights = 0;
  uint64_t cache = 0;    // when every sequence has reached its context
  uint64_t scratch = 0;  // arena of the entry point that needs most
  std::vector<std::pair<std::string, uint64_t>> scratch_of_entry;  // by name, in their order
  uint64_t inputs_and_logits = 0;
  uint64_t total = 0;
  // The longest binding of a dispatch but for the cache's: what DeviceInfo::max_binding_bytes must
  // allow.
  uint64_t longest_binding = 0;
  std::string longest_name;  // the tensor or buffer bound
};

// InvalidArgument beyond 1 to kMaxSequences sequences, 1 to kMaxChunk tokens of one call.
absl::Status CheckCalls(int32_t sequences, int32_t chunk);

// For program `program` of the artifact. InvalidArgument for a request out of range, or sizes that
// do not fit 64 bits.
absl::StatusOr<MemoryPlan> PlanMemory(const Artifact& artifact, uint32_t program,
                                      const MemoryRequest& request);

// The largest context per sequence, a multiple of the page and at most the model's, with which a
// plan's total is at most `memory` bytes and `device` can bind each layer's cache; 0 when none is.
absl::StatusOr<int64_t> LargestContext(const Artifact& artifact, uint32_t program,
                                       MemoryRequest request, const hal::DeviceInfo& device,
                                       uint64_t memory);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_MEMORY_PLAN_H_
