// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Evaluating a command's grid, push constants and bindings.
#include "runtime/exec/record.h"

#include "runtime/base/status.h"

namespace fathom {

std::string CommandLabel(const Program& program, const schema::Command& command) {
  if (command.label() != nullptr) return command.label()->str();
  return program.header().kernels()->Get(command.kernel())->name()->str();
}

absl::Status RecordDispatch(const Program& program, const schema::EntryPoint& entry,
                            const schema::Command& command, absl::Span<const int64_t> values,
                            absl::Span<const hal::BufferRef> places, const CacheMemory& cache,
                            hal::CommandBuffer& commands) {
  const std::string label = CommandLabel(program, command);
  hal::Dispatch dispatch;
  dispatch.executable = &program.executable();
  dispatch.kernel = command.kernel();
  dispatch.label = label;
  for (uint32_t d = 0; d < 3; ++d) {
    const int64_t count = values[command.grid()->Get(d)];
    if (count < 0 || count > UINT32_MAX) {
      return InputError(label + ": grid", "out of range", "0 to 2^32 - 1", count);
    }
    dispatch.grid[d] = static_cast<uint32_t>(count);
  }
  std::vector<int64_t> push;
  for (uint32_t index : *command.push()) push.push_back(values[index]);
  std::vector<hal::BufferRef> bindings;
  for (const schema::Binding* binding : *command.bindings()) {
    if (binding->tensor() != -1) {
      bindings.push_back(
          program.TensorRef(binding->tensor(), binding->offset(), binding->length()));
      continue;
    }
    if (binding->layer() != -1) {
      bindings.push_back(cache.Layer(static_cast<uint32_t>(binding->layer())));
      continue;
    }
    const uint32_t index = static_cast<uint32_t>(binding->buffer());
    const hal::BufferRef& place = places[index];
    if (binding->offset() != 0 && binding->offset() >= place.bytes) {
      return InputError(
          absl::StrCat(label, ": binding of ", entry.buffers()->Get(index)->name()->str()),
          "outside the buffer", absl::StrCat("an offset below ", place.bytes), binding->offset());
    }
    bindings.push_back(
        {place.buffer, place.offset + binding->offset(), place.bytes - binding->offset()});
  }
  dispatch.bindings = bindings;
  dispatch.push = push;
  return commands.Append(dispatch);
}

}  // namespace fathom
