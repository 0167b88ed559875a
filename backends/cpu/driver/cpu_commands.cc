// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recording and running CPU command lists.
#include "backends/cpu/driver/cpu_commands.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom::cpu {
namespace {

absl::Status CheckBinding(const std::string& where, const hal::BufferRef& ref, uint64_t bytes) {
  if (ref.buffer == nullptr || ref.buffer->host() == nullptr) {
    return absl::InternalError(where + ": no buffer");
  }
  if (!RangeFits(ref.offset, bytes, ref.buffer->size())) {
    return absl::OutOfRangeError(absl::StrCat(where, ": expected an offset of at most ",
                                              ref.buffer->size() - std::min(bytes, ref.buffer->size()),
                                              ", found ", ref.offset));
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
      return absl::ResourceExhaustedError(absl::StrCat("no memory for ", bytes, " bytes of scratch"));
    }
    std::free(block);
    block = larger;
  }
  bytes_ = bytes;
  return absl::OkStatus();
}

absl::Status CpuCommandBuffer::Append(const hal::Dispatch& dispatch) {
  if (ended_) return absl::InternalError("recording into a command buffer that has ended");
  const auto* executable = static_cast<const CpuExecutable*>(dispatch.executable);
  const std::string label(dispatch.label);
  if (executable == nullptr || dispatch.kernel >= executable->kernels().size()) {
    return absl::InternalError(absl::StrCat(label, ": no kernel ", dispatch.kernel));
  }
  const ImageKernel& kernel = executable->code(dispatch.kernel);
  if (dispatch.bindings.size() != kernel.bindings || dispatch.push.size() != kernel.push) {
    return absl::InternalError(absl::StrCat(
        label, ": ", kernel.name, " takes ", kernel.bindings, " bindings and ", kernel.push,
        " push constants, found ", dispatch.bindings.size(), " and ", dispatch.push.size()));
  }
  std::vector<void*>& bindings = bindings_.emplace_back();
  for (size_t i = 0; i < dispatch.bindings.size(); ++i) {
    const hal::BufferRef& ref = dispatch.bindings[i];
    FATHOM_RETURN_IF_ERROR(CheckBinding(absl::StrCat(label, ": binding ", i), ref, 0));
    bindings.push_back(ref.buffer->host() + ref.offset);
  }
  Recorded recorded;
  recorded.code = kernel.code;
  recorded.bindings = bindings.data();
  recorded.push = push_.emplace_back(dispatch.push.begin(), dispatch.push.end()).data();
  recorded.x = dispatch.grid[0];
  recorded.y = dispatch.grid[1];
  if (!CheckedMul<uint64_t>(uint64_t{dispatch.grid[0]} * dispatch.grid[1], dispatch.grid[2],
                            &recorded.workgroups) ||
      recorded.workgroups >= uint64_t{1} << 48) {
    return absl::OutOfRangeError(label + ": the grid is too large");
  }
  scratch_bytes_ = std::max(scratch_bytes_, kernel.scratch_bytes);
  dispatches_.push_back(recorded);
  labels_.push_back(label);
  return absl::OkStatus();
}

absl::Status CpuCommandBuffer::Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) {
  if (ended_) return absl::InternalError("recording into a command buffer that has ended");
  FATHOM_RETURN_IF_ERROR(CheckBinding("copy: source", from, bytes));
  FATHOM_RETURN_IF_ERROR(CheckBinding("copy: destination", to, bytes));
  Recorded recorded;
  recorded.bindings =
      bindings_.emplace_back(std::vector<void*>{from.buffer->host() + from.offset,
                                                to.buffer->host() + to.offset}).data();
  recorded.bytes = bytes;
  dispatches_.push_back(recorded);
  labels_.push_back("copy");
  return absl::OkStatus();
}

absl::Status CpuCommandBuffer::Barrier() {
  if (ended_) return absl::InternalError("recording into a command buffer that has ended");
  barriers_.push_back(static_cast<uint32_t>(dispatches_.size()));
  return absl::OkStatus();
}

CpuCommandBuffer::Stage CpuCommandBuffer::MakeStage(std::vector<Recorded>& dispatches,
                                                    uint32_t begin, uint32_t end) {
  Stage stage{begin, end, 0};
  for (uint32_t i = begin; i < end; ++i) {
    dispatches[i].first = stage.workgroups;
    stage.workgroups += dispatches[i].workgroups;
  }
  return stage;
}

absl::Status CpuCommandBuffer::End() {
  if (ended_) return absl::InternalError("a command buffer was ended twice");
  barriers_.push_back(static_cast<uint32_t>(dispatches_.size()));
  uint32_t begin = 0;
  for (uint32_t end : barriers_) {
    const Stage stage = MakeStage(dispatches_, begin, end);
    if (stage.workgroups != 0) stages_.push_back(stage);
    begin = end;
  }
  ended_ = true;
  return absl::OkStatus();
}

void CpuCommandBuffer::RunGroup(const Recorded& dispatch, uint64_t group, void* scratch) {
  if (dispatch.code == nullptr) {
    std::memmove(dispatch.bindings[1], dispatch.bindings[0], dispatch.bytes);
    return;
  }
  const fathom_cpu_args args = {dispatch.bindings, dispatch.push, scratch};
  const uint64_t row = group / dispatch.x;
  dispatch.code(&args, static_cast<uint32_t>(group % dispatch.x),
                static_cast<uint32_t>(row % dispatch.y), static_cast<uint32_t>(row / dispatch.y));
}

// Workers take runs of workgroups that shrink as the stage empties: long runs first, so that a worker
// streams through neighbouring memory, single ones last, so that all finish together.
void CpuCommandBuffer::RunStage(const Stage& stage, int workers, void* scratch) {
  uint64_t begin = next_.load(std::memory_order_relaxed);
  const uint64_t share = 4 * static_cast<uint64_t>(workers);
  while (begin < stage.workgroups) {
    const uint64_t end = begin + std::max<uint64_t>(1, (stage.workgroups - begin) / share);
    if (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    uint32_t index = stage.begin;
    while (index + 1 < stage.end && dispatches_[index + 1].first <= begin) ++index;
    for (uint64_t group = begin; group < end; ++group) {
      while (group - dispatches_[index].first >= dispatches_[index].workgroups) ++index;
      RunGroup(dispatches_[index], group - dispatches_[index].first, scratch);
    }
    begin = next_.load(std::memory_order_relaxed);
  }
}

void CpuCommandBuffer::Run(WorkerPool& pool, const Scratch& scratch, hal::DispatchTimes* times) {
  std::vector<Recorded> original;
  std::vector<Stage> stages;
  if (times != nullptr) {
    // Each dispatch becomes a stage of its own, so that the time between two barriers is its time.
    times->assign(dispatches_.size(), 0);
    original = dispatches_;
    for (uint32_t i = 0; i < dispatches_.size(); ++i) stages.push_back(MakeStage(dispatches_, i, i + 1));
  }
  const std::vector<Stage>& list = times != nullptr ? stages : stages_;
  next_.store(0, std::memory_order_relaxed);
  uint64_t start = Now();
  pool.Run([&](int worker) {
    for (size_t i = 0; i < list.size(); ++i) {
      RunStage(list[i], pool.workers(), scratch.of(worker));
      pool.barrier().Arrive([&] {
        next_.store(0, std::memory_order_relaxed);
        if (times == nullptr) return;
        const uint64_t now = Now();
        (*times)[i] = now - start;
        start = now;
      });
    }
  });
  if (times != nullptr) dispatches_ = std::move(original);
}

}  // namespace fathom::cpu
