// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What one user of a program needs to call it: cache pages, arena, inputs and outputs, recorded
// lists.
#ifndef FATHOM_RUNTIME_EXEC_CONTEXT_H_
#define FATHOM_RUNTIME_EXEC_CONTEXT_H_

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/cache_memory.h"
#include "runtime/exec/expressions.h"
#include "runtime/exec/program.h"

namespace fathom {

// One call of an entry point in the flattened form of docs/spec/artifact.md. T, B, P and R follow
// from the lengths: tokens T, context_length B, page_table B x P (row-major), logit_rows R.
struct CallInputs {
  absl::Span<const int32_t> tokens;          // (T), ids below the vocabulary's size
  absl::Span<const int32_t> positions;       // (T), consecutive inside a sequence
  absl::Span<const int32_t> sequence;        // (T), 0 .. B - 1, each at least once, ascending
  absl::Span<const int32_t> page_table;      // (B, P)
  absl::Span<const int32_t> context_length;  // (B), tokens of the sequence after this call
  absl::Span<const int32_t> logit_rows;      // (R), indices into T
};

// Rows of logits in the context's own memory, valid until its next Run.
struct Logits {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t stride = 0;  // elements from row to row; the first vocab_size of them count
  absl::Span<const float> row(int64_t i, uint32_t vocab_size) const {
    return {data + i * stride, vocab_size};
  }
};

struct DispatchProfile {
  std::string kernel;
  std::string label;
  uint64_t nanoseconds = 0;
};

// Not thread-safe; contexts of one program may run at once.
class Context {
 public:
  // `cache_pages`: physical pages of the KV cache, at most Program::max_cache_pages(). Their memory
  // is taken as they are used: by the system where the device's memory allows that, else the cache
  // moves to larger buffers when a call reaches beyond it.
  static absl::StatusOr<std::unique_ptr<Context>> Create(std::shared_ptr<const Program> program,
                                                         uint32_t cache_pages);

  const Program& program() const { return *program_; }
  uint32_t cache_pages() const { return cache_pages_; }

  // Runs entry point `entry` ("prefill" or "decode") to its end. Checks every input first: a token
  // id, position, page or row out of range is an InvalidArgument and nothing has run. `profile`, if
  // given, gets one item per dispatch (and dispatches then run one by one).
  absl::StatusOr<Logits> Run(const std::string& entry, const CallInputs& inputs,
                             std::vector<DispatchProfile>* profile = nullptr);

  // Bytes held: arena, inputs, outputs (not the cache).
  uint64_t memory_bytes() const;

 private:
  struct Recording {
    const schema::EntryPoint* entry;
    CallShape shape;
    std::unique_ptr<hal::CommandBuffer> commands;
    std::vector<uint32_t> kernels;  // of each dispatch
  };
  // A buffer that is replaced by a larger one when a call needs it.
  struct Growing {
    std::shared_ptr<hal::Buffer> buffer;
    hal::MemoryUse use;
  };

  Context(std::shared_ptr<const Program> program, uint32_t cache_pages)
      : program_(std::move(program)),
        cache_pages_(cache_pages),
        cache_(program_->device(), *program_->header().kv(), cache_pages) {}
  absl::Status CheckInputs(const CallInputs& inputs, const CallShape& shape) const;
  absl::StatusOr<Recording*> FindOrRecord(const schema::EntryPoint& entry, const CallShape& shape);
  absl::StatusOr<Recording> Record(const schema::EntryPoint& entry, const CallShape& shape);
  absl::Status PlaceBuffers(const schema::EntryPoint& entry, const std::vector<int64_t>& values,
                            const CallShape& shape);
  absl::Status Grow(Growing& growing, uint64_t bytes);
  absl::Status GrowCache(uint32_t pages);

  const std::shared_ptr<const Program> program_;
  const uint32_t cache_pages_;
  CacheMemory cache_;
  Growing arena_{nullptr, hal::MemoryUse::transient};
  Growing logits_{nullptr, hal::MemoryUse::host_io};
  std::array<Growing, kInputs> inputs_;
  std::vector<hal::BufferRef> places_;  // of the entry's buffers, while recording
  std::list<Recording> recordings_;     // most recently used first
  std::shared_ptr<hal::Semaphore> done_;
  uint64_t submissions_ = 0;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_CONTEXT_H_
