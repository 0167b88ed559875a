// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A device per driver, opened once; buffers of a run live as long as the run.
#include "tests/unit/compiler/kernels/gpu_device.h"

#include <cstring>

#include "runtime/hal/driver_registry.h"

namespace fathom::testing {
namespace {

// Behind every binding, to see what writes too far.
constexpr size_t kGuard = 4096;
constexpr int kGuardByte = 0xa5;

hal::Device* deviceOf(const std::string& driver) {
  // Never closed: what a driver's library keeps per thread (CUDA's stack of contexts) is destroyed
  // before statics are.
  static auto* devices = new std::map<std::string, std::unique_ptr<hal::Device>>;
  auto [at, inserted] = devices->try_emplace(driver);
  if (inserted) {
    static const auto* registry = new hal::DriverRegistry(hal::MakeDriverRegistry());
    auto opened = registry->Open(driver, {});
    if (opened.ok()) at->second = std::move(*opened);
  }
  return at->second.get();
}

std::string text(const absl::Status& status) { return std::string(status.message()); }

// A host-visible buffer beside the memory it stands for.
struct Shown {
  HostMemory memory;
  std::shared_ptr<hal::Buffer> buffer;
};

}  // namespace

bool haveGpu(const std::string& driver, const std::string& target,
             const std::vector<std::string>& features) {
  hal::Device* device = deviceOf(driver);
  return device && device->Supports(target, features).ok();
}

GpuImage::GpuImage(std::string driver, const std::vector<char>& code)
    : driver_(std::move(driver)), code_(code.begin(), code.end()) {}
GpuImage::~GpuImage() = default;

std::string GpuImage::run(const std::string& name, std::array<uint32_t, 3> grid,
                          const std::vector<HostMemory>& bindings,
                          const std::vector<int64_t>& push) {
  hal::Device* device = deviceOf(driver_);
  if (!device) return "no device of driver " + driver_;
  std::unique_ptr<hal::Executable>& executable = executables_[name];
  if (!executable) {
    std::vector<hal::KernelInterface> kernels(1);
    kernels[0].name = name;
    kernels[0].bindings = static_cast<uint32_t>(bindings.size());
    kernels[0].push = static_cast<uint32_t>(push.size());
    auto loaded = device->LoadExecutable(code_, kernels);
    if (!loaded.ok()) return text(loaded.status());
    executable = std::move(*loaded);
  }
  std::vector<Shown> shown;
  std::vector<hal::BufferRef> refs;
  for (const HostMemory& memory : bindings) {
    const Shown* same = nullptr;
    for (const Shown& other : shown)
      if (other.memory.data == memory.data) same = &other;
    if (!same) {
      auto buffer = device->allocator().Allocate(memory.size + kGuard, hal::MemoryUse::host_io);
      if (!buffer.ok()) return text(buffer.status());
      std::memcpy((*buffer)->host(), memory.data, memory.size);
      std::memset((*buffer)->host() + memory.size, kGuardByte, kGuard);
      shown.push_back({memory, std::move(*buffer)});
      same = &shown.back();
    }
    refs.push_back({same->buffer.get(), 0});
  }
  auto commands = device->CreateCommandBuffer();
  hal::Dispatch dispatch;
  dispatch.executable = executable.get();
  dispatch.grid = grid;
  dispatch.bindings = refs;
  dispatch.push = push;
  dispatch.label = name;
  auto done = device->CreateSemaphore(0);
  for (absl::Status status : {commands->Append(dispatch), commands->Barrier(), commands->End()})
    if (!status.ok()) return text(status);
  hal::Submission submission;
  submission.commands = commands.get();
  submission.signal = {{done, 1}};
  if (absl::Status status = device->queue().Submit(std::move(submission)); !status.ok())
    return text(status);
  if (absl::Status status = done->Wait(1); !status.ok()) return text(status);
  for (const Shown& s : shown) {
    std::memcpy(s.memory.data, s.buffer->host(), s.memory.size);
    // The last 64 bytes that a binding begins are its own: rows are padded.
    size_t owned = (s.memory.size + 63) / 64 * 64;
    for (size_t i = owned; i < s.memory.size + kGuard; ++i)
      if (s.buffer->host()[i] != kGuardByte)
        return "kernel " + name + " wrote " + std::to_string(i - s.memory.size) +
               " bytes behind the end of a binding";
  }
  return "";
}

}  // namespace fathom::testing
