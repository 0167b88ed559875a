// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CPU as a device: huge-page memory, a queue that runs on the submitting thread, a worker pool.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_CPU_DEVICE_H_
#define FATHOM_BACKENDS_CPU_DRIVER_CPU_DEVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/driver/cpu_commands.h"
#include "backends/cpu/driver/worker_pool.h"
#include "runtime/hal/device.h"
#include "runtime/hal/host_queue.h"

namespace fathom::cpu {

class CpuAllocator final : public hal::Allocator {
 public:
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Allocate(uint64_t size, hal::MemoryUse use) override;
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Import(absl::Span<const uint8_t> bytes) override;
};

class CpuQueue final : public hal::HostQueue {
 public:
  ~CpuQueue() override { Close(); }

 private:
  absl::Status Check(const hal::CommandBuffer* commands) const override;
  absl::Status Execute(hal::CommandBuffer* commands, hal::DispatchTimes* times) override;
};

class CpuDevice final : public hal::Device {
 public:
  CpuDevice(hal::DeviceInfo info, int workers, std::vector<int> cpus)
      : info_(std::move(info)), workers_(std::make_shared<Workers>(workers, std::move(cpus))) {}
  const hal::DeviceInfo& info() const override { return info_; }
  absl::Status Supports(const std::string& target,
                        absl::Span<const std::string> features) const override;
  hal::Allocator& allocator() override { return allocator_; }
  hal::Queue& queue() override { return queue_; }
  absl::StatusOr<std::unique_ptr<hal::Executable>> LoadExecutable(
      absl::Span<const uint8_t> code, std::vector<hal::KernelInterface> kernels) override;
  std::unique_ptr<hal::CommandBuffer> CreateCommandBuffer() override;
  std::shared_ptr<hal::Semaphore> CreateSemaphore(uint64_t value) override;
  int workers() const override { return workers_->pool.workers(); }

 private:
  const hal::DeviceInfo info_;
  CpuAllocator allocator_;
  const std::shared_ptr<Workers> workers_;
  CpuQueue queue_;
};

std::unique_ptr<hal::Driver> CreateDriver();

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_CPU_DEVICE_H_
