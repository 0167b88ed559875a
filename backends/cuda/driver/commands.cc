// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recording, capturing and running.
#include "backends/cuda/driver/commands.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "runtime/base/status.h"
#include "runtime/hal/command_checks.h"

namespace fathom::cuda {
namespace {

constexpr uint64_t kAlignment = 64;  // of offsets

CuPointer AddressOf(const hal::BufferRef& ref) {
  return static_cast<const CudaBuffer*>(ref.buffer)->device() + ref.offset;
}

}  // namespace

CudaCommandBuffer::~CudaCommandBuffer() {
  const ScopedContext scope(*gpu_);
  if (graph_ != nullptr) (void)gpu_->api().GraphExecDestroy(graph_);
  for (CuEvent event : events_) (void)gpu_->api().EventDestroy(event);
}

absl::Status CudaCommandBuffer::Append(const hal::Dispatch& dispatch) {
  FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
  const std::string label(dispatch.label);
  const auto* executable = static_cast<const CudaExecutable*>(dispatch.executable);
  FATHOM_RETURN_IF_ERROR(hal::CheckKernel(dispatch));
  const LoadedKernel& kernel = executable->kernel(dispatch.kernel);
  const auto& most = gpu_->facts().max_grid;
  for (int d = 0; d < 3; ++d) {
    if (dispatch.grid[d] <= most[d]) continue;
    return UnsupportedError(
        label, absl::StrCat(kernel.image.name, ": a grid of ", absl::StrJoin(dispatch.grid, " x "),
                            " blocks; ", gpu_->facts().name, " takes at most ",
                            absl::StrJoin(most, " x ")));
  }
  Command command;
  command.kernel = &kernel;
  command.grid = dispatch.grid;
  command.arguments = arguments_.size();
  for (size_t i = 0; i < dispatch.bindings.size(); ++i) {
    const hal::BufferRef& ref = dispatch.bindings[i];
    FATHOM_RETURN_IF_ERROR(
        hal::CheckRef(absl::StrCat(label, ": binding ", i), ref, ref.bytes, kAlignment));
  }
  for (const hal::BufferRef& ref : dispatch.bindings) arguments_.push_back(AddressOf(ref));
  for (int64_t value : dispatch.push) arguments_.push_back(static_cast<uint64_t>(value));
  commands_.push_back(command);
  labels_.push_back(label);
  return absl::OkStatus();
}

absl::Status CudaCommandBuffer::Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) {
  FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
  FATHOM_RETURN_IF_ERROR(hal::CheckCopy(from, to, bytes));
  Command command;
  command.from = AddressOf(from);
  command.to = AddressOf(to);
  command.bytes = bytes;
  commands_.push_back(command);
  labels_.push_back("copy");
  return absl::OkStatus();
}

absl::Status CudaCommandBuffer::End() {
  FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
  ended_ = true;
  return absl::OkStatus();
}

std::string CudaCommandBuffer::Name(size_t index) const {
  const Command& command = commands_[index];
  const std::string& label = labels_[index];
  if (command.kernel == nullptr || command.kernel->image.name == label) return label;
  return absl::StrCat(label, " (kernel ", command.kernel->image.name, ")");
}

absl::Status CudaCommandBuffer::Run(hal::DispatchTimes* times) {
  const ScopedContext scope(*gpu_);
  FATHOM_RETURN_IF_ERROR(scope.status());
  if (times != nullptr) return RunTimed(times);
  if (!has_run_) {
    FATHOM_RETURN_IF_ERROR(RunOneByOne());
    has_run_ = true;
    return absl::OkStatus();
  }
  if (gpu_->api().has_graphs()) return RunGraph();
  FATHOM_RETURN_IF_ERROR(GiveAll());
  return Wait(labels_.empty() ? "an empty list"
                              : absl::StrCat("one of ", labels_.size(), " dispatches from ",
                                             Name(0), " to ", Name(labels_.size() - 1)));
}

absl::Status CudaCommandBuffer::Wait(const std::string& what) {
  return gpu_->api().Check(gpu_->api().StreamSynchronize(gpu_->stream()), what);
}

