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
#include "runtime/exec/cache_memory.h"
#include "runtime/exec/expressions.h"
#include "runtime/exec/program.h"

namespace fathom {

// A call of one entry point in one shape. Each of its buffers has memory of its own, zero at first,
// so that all keep their content to the end of the call (a Context shares one arena between them).
// For finding faults, not for speed: a dispatch is submitted and waited for by itself.
class StepRunner {
 public:
  // `cache`: with the pages of the call, of the program's device; shared by the calls of one
  // sequence. It does not grow while the runner lives.
  static absl::StatusOr<std::unique_ptr<StepRunner>> Create(
      std::shared_ptr<const Program> program, const schema::EntryPoint& entry,
      const CallShape& shape, std::shared_ptr<const CacheMemory> cache);

  const Program& program() const { return *program_; }
  const schema::EntryPoint& entry() const { return *entry_; }
  const CallShape& shape() const { return shape_; }
  // The value of expression `index` of the entry.
  int64_t value(uint32_t index) const { return values_[index]; }

  // A buffer of the entry, or with a `layer` that part of its cache.
  struct Place {
    uint32_t buffer = 0;
    int32_t layer = -1;
    bool operator==(const Place& other) const {
      return buffer == other.buffer && layer == other.layer;
    }
  };
  uint64_t bytes(Place place) const { return RefOf(place).bytes; }
  absl::StatusOr<std::vector<uint8_t>> Read(Place place) const;
  // `content` has bytes(place) bytes.
  absl::Status Write(Place place, absl::Span<const uint8_t> content);
  // The number of the buffer called `name`, or -1; the first of several.
  int FindBuffer(const std::string& name) const;

  // Runs command `index` of the entry; barriers do nothing.
  absl::Status Run(uint32_t index);

 private:
  StepRunner(std::shared_ptr<const Program> program, const schema::EntryPoint& entry,
             const CallShape& shape, std::shared_ptr<const CacheMemory> cache)
      : program_(std::move(program)), entry_(&entry), shape_(shape), cache_(std::move(cache)) {}
  hal::BufferRef RefOf(Place place) const {
    return place.layer < 0 ? places_[place.buffer]
                           : cache_->Layer(static_cast<uint32_t>(place.layer));
  }

  const std::shared_ptr<const Program> program_;
  const schema::EntryPoint* const entry_;
  const CallShape shape_;
  const std::shared_ptr<const CacheMemory> cache_;
  std::vector<int64_t> values_;
  std::vector<std::shared_ptr<hal::Buffer>> buffers_;
  std::vector<hal::BufferRef> places_;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_STEP_RUNNER_H_
