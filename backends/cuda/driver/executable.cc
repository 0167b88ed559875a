// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loading modules and finding kernels.
#include "backends/cuda/driver/executable.h"

#include <cstring>
#include <map>

#include "runtime/base/status.h"

namespace fathom::cuda {
namespace {

constexpr char kWhere[] = "code image";

}  // namespace

absl::StatusOr<std::unique_ptr<hal::Executable>> CudaExecutable::Load(
    std::shared_ptr<Gpu> gpu, absl::Span<const uint8_t> code,
    std::vector<hal::KernelInterface> kernels, const hal::DeviceOptions& options) {
  FATHOM_ASSIGN_OR_RETURN(const Image image, ReadImage(code, gpu->facts()));
  std::map<std::string, const ImageKernel*> by_name;
  for (const ImageKernel& kernel : image.kernels) by_name.emplace(kernel.name, &kernel);
  std::vector<const ImageKernel*> wanted;
  for (const hal::KernelInterface& kernel : kernels) {
    const auto it = by_name.find(kernel.name);
    if (it == by_name.end()) {
      return InputError(kWhere, "the kernel " + kernel.name + " is missing");
    }
    if (it->second->bindings != kernel.bindings || it->second->push != kernel.push) {
      return InputError(
          kWhere, "arguments of the kernel " + kernel.name,
          absl::StrCat(kernel.bindings, " bindings, ", kernel.push, " push constants"),
          absl::StrCat(it->second->bindings, " and ", it->second->push));
    }
    wanted.push_back(it->second);
  }
  const ScopedContext scope(*gpu);
  FATHOM_RETURN_IF_ERROR(scope.status());
  const uint64_t count = wanted.size();
  if (options.progress && !options.progress(0, count)) return absl::CancelledError("stopped");
  std::unique_ptr<CudaExecutable> executable(
      new CudaExecutable(std::move(gpu), std::move(kernels)));
  FATHOM_RETURN_IF_ERROR(executable->LoadModule(image));
  for (const ImageKernel* kernel : wanted) {
    FATHOM_RETURN_IF_ERROR(executable->LoadKernel(*kernel));
  }
  if (options.progress && !options.progress(count, count)) return absl::CancelledError("stopped");
  return std::unique_ptr<hal::Executable>(std::move(executable));
}

CudaExecutable::~CudaExecutable() {
  const ScopedContext scope(*gpu_);
  if (module_ != nullptr) (void)gpu_->api().ModuleUnload(module_);
}

absl::Status CudaExecutable::LoadModule(const Image& image) {
  const CudaApi& cuda = gpu_->api();
  // A cubin of a newer toolkit may be refused by an older driver, which can compile the PTX still.
  // Drivers name the reason differently: any refusal leads to the PTX, whose error is told.
  if (!image.cubin.empty() &&
      cuda.ModuleLoadDataEx(&module_, image.cubin.data(), 0, nullptr, nullptr) == kCuSuccess) {
    return absl::OkStatus();
  }
  module_ = nullptr;
  std::vector<char> log(16 * 1024);
  int options[] = {kJitErrorLogBuffer, kJitErrorLogBytes};
  void* values[] = {log.data(), reinterpret_cast<void*>(static_cast<uintptr_t>(log.size()))};
  const CuResult result = cuda.ModuleLoadDataEx(&module_, image.ptx, 2, options, values);
  if (result == kCuSuccess) return absl::OkStatus();
  module_ = nullptr;
  log.back() = '\0';
  std::string message = absl::StrCat("PTX: ", cuda.Describe(result));
  if (result == kCuUnsupportedPtxVersion) {
    absl::StrAppend(&message, ": the driver (CUDA ", cuda.version_name(),
                    ") is too old for it, a newer one is needed");
  }
  if (log[0] != '\0') absl::StrAppend(&message, ": ", log.data());
  if (result == kCuInvalidPtx) return InputError(kWhere, message);
  if (result == kCuOutOfMemory) {
    return absl::ResourceExhaustedError(absl::StrCat(kWhere, ": ", message));
  }
  return UnsupportedError(kWhere, message);
}

absl::Status CudaExecutable::LoadKernel(const ImageKernel& image) {
  const CudaApi& cuda = gpu_->api();
  LoadedKernel loaded{image, nullptr};
  const std::string where = absl::StrCat(kWhere, ": kernel ", image.name);
  const CuResult result = cuda.ModuleGetFunction(&loaded.function, module_, image.entry.c_str());
  if (result == kCuNotFound) {
    return InputError(where, "the module has no entry " + image.entry);
  }
  FATHOM_RETURN_IF_ERROR(cuda.Check(result, where));
  int max_threads = 0, static_shared = 0;
  FATHOM_RETURN_IF_ERROR(
      cuda.Check(cuda.FuncGetAttribute(&max_threads, kFunctionMaxThreads, loaded.function), where));
  FATHOM_RETURN_IF_ERROR(cuda.Check(
      cuda.FuncGetAttribute(&static_shared, kFunctionSharedBytes, loaded.function), where));
  const uint64_t threads = uint64_t{image.workgroup[0]} * image.workgroup[1] * image.workgroup[2];
  if (threads > static_cast<uint64_t>(max_threads)) {
    return UnsupportedError(where,
                            absl::StrCat("needs blocks of ", threads, " threads; as compiled for ",
                                         gpu_->facts().name, " it takes at most ", max_threads));
  }
  const uint64_t shared = uint64_t{image.shared_bytes} + static_cast<uint64_t>(static_shared);
  if (shared > gpu_->facts().max_shared_optin) {
    return UnsupportedError(
        where, absl::StrCat("needs ", shared, " bytes of shared memory; ", gpu_->facts().name,
                            " has ", gpu_->facts().max_shared_optin));
  }
  if (shared > gpu_->facts().max_shared) {
    FATHOM_RETURN_IF_ERROR(
        cuda.Check(cuda.FuncSetAttribute(loaded.function, kFunctionMaxDynamicShared,
                                         static_cast<int>(image.shared_bytes)),
                   where));
  }
  loaded_.push_back(std::move(loaded));
  return absl::OkStatus();
}

}  // namespace fathom::cuda
