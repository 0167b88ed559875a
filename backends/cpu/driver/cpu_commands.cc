// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recording and running CPU command lists.
#include "backends/cpu/driver/cpu_commands.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"
#include "runtime/hal/command_checks.h"

namespace fathom::cpu {
namespace {

absl::Status CheckBinding(const std::string& where, const hal::BufferRef& ref, uint64_t bytes) {
  if (ref.buffer == nullptr || ref.buffer->host() == nullptr) {
    return absl::InternalError(where + ": no buffer");
  }
  if (!RangeFits(ref.offset, bytes, ref.buffer->size())) {
    return absl::OutOfRangeError(absl::StrCat(
        where, ": expected an offset of at most ",
        ref.buffer->size() - std::min(bytes, ref.buffer->size()), ", found ", ref.offset));
  }
  if (reinterpret_cast<uintptr_t>(ref.buffer->host() + ref.offset) % 64 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": expected an offset that is a multiple of 64, found ", ref.offset));
  }
  return absl::OkStatus();
}

uint64_t Now() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

// Items are workgroups. Where a grid has several rows, a run is no longer than a row: the next one
// is at another place in memory (another expert or sequence) and may be far more work, as a shared
// expert with all tokens is beside one that a few chose. Rows of one item are small, as heads are;
// to claim them one by one takes a microsecond of each dispatch.
std::vector<StagedJob::Stage> StagesOf(absl::Span<const RecordedDispatch> dispatches,
                                       const std::vector<uint32_t>& ends) {
  std::vector<StagedJob::Stage> stages;
  uint32_t index = 0;
  for (uint32_t end : ends) {
    StagedJob::Stage& stage = stages.emplace_back();
    for (; index < end; ++index) {
      const RecordedDispatch& dispatch = dispatches[index];
      stage.items += dispatch.workgroups;
      if (dispatch.x > 1 && dispatch.workgroups > dispatch.x) {
        stage.longest_run = std::min<uint64_t>(stage.longest_run, dispatch.x);
      }
    }
  }
  return stages;
}

}  // namespace

Scratch::~Scratch() {
  for (void* block : blocks_) std::free(block);
}

absl::Status Scratch::Reserve(uint64_t bytes) {
  if (bytes <= bytes_ && bytes_ != 0) return absl::OkStatus();
  bytes = RoundUp(std::max<uint64_t>(bytes, 4096), 4096);
  for (void*& block : blocks_) {
    void* larger = std::aligned_alloc(4096, bytes);
    if (larger == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for ", bytes, " bytes of scratch"));
    }
    std::free(block);
    block = larger;
  }
  bytes_ = bytes;
  return absl::OkStatus();
}

absl::Status CpuCommandBuffer::Append(const hal::Dispatch& dispatch) {
  FATHOM_RETURN_IF_ERROR(CheckOpen());
  const auto* executable = static_cast<const CpuExecutable*>(dispatch.executable);
  const std::string label(dispatch.label);
  FATHOM_RETURN_IF_ERROR(hal::CheckKernel(dispatch));
  const ImageKernel& kernel = executable->code(dispatch.kernel);
  std::vector<void*>& bindings = bindings_.emplace_back();
  for (size_t i = 0; i < dispatch.bindings.size(); ++i) {
    const hal::BufferRef& ref = dispatch.bindings[i];
    FATHOM_RETURN_IF_ERROR(CheckBinding(absl::StrCat(label, ": binding ", i), ref, ref.bytes));
    bindings.push_back(ref.buffer->host() + ref.offset);
  }
  RecordedDispatch recorded;
  recorded.code = kernel.code;
  recorded.bindings = bindings.data();
  recorded.push = push_.emplace_back(dispatch.push.begin(), dispatch.push.end()).data();
  recorded.x = dispatch.grid[0];
  recorded.y = dispatch.grid[1];
  if (!CheckedMul<uint64_t>(uint64_t{dispatch.grid[0]} * dispatch.grid[1], dispatch.grid[2],
                            &recorded.workgroups) ||
      recorded.workgroups > StagedJob::kMaxItems) {
    return absl::OutOfRangeError(label + ": the grid is too large");
  }
  scratch_bytes_ = std::max(scratch_bytes_, kernel.scratch_bytes);
  dispatches_.push_back(recorded);
  labels_.push_back(label);
  return absl::OkStatus();
}