// Gives one command to the stream.
absl::Status CudaCommandBuffer::Give(size_t index) {
  const CudaApi& cuda = gpu_->api();
  const Command& command = commands_[index];
  if (command.empty()) return absl::OkStatus();
  if (command.kernel == nullptr) {
    return cuda.Check(cuda.MemcpyDtoDAsync(command.to, command.from, command.bytes, gpu_->stream()),
                      "copy");
  }
  const ImageKernel& kernel = command.kernel->image;
  std::vector<void*> parameters(kernel.bindings + kernel.push);
  for (size_t i = 0; i < parameters.size(); ++i) {
    parameters[i] = &arguments_[command.arguments + i];
  }
  const CuResult result =
      cuda.LaunchKernel(command.kernel->function, command.grid[0], command.grid[1], command.grid[2],
                        kernel.workgroup[0], kernel.workgroup[1], kernel.workgroup[2],
                        kernel.shared_bytes, gpu_->stream(), parameters.data(), nullptr);
  if (result == kCuSuccess) return absl::OkStatus();
  return cuda.Check(result, absl::StrCat(Name(index), ": launch of ",
                                         absl::StrJoin(command.grid, " x "), " blocks"));
}

absl::Status CudaCommandBuffer::GiveAll() {
  for (size_t i = 0; i < commands_.size(); ++i) FATHOM_RETURN_IF_ERROR(Give(i));
  return absl::OkStatus();
}

absl::Status CudaCommandBuffer::RunOneByOne() {
  for (size_t i = 0; i < commands_.size(); ++i) {
    if (commands_[i].empty()) continue;
    FATHOM_RETURN_IF_ERROR(Give(i));
    FATHOM_RETURN_IF_ERROR(Wait(Name(i)));
  }
  return absl::OkStatus();
}

absl::Status CudaCommandBuffer::RunTimed(hal::DispatchTimes* times) {
  const CudaApi& cuda = gpu_->api();
  while (events_.size() < commands_.size() + 1) {
    CuEvent event = nullptr;
    FATHOM_RETURN_IF_ERROR(cuda.Check(cuda.EventCreate(&event, kEventDefault), "cuEventCreate"));
    events_.push_back(event);
  }
  const auto record = [&](size_t i) {
    return cuda.Check(cuda.EventRecord(events_[i], gpu_->stream()), "cuEventRecord");
  };
  FATHOM_RETURN_IF_ERROR(record(0));
  for (size_t i = 0; i < commands_.size(); ++i) {
    FATHOM_RETURN_IF_ERROR(Give(i));
    FATHOM_RETURN_IF_ERROR(record(i + 1));
  }
  FATHOM_RETURN_IF_ERROR(Wait("a timed list"));
  times->clear();
  for (size_t i = 0; i < commands_.size(); ++i) {
    float milliseconds = 0;
    FATHOM_RETURN_IF_ERROR(
        cuda.Check(cuda.EventElapsedTime(&milliseconds, events_[i], events_[i + 1]),
                   absl::StrCat("the time of ", Name(i))));
    times->push_back(static_cast<uint64_t>(std::max(0.0f, milliseconds) * 1e6));
  }
  return absl::OkStatus();
}

absl::Status CudaCommandBuffer::Capture() {
  const CudaApi& cuda = gpu_->api();
  FATHOM_RETURN_IF_ERROR(cuda.Check(cuda.StreamBeginCapture(gpu_->stream(), kCaptureThreadLocal),
                                    "cuStreamBeginCapture"));
  const absl::Status given = GiveAll();
  CuGraph graph = nullptr;
  // Ended in any case: a stream that captures does nothing else.
  const CuResult ended = cuda.StreamEndCapture(gpu_->stream(), &graph);
  absl::Status status = given.ok() ? cuda.Check(ended, "cuStreamEndCapture") : given;
  if (status.ok()) {
    status = cuda.Check(cuda.GraphInstantiate(&graph_, graph, 0), "cuGraphInstantiate");
  }
  if (graph != nullptr) (void)cuda.GraphDestroy(graph);
  return status;
}

absl::Status CudaCommandBuffer::RunGraph() {
  const bool nothing = std::all_of(commands_.begin(), commands_.end(),
                                   [](const Command& command) { return command.empty(); });
  if (nothing) return absl::OkStatus();
  if (graph_ == nullptr) FATHOM_RETURN_IF_ERROR(Capture());
  FATHOM_RETURN_IF_ERROR(
      gpu_->api().Check(gpu_->api().GraphLaunch(graph_, gpu_->stream()), "cuGraphLaunch"));
  return Wait(absl::StrCat("one of ", labels_.size(), " dispatches from ", Name(0), " to ",
                           Name(labels_.size() - 1)));
}

}  // namespace fathom::cuda
