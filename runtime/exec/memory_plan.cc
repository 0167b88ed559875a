// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Evaluating the size expressions of a program for its largest calls.
#include "runtime/exec/memory_plan.h"

#include <algorithm>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"
#include "runtime/exec/cache_memory.h"
#include "runtime/exec/expressions.h"

namespace fathom {
namespace {

constexpr int64_t kMaxContext = int64_t{1} << 40;

using Tensors = flatbuffers::Vector<flatbuffers::Offset<schema::Tensor>>;

void NoteBinding(const Tensors& tensors, const schema::EntryPoint& entry,
                 const schema::Binding& binding, const std::vector<int64_t>& values,
                 MemoryPlan* plan) {
  uint64_t bytes = 0;
  const flatbuffers::String* name = nullptr;
  if (binding.tensor() >= 0) {
    bytes = binding.length();
    name = tensors.Get(static_cast<uint32_t>(binding.tensor()))->name();
  } else {
    const schema::Buffer& buffer = *entry.buffers()->Get(static_cast<uint32_t>(binding.buffer()));
    if (buffer.kind() == schema::BufferKind::kv_cache) return;
    bytes = static_cast<uint64_t>(std::max<int64_t>(values[buffer.size()], 0));
    bytes -= std::min(binding.offset(), bytes);
    name = buffer.name();
  }
  if (bytes <= plan->longest_binding) return;
  plan->longest_binding = bytes;
  plan->longest_name = name->str();
}

// Adds the call's arena, inputs and logits to what the plan has so far.
absl::Status AddCall(const Tensors& tensors, const schema::EntryPoint& entry,
                     const CallShape& shape, MemoryPlan* plan) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int64_t> values, Evaluate(*entry.exprs(), shape));
  uint64_t io = 0;
  for (const schema::Buffer* buffer : *entry.buffers()) {
    if (buffer->kind() != schema::BufferKind::input &&
        buffer->kind() != schema::BufferKind::output) {
      continue;
    }
    const int64_t size = std::max<int64_t>(values[buffer->size()], 0);
    if (!CheckedAdd<uint64_t>(io, static_cast<uint64_t>(size), &io)) {
      return InputError(buffer->name()->str(), "size does not fit 64 bits");
    }
  }
  const uint64_t arena = static_cast<uint64_t>(std::max<int64_t>(values[entry.arena()], 0));
  plan->scratch = std::max(plan->scratch, arena);
  plan->scratch_of_entry.emplace_back(entry.name()->str(), arena);
  plan->inputs_and_logits = std::max(plan->inputs_and_logits, io);
  for (const schema::Command* command : *entry.commands()) {
    if (command->bindings() == nullptr) continue;
    for (const schema::Binding* binding : *command->bindings()) {
      NoteBinding(tensors, entry, *binding, values, plan);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCalls(int32_t sequences, int32_t chunk) {
  if (sequences < 1 || sequences > kMaxSequences) {
    return InputError("sequences", "out of range", absl::StrCat("1 to ", kMaxSequences), sequences);
  }
  if (chunk < 1 || chunk > kMaxChunk) {
    return InputError("chunk", "out of range", absl::StrCat("1 to ", kMaxChunk), chunk);
  }
  return absl::OkStatus();
}

absl::StatusOr<MemoryPlan> PlanMemory(const Artifact& artifact, uint32_t program,
                                      const MemoryRequest& request) {
  const schema::Program& header = *artifact.header().programs()->Get(program);
  if (request.context < 1 || request.context > kMaxContext) {
    return InputError("ctx-size", "out of range", absl::StrCat("1 to ", kMaxContext),
                      request.context);
  }
  FATHOM_RETURN_IF_ERROR(CheckCalls(request.sequences, request.chunk));
  MemoryPlan plan;
  for (const schema::Segment* segment : *artifact.header().segments()) {
    if (segment->kind() == schema::SegmentKind::weights) plan.weights += segment->length();
  }
  const uint64_t pages =
      CeilDiv(static_cast<uint64_t>(request.context), header.kv()->page_tokens());
  if (!CheckedMul<uint64_t>(pages * static_cast<uint64_t>(request.sequences),
                            header.kv()->page_bytes(), &plan.cache)) {
    return InputError("ctx-size", "the cache does not fit 64 bits");
  }
  for (const schema::EntryPoint* entry : *header.entries()) {
    // A decode step has one token per sequence, or few tokens of a prompt; any other call is filled
    // up to the chunk.
    const bool decode = entry->name()->str() == "decode";
    CallShape shape;
    shape.sequences = request.sequences;
    const int64_t most = std::max<int64_t>(request.chunk, shape.sequences);
    const int64_t few = std::min<int64_t>(entry->few_tokens(), most);
    shape.tokens = decode ? std::max(shape.sequences, few) : most;
    shape.rows = shape.sequences;
    shape.pages = static_cast<int64_t>(pages);
    absl::Status status = AddCall(*artifact.header().tensors(), *entry, shape, &plan);
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat(artifact.path(), ": ", entry->name()->str(),
                                                      ": ", status.message()));
    }
  }
  plan.total = plan.weights;
  for (uint64_t part : {plan.cache, plan.scratch, plan.inputs_and_logits}) {
    if (!CheckedAdd<uint64_t>(plan.total, part, &plan.total)) {
      return InputError(artifact.path(), "the memory it needs does not fit 64 bits");
    }
  }
  return plan;
}

absl::StatusOr<int64_t> LargestContext(const Artifact& artifact, uint32_t program,
                                       MemoryRequest request, const hal::DeviceInfo& device,
                                       uint64_t memory) {
  const schema::KvCache& kv = *artifact.header().programs()->Get(program)->kv();
  const int64_t model = static_cast<int64_t>(artifact.header().model()->context_length());
  // In pages; everything grows with them, so halving the interval finds the last that fits.
  int64_t fits = 0;
  int64_t fails = std::min<int64_t>(CeilDiv(static_cast<uint64_t>(model), kv.page_tokens()),
                                    MaxCachePages(device, kv) / request.sequences) +
                  1;
  while (fails - fits > 1) {
    const int64_t middle = fits + (fails - fits) / 2;
    request.context = middle * kv.page_tokens();
    FATHOM_ASSIGN_OR_RETURN(const MemoryPlan plan, PlanMemory(artifact, program, request));
    (plan.total <= memory ? fits : fails) = middle;
  }
  return std::min(fits * kv.page_tokens(), model);
}

}  // namespace fathom
