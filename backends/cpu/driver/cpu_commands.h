// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// CPU executables and command lists: every pointer resolved when recorded, nothing computed when run.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_CPU_COMMANDS_H_
#define FATHOM_BACKENDS_CPU_DRIVER_CPU_COMMANDS_H_

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "backends/cpu/abi/cpu_abi.h"
#include "backends/cpu/driver/elf_image.h"
#include "backends/cpu/driver/worker_pool.h"
#include "runtime/hal/command_buffer.h"

namespace fathom::cpu {

class CpuExecutable final : public hal::Executable {
 public:
  // `code[i]` is the kernel of kernels()[i] inside `image`.
  CpuExecutable(std::unique_ptr<ElfImage> image, std::vector<hal::KernelInterface> kernels,
                std::vector<const ImageKernel*> code)
      : Executable(std::move(kernels)), image_(std::move(image)), code_(std::move(code)) {}
  const ImageKernel& code(uint32_t kernel) const { return *code_[kernel]; }

 private:
  const std::unique_ptr<ElfImage> image_;
  const std::vector<const ImageKernel*> code_;
};

// One copy of scratch memory per worker, at least as large as any kernel recorded so far wants.
class Scratch {
 public:
  explicit Scratch(int workers) : blocks_(workers) {}
  ~Scratch();
  // Not while work runs.
  absl::Status Reserve(uint64_t bytes);
  void* of(int worker) const { return blocks_[worker]; }

 private:
  uint64_t bytes_ = 0;
  std::vector<void*> blocks_;
};

class CpuCommandBuffer final : public hal::CommandBuffer {
 public:
  absl::Status Append(const hal::Dispatch& dispatch) override;
  absl::Status Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) override;
  absl::Status Barrier() override;
  absl::Status End() override;

  bool ended() const { return ended_; }
  uint64_t scratch_bytes() const { return scratch_bytes_; }
  // Runs the list once on all workers of `pool`. With `times`, each dispatch runs alone.
  void Run(WorkerPool& pool, const Scratch& scratch, hal::DispatchTimes* times);

 private:
  struct Recorded {
    fathom_cpu_kernel code = nullptr;  // null: copy
    void* const* bindings = nullptr;
    const int64_t* push = nullptr;
    uint32_t x = 1, y = 1;
    uint64_t workgroups = 1;
    uint64_t first = 0;  // number of its first workgroup in the stage
    uint64_t bytes = 0;  // copy: bindings[0] -> bindings[1]
  };
  // Dispatches [begin, end), which may overlap, and how many workgroups they have together.
  struct Stage {
    uint32_t begin = 0, end = 0;
    uint64_t workgroups = 0;
  };

  static Stage MakeStage(std::vector<Recorded>& dispatches, uint32_t begin, uint32_t end);
  void RunStage(const Stage& stage, int workers, void* scratch);
  static void RunGroup(const Recorded& dispatch, uint64_t group, void* scratch);

  std::vector<Recorded> dispatches_;
  std::vector<Stage> stages_;
  std::vector<uint32_t> barriers_;  // dispatch numbers before which a barrier stands
  std::deque<std::vector<void*>> bindings_;
  std::deque<std::vector<int64_t>> push_;
  uint64_t scratch_bytes_ = 0;
  bool ended_ = false;
  alignas(64) std::atomic<uint64_t> next_ = 0;  // next workgroup of the running stage
};

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_CPU_COMMANDS_H_
