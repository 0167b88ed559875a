// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// CPU executables and command lists: every pointer resolved when recorded, nothing computed when
// run.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_CPU_COMMANDS_H_
#define FATHOM_BACKENDS_CPU_DRIVER_CPU_COMMANDS_H_

#include <deque>
#include <memory>
#include <vector>

#include "backends/cpu/abi/cpu_abi.h"
#include "backends/cpu/driver/elf_image.h"
#include "backends/cpu/driver/staged_job.h"
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

// What runs command lists; shared by a device and its lists, which may be destroyed in any order.
struct Workers {
  Workers(int count, std::vector<int> cpus) : pool(count, std::move(cpus)), scratch(count) {}
  WorkerPool pool;
  Scratch scratch;
};

// A kernel or copy with everything resolved.
struct RecordedDispatch {
  fathom_cpu_kernel code = nullptr;  // null: copy `bytes` from bindings[0] to bindings[1]
  void* const* bindings = nullptr;
  const int64_t* push = nullptr;
  uint32_t x = 1, y = 1;
  uint64_t workgroups = 1;
  uint64_t bytes = 0;
};

// A list of dispatches cut into stages; dispatches of one stage may overlap.
class DispatchJob final : public StagedJob {
 public:
  // `dispatches` outlive the job. Stage i ends before dispatch ends[i].
  DispatchJob(WorkerPool& pool, const Scratch& scratch,
              absl::Span<const RecordedDispatch> dispatches, std::vector<uint32_t> ends);
  ~DispatchJob() override { Retire(); }
  // Run, with the time of each stage in nanoseconds.
  void RunTimed(std::vector<uint64_t>* times);

 private:
  void RunItems(size_t stage, uint64_t begin, uint64_t end, int worker) override;
  void StageDone(size_t stage) override;

  const Scratch& scratch_;
  const absl::Span<const RecordedDispatch> dispatches_;
  const std::vector<uint32_t> ends_;
  std::vector<uint64_t> first_;  // of each dispatch: the number of its first workgroup in the stage
  std::vector<uint64_t>* times_ = nullptr;
  uint64_t stage_start_ = 0;
};

class CpuCommandBuffer final : public hal::CommandBuffer {
 public:
  explicit CpuCommandBuffer(std::shared_ptr<Workers> workers) : workers_(std::move(workers)) {}
  absl::Status Append(const hal::Dispatch& dispatch) override;
  absl::Status Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) override;
  absl::Status Barrier() override;
  absl::Status End() override;

  bool ended() const { return job_ != nullptr; }
  // Runs the list once on all workers. With `times`, each dispatch runs alone.
  absl::Status Run(hal::DispatchTimes* times);

 private:
  absl::Status CheckOpen() const;

  const std::shared_ptr<Workers> workers_;
  std::vector<RecordedDispatch> dispatches_;
  std::vector<uint32_t> ends_;  // of the stages, while recording
  std::deque<std::vector<void*>> bindings_;
  std::deque<std::vector<int64_t>> push_;
  uint64_t scratch_bytes_ = 0;
  std::unique_ptr<DispatchJob> job_;
};

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_CPU_COMMANDS_H_
