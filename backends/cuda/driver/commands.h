// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Command lists: launches with every argument in place, replayed as one graph.
#ifndef FATHOM_BACKENDS_CUDA_DRIVER_COMMANDS_H_
#define FATHOM_BACKENDS_CUDA_DRIVER_COMMANDS_H_

#include <array>
#include <memory>
#include <vector>

#include "backends/cuda/driver/executable.h"
#include "backends/cuda/driver/memory.h"
#include "runtime/hal/command_checks.h"

namespace fathom::cuda {

// All work goes through one stream, where a kernel sees what the ones before it wrote: barriers
// need nothing more.
//
// The first run waits for each dispatch, so that a kernel that fails is known by name; it costs a
// few microseconds each. Later runs launch a graph captured from the stream.
class CudaCommandBuffer final : public hal::CommandBuffer {
 public:
  explicit CudaCommandBuffer(std::shared_ptr<Gpu> gpu) : gpu_(std::move(gpu)) {}
  ~CudaCommandBuffer() override;
  absl::Status Append(const hal::Dispatch& dispatch) override;
  absl::Status Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) override;
  absl::Status Barrier() override { return hal::CheckOpen(ended_); }
  absl::Status End() override;

  bool ended() const { return ended_; }
  // Runs the list once and waits for its end. Not twice at once.
  absl::Status Run(hal::DispatchTimes* times);

 private:
  struct Command {
    const LoadedKernel* kernel = nullptr;  // null: a copy
    std::array<uint32_t, 3> grid = {1, 1, 1};
    size_t arguments = 0;  // first in arguments_
    CuPointer from = 0, to = 0;
    uint64_t bytes = 0;
    // Nothing to do, but a label to keep.
    bool empty() const {
      return kernel == nullptr ? bytes == 0 : grid[0] == 0 || grid[1] == 0 || grid[2] == 0;
    }
  };

  absl::Status Give(size_t index);
  absl::Status GiveAll();
  absl::Status RunOneByOne();
  absl::Status RunTimed(hal::DispatchTimes* times);
  absl::Status RunGraph();
  absl::Status Capture();
  absl::Status Wait(const std::string& what);
  std::string Name(size_t index) const;

  const std::shared_ptr<Gpu> gpu_;
  std::vector<Command> commands_;
  std::vector<uint64_t> arguments_;  // of all launches: pointers, then push constants
  bool ended_ = false;
  bool has_run_ = false;
  CuGraphExec graph_ = nullptr;
  std::vector<CuEvent> events_;  // for times: one before each command and one behind the last
};

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_DRIVER_COMMANDS_H_