absl::Status CpuCommandBuffer::Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) {
  FATHOM_RETURN_IF_ERROR(CheckOpen());
  FATHOM_RETURN_IF_ERROR(CheckBinding("copy: source", from, bytes));
  FATHOM_RETURN_IF_ERROR(CheckBinding("copy: destination", to, bytes));
  RecordedDispatch recorded;
  recorded.bindings = bindings_
                          .emplace_back(std::vector<void*>{from.buffer->host() + from.offset,
                                                           to.buffer->host() + to.offset})
                          .data();
  recorded.bytes = bytes;
  dispatches_.push_back(recorded);
  labels_.push_back("copy");
  return absl::OkStatus();
}

absl::Status CpuCommandBuffer::Barrier() {
  FATHOM_RETURN_IF_ERROR(CheckOpen());
  ends_.push_back(static_cast<uint32_t>(dispatches_.size()));
  return absl::OkStatus();
}

absl::Status CpuCommandBuffer::CheckOpen() const {
  if (!ended()) return absl::OkStatus();
  return absl::InternalError("recording into a command buffer that has ended");
}

absl::Status CpuCommandBuffer::End() {
  FATHOM_RETURN_IF_ERROR(CheckOpen());
  ends_.push_back(static_cast<uint32_t>(dispatches_.size()));
  ends_.erase(std::unique(ends_.begin(), ends_.end()), ends_.end());
  for (const StagedJob::Stage& stage : StagesOf(dispatches_, ends_)) {
    if (stage.items > StagedJob::kMaxItems) {
      return absl::OutOfRangeError("too many workgroups between two barriers");
    }
  }
  job_ = std::make_unique<DispatchJob>(workers_->pool, workers_->scratch, dispatches_,
                                       std::move(ends_));
  return absl::OkStatus();
}

absl::Status CpuCommandBuffer::Run(hal::DispatchTimes* times) {
  FATHOM_RETURN_IF_ERROR(workers_->scratch.Reserve(scratch_bytes_));
  if (times == nullptr) {
    job_->Run();
    return absl::OkStatus();
  }
  // Each dispatch becomes a stage of its own, so that the time of a stage is its time.
  std::vector<uint32_t> ends(dispatches_.size());
  std::iota(ends.begin(), ends.end(), 1);
  DispatchJob(workers_->pool, workers_->scratch, dispatches_, std::move(ends)).RunTimed(times);
  return absl::OkStatus();
}

namespace {

void RunGroup(const RecordedDispatch& dispatch, uint64_t group, void* scratch) {
  if (dispatch.code == nullptr) {
    std::memmove(dispatch.bindings[1], dispatch.bindings[0], dispatch.bytes);
    return;
  }
  const fathom_cpu_args args = {dispatch.bindings, dispatch.push, scratch};
  const uint64_t row = group / dispatch.x;
  dispatch.code(&args, static_cast<uint32_t>(group % dispatch.x),
                static_cast<uint32_t>(row % dispatch.y), static_cast<uint32_t>(row / dispatch.y));
}

}  // namespace

DispatchJob::DispatchJob(WorkerPool& pool, const Scratch& scratch,
                         absl::Span<const RecordedDispatch> dispatches, std::vector<uint32_t> ends)
    : StagedJob(pool, StagesOf(dispatches, ends)),
      scratch_(scratch),
      dispatches_(dispatches),
      ends_(std::move(ends)) {
  uint32_t index = 0;
  for (uint32_t end : ends_) {
    uint64_t first = 0;
    for (; index < end; ++index) {
      first_.push_back(first);
      first += dispatches_[index].workgroups;
    }
  }
}

void DispatchJob::RunTimed(std::vector<uint64_t>* times) {
  times->assign(ends_.size(), 0);
  times_ = times;
  stage_start_ = Now();
  Run();
  times_ = nullptr;
}

void DispatchJob::StageDone(size_t stage) {
  if (times_ == nullptr) return;
  const uint64_t now = Now();
  (*times_)[stage] = now - stage_start_;
  stage_start_ = now;
}

void DispatchJob::RunItems(size_t stage, uint64_t begin, uint64_t end, int worker) {
  uint32_t index = stage == 0 ? 0 : ends_[stage - 1];
  for (uint64_t item = begin; item < end; ++item) {
    while (item - first_[index] >= dispatches_[index].workgroups) ++index;
    RunGroup(dispatches_[index], item - first_[index], scratch_.of(worker));
  }
}

}  // namespace fathom::cpu
