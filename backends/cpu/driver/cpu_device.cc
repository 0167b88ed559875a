// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CPU device, its memory and its queue.
#include "backends/cpu/driver/cpu_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "backends/cpu/driver/cpu_features.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom::cpu {
namespace {

constexpr uint64_t kHugePage = 2 << 20;

class CpuBuffer final : public hal::Buffer {
 public:
  CpuBuffer(uint8_t* host, uint64_t size, void* mapping, uint64_t mapped)
      : Buffer(host, size), mapping_(mapping), mapped_(mapped) {}
  ~CpuBuffer() override {
    if (mapping_ != nullptr) ::munmap(mapping_, mapped_);
  }

 private:
  void* const mapping_;  // null: memory of somebody else
  const uint64_t mapped_;
};

class CpuDriver final : public hal::Driver {
 public:
  std::string name() const override { return "cpu"; }

  std::vector<hal::DeviceInfo> Devices() const override {
    hal::DeviceInfo info;
    info.id = "cpu:0";
    info.name = CpuName();
    info.architecture = Architecture();
    info.suggested_target = "cpu:native";
    info.features = CpuFeatures();
    info.memory_bytes = PhysicalMemory();
    info.compute_units = static_cast<uint32_t>(UsableCpus().physical);
    info.on_host = info.unified_memory = info.cache_on_demand = info.imports_memory = true;
    return {info};
  }

  absl::StatusOr<std::unique_ptr<hal::Device>> Open(size_t index,
                                                    const hal::DeviceOptions& options) override {
    constexpr int kMaxWorkers = 1024;
    if (options.threads < 0 || options.threads > kMaxWorkers) {
      return InputError("threads", "out of range", absl::StrCat("0 to ", kMaxWorkers),
                        options.threads);
    }
    CpuSet set = UsableCpus();
    // More workers than CPUs would only take turns, and wake one another in every stage.
    const int cpus = static_cast<int>(set.cpus.size());
    const int workers = options.threads == 0 ? set.physical : std::min(options.threads, cpus);
    return std::unique_ptr<hal::Device>(
        std::make_unique<CpuDevice>(Devices()[index], workers, std::move(set.cpus)));
  }
};

}  // namespace

absl::StatusOr<std::shared_ptr<hal::Buffer>> CpuAllocator::Allocate(uint64_t size,
                                                                    hal::MemoryUse use) {
  const bool huge = use != hal::MemoryUse::host_io && size >= kHugePage;
  uint64_t mapped = 0;
  if (!CheckedAdd<uint64_t>(std::max<uint64_t>(size, 1), 2 * kHugePage, &mapped)) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", size, " bytes"));
  }
  mapped = huge ? RoundUp(size, kHugePage) + kHugePage : RoundUp(std::max<uint64_t>(size, 1), 4096);
  // A cache is an address range first; its memory comes with its tokens.
  const int reserve = use == hal::MemoryUse::cache ? MAP_NORESERVE : 0;
  void* mapping =
      ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | reserve, -1, 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", size, " bytes"));
  }
  auto* host = static_cast<uint8_t*>(mapping);
  if (huge) {
    host +=
        RoundUp(reinterpret_cast<uintptr_t>(host), kHugePage) - reinterpret_cast<uintptr_t>(host);
    (void)::madvise(host, RoundUp(size, kHugePage), MADV_HUGEPAGE);
  }
  return std::shared_ptr<hal::Buffer>(std::make_shared<CpuBuffer>(host, size, mapping, mapped));
}

absl::StatusOr<std::shared_ptr<hal::Buffer>> CpuAllocator::Import(absl::Span<const uint8_t> bytes) {
  return std::shared_ptr<hal::Buffer>(
      std::make_shared<CpuBuffer>(const_cast<uint8_t*>(bytes.data()), bytes.size(), nullptr, 0));
}

absl::Status CpuQueue::Check(const hal::CommandBuffer* commands) const {
  const auto* list = static_cast<const CpuCommandBuffer*>(commands);
  if (list != nullptr && list->ended()) return absl::OkStatus();
  return absl::InternalError("a submission needs a command buffer that has ended");
}

absl::Status CpuQueue::Execute(hal::CommandBuffer* commands, hal::DispatchTimes* times) {
  return static_cast<CpuCommandBuffer*>(commands)->Run(times);
}

absl::Status CpuDevice::Supports(const std::string& target,
                                 absl::Span<const std::string> features) const {
  // "cpu:x86-64-v4", "cpu:aarch64": the part after the colon begins with the architecture.
  const std::string isa = target.substr(std::min(target.find(':') + 1, target.size()));
  for (const char* architecture : {"x86-64", "aarch64"}) {
    if (absl::StartsWith(isa, architecture) && info_.architecture != architecture) {
      return UnsupportedError(
          target, "made for another architecture: this machine is " + info_.architecture);
    }
  }
  std::vector<std::string> missing;
  for (const std::string& feature : features) {
    if (!HasFeature(info_.features, feature)) missing.push_back(feature);
  }
  if (missing.empty()) return absl::OkStatus();
  return UnsupportedError(target, "this CPU lacks " + absl::StrJoin(missing, ", "));
}

absl::StatusOr<std::unique_ptr<hal::Executable>> CpuDevice::LoadExecutable(
    absl::Span<const uint8_t> code, std::vector<hal::KernelInterface> kernels) {
  FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<ElfImage> image, ElfImage::Load(code));
  std::map<std::string, const ImageKernel*> by_name;
  for (const ImageKernel& kernel : image->kernels()) {
    if (!by_name.emplace(kernel.name, &kernel).second) {
      return InputError("code image", "the kernel " + kernel.name + " is there twice");
    }
  }
  std::vector<const ImageKernel*> found;
  for (const hal::KernelInterface& kernel : kernels) {
    const auto it = by_name.find(kernel.name);
    if (it == by_name.end()) {
      return InputError("code image", "the kernel " + kernel.name + " is missing");
    }
    const ImageKernel& have = *it->second;
    if (have.bindings != kernel.bindings || have.push != kernel.push) {
      return InputError(
          "code image", "arguments of the kernel " + kernel.name,
          absl::StrCat(kernel.bindings, " bindings, ", kernel.push, " push constants"),
          absl::StrCat(have.bindings, " and ", have.push));
    }
    found.push_back(&have);
  }
  return std::unique_ptr<hal::Executable>(
      std::make_unique<CpuExecutable>(std::move(image), std::move(kernels), std::move(found)));
}

std::unique_ptr<hal::CommandBuffer> CpuDevice::CreateCommandBuffer() {
  return std::make_unique<CpuCommandBuffer>(workers_);
}

std::shared_ptr<hal::Semaphore> CpuDevice::CreateSemaphore(uint64_t value) {
  return std::make_shared<hal::HostSemaphore>(value);
}

std::unique_ptr<hal::Driver> CreateDriver() { return std::make_unique<CpuDriver>(); }

}  // namespace fathom::cpu
