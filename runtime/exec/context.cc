// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checking a call, recording its command list for the shape, running it.
#include "runtime/exec/context.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"
#include "runtime/exec/record.h"
#include "runtime/exec/transfer.h"

namespace fathom {
namespace {

// A decode loop needs one list per page of context, a prefill two per prompt.
constexpr size_t kMaxRecordings = 32;
constexpr int64_t kMaxTokens = 1 << 20;     // of one call
constexpr int64_t kMaxPageTable = 1 << 26;  // B x P

absl::Status RangeError(const char* input, size_t index, const std::string& expected,
                        int64_t found) {
  return InputError(absl::StrCat(input, "[", index, "]"), "out of range", expected, found);
}

absl::Status CheckBelow(const char* input, absl::Span<const int32_t> values, int64_t limit) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] >= limit) {
      return RangeError(input, i, absl::StrCat("0 to ", limit - 1), values[i]);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<CallShape> ShapeOf(const CallInputs& inputs) {
  CallShape shape;
  shape.tokens = static_cast<int64_t>(inputs.tokens.size());
  shape.sequences = static_cast<int64_t>(inputs.context_length.size());
  shape.rows = static_cast<int64_t>(inputs.logit_rows.size());
  if (shape.tokens < 1 || shape.tokens > kMaxTokens) {
    return InputError("tokens", "count", absl::StrCat("1 to ", kMaxTokens), shape.tokens);
  }
  if (inputs.positions.size() != inputs.tokens.size() ||
      inputs.sequence.size() != inputs.tokens.size()) {
    return InputError("positions and sequence", "count", shape.tokens,
                      absl::StrCat(inputs.positions.size(), " and ", inputs.sequence.size()));
  }
  if (shape.sequences < 1 || shape.sequences > shape.tokens) {
    return InputError("context_length", "count", "1 to the number of tokens", shape.sequences);
  }
  if (shape.rows < 1 || shape.rows > shape.tokens) {
    return InputError("logit_rows", "count", "1 to the number of tokens", shape.rows);
  }
  const int64_t table = static_cast<int64_t>(inputs.page_table.size());
  if (table == 0 || table > kMaxPageTable || table % shape.sequences != 0) {
    return InputError("page_table", "count", "a multiple of the number of sequences", table);
  }
  shape.pages = table / shape.sequences;
  return shape;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Context>> Context::Create(std::shared_ptr<const Program> program,
                                                         uint32_t cache_pages) {
  const Program& loaded = *program;
  uint64_t bytes = 0;
  // Half of what 64 bits count, so that gaps between the layers fit as well.
  if (cache_pages == 0 || cache_pages > INT32_MAX ||
      !CheckedMul<uint64_t>(cache_pages, loaded.page_bytes(), &bytes) || bytes > INT64_MAX) {
    return InputError("cache pages", "out of range", "1 to 2^31 - 1, together below 2^63 bytes",
                      cache_pages);
  }
  if (cache_pages > loaded.max_cache_pages()) {
    return UnsupportedError(
        loaded.device().info().id,
        absl::StrCat("a cache of ", cache_pages, " pages (", bytes, " bytes) for ",
                     uint64_t{cache_pages} * loaded.page_tokens(), " tokens; ",
                     loaded.device().info().name, " can bind ", loaded.max_cache_pages(),
                     " pages of a layer at once, ",
                     uint64_t{loaded.max_cache_pages()} * loaded.page_tokens(), " tokens"));
  }
  hal::Device& device = loaded.device();
  std::unique_ptr<Context> context(new Context(std::move(program), cache_pages));
  if (device.info().cache_on_demand) FATHOM_RETURN_IF_ERROR(context->GrowCache(cache_pages));
  for (Growing& input : context->inputs_) input.use = hal::MemoryUse::host_io;
  context->done_ = device.CreateSemaphore(0);
  return context;
}

absl::Status Context::CheckInputs(const CallInputs& inputs, const CallShape& shape) const {
  FATHOM_RETURN_IF_ERROR(CheckBelow("tokens", inputs.tokens, program_->vocab_size()));
  FATHOM_RETURN_IF_ERROR(CheckBelow("logit_rows", inputs.logit_rows, shape.tokens));
  FATHOM_RETURN_IF_ERROR(CheckBelow("page_table", inputs.page_table, cache_pages_));
  const int64_t limit = shape.pages * program_->page_tokens();
  for (size_t b = 0; b < inputs.context_length.size(); ++b) {
    if (inputs.context_length[b] < 1 || inputs.context_length[b] > limit) {
      return RangeError("context_length", b, absl::StrCat("1 to ", limit),
                        inputs.context_length[b]);
    }
  }
  // Kernels rely on the order: sequences ascending and complete, positions consecutive up to the
  // end.
  for (size_t t = 0; t < inputs.tokens.size(); ++t) {
    const int64_t previous = t == 0 ? -1 : inputs.sequence[t - 1];
    const int64_t sequence = inputs.sequence[t];
    const bool starts = sequence == previous + 1;
    if ((!starts && sequence != previous) || sequence >= shape.sequences) {
      return RangeError("sequence", t, absl::StrCat("ascending, below ", shape.sequences),
                        sequence);
    }
    if (inputs.positions[t] < 0 ||
        (!starts && inputs.positions[t] != inputs.positions[t - 1] + 1)) {
      return RangeError("positions", t, "consecutive inside a sequence", inputs.positions[t]);
    }
    const bool last = t + 1 == inputs.tokens.size() || inputs.sequence[t + 1] != sequence;
    if (last && inputs.positions[t] != inputs.context_length[sequence] - 1) {
      return RangeError("positions", t,
                        absl::StrCat("context_length - 1 = ", inputs.context_length[sequence] - 1),
                        inputs.positions[t]);
    }
  }
  if (inputs.sequence.back() != shape.sequences - 1) {
    return InputError("sequence", "number of sequences", shape.sequences,
                      int64_t{inputs.sequence.back()} + 1);
  }
  return absl::OkStatus();
}

absl::StatusOr<Logits> Context::Run(const std::string& entry_name, const CallInputs& inputs,
                                    std::vector<DispatchProfile>* profile) {
  const schema::EntryPoint* entry = program_->FindEntry(entry_name);
  if (entry == nullptr) {
    return InputError(program_->artifact().path(), absl::StrCat("no entry point ", entry_name));
  }
  FATHOM_ASSIGN_OR_RETURN(const CallShape shape, ShapeOf(inputs));
  FATHOM_RETURN_IF_ERROR(CheckInputs(inputs, shape));
  const int32_t last_page = *std::max_element(inputs.page_table.begin(), inputs.page_table.end());
  FATHOM_RETURN_IF_ERROR(GrowCache(static_cast<uint32_t>(last_page) + 1));
  FATHOM_ASSIGN_OR_RETURN(Recording * recording, FindOrRecord(*entry, shape));
  const absl::Span<const int32_t> values[kInputs] = {inputs.tokens,         inputs.positions,
                                                     inputs.sequence,       inputs.page_table,
                                                     inputs.context_length, inputs.logit_rows};
  for (size_t i = 0; i < kInputs; ++i) {
    std::memcpy(inputs_[i].buffer->host(), values[i].data(), values[i].size() * sizeof(int32_t));
  }

  hal::DispatchTimes times;
  hal::Submission submission;
  submission.commands = recording->commands.get();
  submission.signal.push_back({done_, ++submissions_});
  submission.times = profile != nullptr ? &times : nullptr;
  FATHOM_RETURN_IF_ERROR(program_->device().queue().Submit(std::move(submission)));
  FATHOM_RETURN_IF_ERROR(done_->Wait(submissions_));
  if (profile != nullptr) {
    profile->clear();
    for (size_t i = 0; i < times.size(); ++i) {
      profile->push_back({program_->executable().kernels()[recording->kernels[i]].name,
                          recording->commands->labels()[i], times[i]});
    }
  }
  return Logits{reinterpret_cast<const float*>(logits_.buffer->host()), shape.rows,
                program_->logits_stride()};
}

absl::StatusOr<Context::Recording*> Context::FindOrRecord(const schema::EntryPoint& entry,
                                                          const CallShape& shape) {
  for (auto it = recordings_.begin(); it != recordings_.end(); ++it) {
    if (it->entry == &entry && it->shape == shape) {
      recordings_.splice(recordings_.begin(), recordings_, it);
      return &recordings_.front();
    }
  }
  absl::StatusOr<Recording> recording = Record(entry, shape);
  if (!recording.ok()) {
    return absl::Status(recording.status().code(),
                        absl::StrCat(program_->artifact().path(), ": ", entry.name()->str(), ": ",
                                     recording.status().message()));
  }
  recordings_.push_front(*std::move(recording));
  if (recordings_.size() > kMaxRecordings) recordings_.pop_back();
  return &recordings_.front();
}

absl::Status Context::Grow(Growing& growing, uint64_t bytes) {
  if (growing.buffer != nullptr && growing.buffer->size() >= bytes) return absl::OkStatus();
  // Recorded lists point into the old memory.
  recordings_.clear();
  growing.buffer.reset();
  FATHOM_ASSIGN_OR_RETURN(growing.buffer,
                          program_->device().allocator().Allocate(bytes, growing.use));
  if (growing.use == hal::MemoryUse::host_io && growing.buffer->host() == nullptr) {
    return absl::InternalError("the device gave input memory that the host cannot reach");
  }
  return absl::OkStatus();
}

absl::Status Context::GrowCache(uint32_t pages) {
  if (pages <= cache_.pages()) return absl::OkStatus();
  // Recorded lists point into the old memory.
  recordings_.clear();
  const absl::Status grown = cache_.Grow(pages);
  if (grown.ok()) return grown;
  return absl::Status(grown.code(),
                      absl::StrCat("KV cache of ", uint64_t{pages} * program_->page_tokens(),
                                   " tokens: ", grown.message()));
}

absl::Status Context::PlaceBuffers(const schema::EntryPoint& entry,
                                   const std::vector<int64_t>& values, const CallShape& shape) {
  const int64_t arena_bytes = values[entry.arena()];
  if (arena_bytes < 0) return InputError("arena", "size", "at least 0", arena_bytes);
  FATHOM_RETURN_IF_ERROR(Grow(arena_, static_cast<uint64_t>(arena_bytes)));
  const int64_t needed[kInputs] = {shape.tokens,    shape.tokens,
                                   shape.tokens,    shape.sequences * shape.pages,
                                   shape.sequences, shape.rows};
  for (size_t i = 0; i < kInputs; ++i) {
    // With room to grow, so that a context that gains a page does not move its page table.
    const uint64_t bytes = RoundUp(static_cast<uint64_t>(needed[i]) * sizeof(int32_t), 4096);
    FATHOM_RETURN_IF_ERROR(Grow(inputs_[i], bytes));
  }
  const uint64_t logits_bytes =
      static_cast<uint64_t>(shape.rows) * program_->logits_stride() * sizeof(float);
  FATHOM_RETURN_IF_ERROR(Grow(logits_, logits_bytes));

  places_.assign(entry.buffers()->size(), {});
  size_t input = 0;
  for (uint32_t i = 0; i < entry.buffers()->size(); ++i) {
    const schema::Buffer& buffer = *entry.buffers()->Get(i);
    const std::string where = "buffer " + buffer.name()->str();
    const int64_t size = values[buffer.size()];
    if (size < 0) return InputError(where, "size", "at least 0", size);
    const uint64_t bytes = static_cast<uint64_t>(size);
    switch (buffer.kind()) {
      case schema::BufferKind::transient: {
        const int64_t offset = values[buffer.offset()];
        if (offset < 0 || !RangeFits(offset, size, arena_bytes)) {
          return InputError(where, "outside the arena",
                            absl::StrCat("an end of at most ", arena_bytes),
                            absl::StrCat("offset ", offset, " + size ", size));
        }
        places_[i] = {arena_.buffer.get(), static_cast<uint64_t>(offset), bytes};
        break;
      }
      case schema::BufferKind::input:
        // A program that reads more than the call holds would read beyond what was copied.
        if (size > needed[input] * int64_t{sizeof(int32_t)}) {
          return InputError(where, "size", absl::StrCat("at most ", needed[input] * 4), size);
        }
        places_[i] = {inputs_[input++].buffer.get(), 0, bytes};
        break;
      case schema::BufferKind::output:
        if (bytes != logits_bytes) return InputError(where, "size", logits_bytes, size);
        places_[i] = {logits_.buffer.get(), 0, bytes};
        break;
      case schema::BufferKind::kv_cache:
        // Bound by its layers.
        break;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Context::Recording> Context::Record(const schema::EntryPoint& entry,
                                                   const CallShape& shape) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int64_t> values, Evaluate(*entry.exprs(), shape));
  FATHOM_RETURN_IF_ERROR(PlaceBuffers(entry, values, shape));
  Recording recording{&entry, shape, program_->device().CreateCommandBuffer(), {}};
  for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
    const schema::Command& command = *entry.commands()->Get(i);
    if (command.kind() == schema::CommandKind::barrier) {
      FATHOM_RETURN_IF_ERROR(recording.commands->Barrier());
      continue;
    }
    absl::Status status =
        RecordDispatch(*program_, entry, command, values, places_, cache_, *recording.commands);
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat("command ", i, ": ", status.message()));
    }
    recording.kernels.push_back(command.kernel());
  }
  FATHOM_RETURN_IF_ERROR(recording.commands->End());
  return recording;
}

uint64_t Context::memory_bytes() const {
  uint64_t bytes = 0;
  for (const Growing* growing : {&arena_, &logits_}) {
    if (growing->buffer != nullptr) bytes += growing->buffer->size();
  }
  for (const Growing& input : inputs_) {
    if (input.buffer != nullptr) bytes += input.buffer->size();
  }
  return bytes;
}

}  // namespace fathom
