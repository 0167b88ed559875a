// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A device that accepts every program, checks every binding and computes nothing.
//
// It serves two ends: it checks memory plans of any size without the machine they are for (its
// memory is address space that is never touched), and it is the template of a new driver. To make
// one: copy this folder to backends/<name>/driver, rename the namespace and the target
// fathom_<name>_driver, add <name> to FATHOM_BACKENDS, replace the five classes one by one, and run
// tests/cts on it from the first day.
#include <sys/mman.h>

#include <algorithm>
#include <memory>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"
#include "runtime/hal/device.h"
#include "runtime/hal/command_checks.h"
#include "runtime/hal/host_queue.h"

namespace fathom::null {
namespace {

class NullBuffer final : public hal::Buffer {
 public:
  NullBuffer(uint8_t* host, uint64_t size, bool owned) : Buffer(host, size), owned_(owned) {}
  ~NullBuffer() override {
    if (owned_) ::munmap(host(), std::max<uint64_t>(size(), 1));
  }

 private:
  const bool owned_;
};

class NullAllocator final : public hal::Allocator {
 public:
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Allocate(uint64_t size, hal::MemoryUse) override {
    void* memory = ::mmap(nullptr, std::max<uint64_t>(size, 1), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      return absl::ResourceExhaustedError(absl::StrCat("no memory for ", size, " bytes"));
    }
    return std::shared_ptr<hal::Buffer>(
        std::make_shared<NullBuffer>(static_cast<uint8_t*>(memory), size, true));
  }
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Import(absl::Span<const uint8_t> bytes) override {
    return std::shared_ptr<hal::Buffer>(
        std::make_shared<NullBuffer>(const_cast<uint8_t*>(bytes.data()), bytes.size(), false));
  }
};

class NullExecutable final : public hal::Executable {
 public:
  explicit NullExecutable(std::vector<hal::KernelInterface> kernels)
      : Executable(std::move(kernels)) {}
};

class NullCommandBuffer final : public hal::CommandBuffer {
 public:
  absl::Status Append(const hal::Dispatch& dispatch) override {
    FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
    FATHOM_RETURN_IF_ERROR(hal::CheckKernel(dispatch));
    const std::string label(dispatch.label);
    for (const hal::BufferRef& ref : dispatch.bindings) {
      FATHOM_RETURN_IF_ERROR(hal::CheckRef(label, ref, ref.bytes, 64));
    }
    labels_.push_back(label);
    return absl::OkStatus();
  }
  absl::Status Copy(hal::BufferRef from, hal::BufferRef to, uint64_t bytes) override {
    FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
    FATHOM_RETURN_IF_ERROR(hal::CheckCopy(from, to, bytes));
    labels_.push_back("copy");
    return absl::OkStatus();
  }
  absl::Status Barrier() override { return hal::CheckOpen(ended_); }
  absl::Status End() override {
    FATHOM_RETURN_IF_ERROR(hal::CheckOpen(ended_));
    ended_ = true;
    return absl::OkStatus();
  }
  bool ended() const { return ended_; }

 private:
  bool ended_ = false;
};

class NullQueue final : public hal::HostQueue {
 public:
  ~NullQueue() override { Close(); }

 private:
  absl::Status Check(const hal::CommandBuffer* commands) const override {
    const auto* list = static_cast<const NullCommandBuffer*>(commands);
    if (list != nullptr && list->ended()) return absl::OkStatus();
    return absl::InternalError("a submission needs a command buffer that has ended");
  }
  absl::Status Execute(hal::CommandBuffer* commands, hal::DispatchTimes* times) override {
    if (times != nullptr) times->assign(commands->labels().size(), 0);
    return absl::OkStatus();
  }
};

class NullDevice final : public hal::Device {
 public:
  explicit NullDevice(hal::DeviceInfo info) : info_(std::move(info)) {}
  const hal::DeviceInfo& info() const override { return info_; }
  absl::Status Supports(const std::string&, absl::Span<const std::string>) const override {
    return absl::OkStatus();
  }
  hal::Allocator& allocator() override { return allocator_; }
  hal::Queue& queue() override { return queue_; }
  absl::StatusOr<std::unique_ptr<hal::Executable>> LoadExecutable(
      absl::Span<const uint8_t>, std::vector<hal::KernelInterface> kernels) override {
    return std::unique_ptr<hal::Executable>(std::make_unique<NullExecutable>(std::move(kernels)));
  }
  std::unique_ptr<hal::CommandBuffer> CreateCommandBuffer() override {
    return std::make_unique<NullCommandBuffer>();
  }
  std::shared_ptr<hal::Semaphore> CreateSemaphore(uint64_t value) override {
    return std::make_shared<hal::HostSemaphore>(value);
  }

 private:
  const hal::DeviceInfo info_;
  NullAllocator allocator_;
  NullQueue queue_;
};

class NullDriver final : public hal::Driver {
 public:
  std::string name() const override { return "null"; }
  std::vector<hal::DeviceInfo> Devices() const override {
    hal::DeviceInfo info;
    info.id = "null:0";
    info.name = "computes nothing";
    info.on_host = info.unified_memory = info.cache_on_demand = info.imports_memory = true;
    return {info};
  }
  absl::StatusOr<std::unique_ptr<hal::Device>> Open(size_t index,
                                                    const hal::DeviceOptions&) override {
    return std::unique_ptr<hal::Device>(std::make_unique<NullDevice>(Devices()[index]));
  }
};

}  // namespace

std::unique_ptr<hal::Driver> CreateDriver() { return std::make_unique<NullDriver>(); }

}  // namespace fathom::null
