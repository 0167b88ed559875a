// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One buffer per buffer, one submission per dispatch.
#include "runtime/exec/step_runner.h"

#include "runtime/base/status.h"
#include "runtime/exec/record.h"
#include "runtime/exec/transfer.h"

namespace fathom {

absl::StatusOr<std::unique_ptr<StepRunner>> StepRunner::Create(
    std::shared_ptr<const Program> program, const schema::EntryPoint& entry, const CallShape& shape,
    std::shared_ptr<const CacheMemory> cache) {
  std::unique_ptr<StepRunner> runner(
      new StepRunner(std::move(program), entry, shape, std::move(cache)));
  FATHOM_ASSIGN_OR_RETURN(runner->values_, Evaluate(*entry.exprs(), shape));
  hal::Device& device = runner->program_->device();
  for (const schema::Buffer* buffer : *entry.buffers()) {
    std::shared_ptr<hal::Buffer> memory;
    uint64_t bytes = 0;
    if (buffer->kind() != schema::BufferKind::kv_cache) {
      const int64_t size = runner->values_[buffer->size()];
      if (size < 0) {
        return InputError("buffer " + buffer->name()->str(), "size", "at least 0", size);
      }
      bytes = static_cast<uint64_t>(size);
      // Cache memory is the kind that begins as zero.
      FATHOM_ASSIGN_OR_RETURN(memory, device.allocator().Allocate(bytes, hal::MemoryUse::cache));
    }
    runner->places_.push_back({memory.get(), 0, bytes});
    runner->buffers_.push_back(std::move(memory));
  }
  return runner;
}

absl::StatusOr<std::vector<uint8_t>> StepRunner::Read(Place place) const {
  std::vector<uint8_t> content(bytes(place));
  FATHOM_RETURN_IF_ERROR(Download(program_->device(), RefOf(place), absl::MakeSpan(content)));
  return content;
}

absl::Status StepRunner::Write(Place place, absl::Span<const uint8_t> content) {
  if (content.size() != bytes(place)) {
    return absl::InternalError(
        absl::StrCat("writing ", content.size(), " bytes to a buffer of ", bytes(place)));
  }
  return Upload(program_->device(), content, RefOf(place));
}

int StepRunner::FindBuffer(const std::string& name) const {
  for (uint32_t i = 0; i < entry_->buffers()->size(); ++i) {
    if (entry_->buffers()->Get(i)->name()->str() == name) return static_cast<int>(i);
  }
  return -1;
}

absl::Status StepRunner::Run(uint32_t index) {
  const schema::Command& command = *entry_->commands()->Get(index);
  if (command.kind() == schema::CommandKind::barrier) return absl::OkStatus();
  hal::Device& device = program_->device();
  const std::unique_ptr<hal::CommandBuffer> commands = device.CreateCommandBuffer();
  FATHOM_RETURN_IF_ERROR(
      RecordDispatch(*program_, *entry_, command, values_, places_, *cache_, *commands));
  FATHOM_RETURN_IF_ERROR(commands->End());
  const std::shared_ptr<hal::Semaphore> done = device.CreateSemaphore(0);
  FATHOM_RETURN_IF_ERROR(device.queue().Submit({commands.get(), {}, {{done, 1}}, nullptr}));
  return done->Wait(1);
}

}  // namespace fathom
