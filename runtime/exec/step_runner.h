// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running an entry point one dispatch at a time, with every buffer open to inspection.
#ifndef FATHOM_RUNTIME_EXEC_STEP_RUNNER_H_
#define FATHOM_RUNTIME_EXEC_STEP_RUNNER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/expressions.h"
#include "runtime/exec/program.h"

namespace fathom {

// A call of one entry point in one shape. Each of its buffers has memory of its own, zero at first,
// so that all keep their content to the end of the call (a Context shares one arena between them).
// For finding faults, not for speed: a dispatch is submitted and waited for by itself.
class StepRunner {
 public:
  // `cache`: the KV cache, of the program's device; shared by the calls of one sequence.
  static absl::StatusOr<std::unique_ptr<StepRunner>> Create(std::shared_ptr<const Program> program,
                                                            const schema::EntryPoint& entry,
                                                            const CallShape& shape,
                                                            std::shared_ptr<hal::Buffer> cache);

  const Program& program() const { return *program_; }
  const schema::EntryPoint& entry() const { return *entry_; }
  const CallShape& shape() const { return shape_; }
  // The value of expression `index` of the entry.
  int64_t value(uint32_t index) const { return values_[index]; }

  uint64_t bytes(uint32_t buffer) const { return places_[buffer].bytes; }
  absl::StatusOr<std::vector<uint8_t>> Read(uint32_t buffer) const;
  // `content` has bytes(buffer) bytes.
  absl::Status Write(uint32_t buffer, absl::Span<const uint8_t> content);
  // The number of the buffer called `name`, or -1; the first of several.
  int FindBuffer(const std::string& name) const;

  // Runs command `index` of the entry; barriers do nothing.
  absl::Status Run(uint32_t index);

 private:
  StepRunner(std::shared_ptr<const Program> program, const schema::EntryPoint& entry,
             const CallShape& shape)
      : program_(std::move(program)), entry_(&entry), shape_(shape) {}

  const std::shared_ptr<const Program> program_;
  const schema::EntryPoint* const entry_;
  const CallShape shape_;
  std::vector<int64_t> values_;
  std::vector<std::shared_ptr<hal::Buffer>> buffers_;
  std::vector<hal::BufferRef> places_;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_STEP_RUNNER_H_
