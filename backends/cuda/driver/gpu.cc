// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading a GPU's facts, judging programs by them, opening it.
#include "backends/cuda/driver/gpu.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "runtime/base/status.h"

namespace fathom::cuda {
namespace {

constexpr uint32_t kOldestSm = 75;
// Compute capabilities that programs may name, for the list of a device's features.
constexpr uint32_t kKnownSms[] = {75, 80, 86, 87, 89, 90, 100, 103, 120, 121};
// Those the compiler has profiles for.
constexpr uint32_t kTargetSms[] = {75, 80, 89, 90, 100, 120};

std::string Capability(uint32_t sm) { return absl::StrCat(sm / 10, ".", sm % 10); }

}  // namespace

absl::StatusOr<GpuFacts> ReadGpuFacts(const CudaApi& api, CuDevice device) {
  GpuFacts facts;
  absl::Status status;
  const auto attribute = [&](int number) {
    int value = 0;
    const CuResult result = api.DeviceGetAttribute(&value, number, device);
    if (status.ok()) status = api.Check(result, absl::StrCat("cuDeviceGetAttribute ", number));
    return value;
  };
  char name[256] = "";
  FATHOM_RETURN_IF_ERROR(
      api.Check(api.DeviceGetName(name, sizeof(name), device), "cuDeviceGetName"));
  facts.name = name;
  size_t bytes = 0;
  FATHOM_RETURN_IF_ERROR(api.Check(api.DeviceTotalMem(&bytes, device), "cuDeviceTotalMem"));
  facts.memory_bytes = bytes;
  facts.sm = static_cast<uint32_t>(10 * attribute(kAttributeMajor) + attribute(kAttributeMinor));
  facts.multiprocessors = static_cast<uint32_t>(attribute(kAttributeMultiprocessors));
  facts.max_threads = static_cast<uint32_t>(attribute(kAttributeMaxThreads));
  for (int d = 0; d < 3; ++d) {
    facts.max_block[d] = static_cast<uint32_t>(attribute(kAttributeMaxBlockX + d));
    facts.max_grid[d] = static_cast<uint32_t>(attribute(kAttributeMaxGridX + d));
  }
  facts.max_shared = static_cast<uint32_t>(attribute(kAttributeMaxShared));
  facts.max_shared_optin = static_cast<uint32_t>(attribute(kAttributeMaxSharedOptin));
  facts.integrated = attribute(kAttributeIntegrated) != 0;
  if (attribute(kAttributeComputeMode) == kComputeModeProhibited) {
    facts.unusable = "its compute mode is set to prohibited (nvidia-smi -c 0 allows it)";
  } else if (attribute(kAttributeCanMapHostMemory) == 0) {
    facts.unusable = "it cannot map host memory";
  } else if (attribute(kAttributeWarpSize) != 32) {
    facts.unusable = "its warps do not have 32 threads";
  } else if (facts.sm < kOldestSm) {
    facts.unusable = absl::StrCat("compute capability: expected ", Capability(kOldestSm),
                                  " or later, found ", Capability(facts.sm));
  }
  FATHOM_RETURN_IF_ERROR(status);
  return facts;
}

hal::DeviceInfo ToDeviceInfo(const GpuFacts& facts, const CudaApi& api, size_t index) {
  hal::DeviceInfo info;
  info.id = absl::StrCat("cuda:", index);
  info.name = facts.name;
  info.architecture = absl::StrCat("sm_", facts.sm);
  for (uint32_t sm : kKnownSms) {
    if (sm <= facts.sm) info.features.push_back(absl::StrCat("sm_", sm));
  }
  for (uint32_t sm : kTargetSms) {
    if (sm <= facts.sm) info.suggested_target = absl::StrCat("cuda:sm_", sm);
  }
  info.memory_bytes = facts.memory_bytes;
  info.compute_units = facts.multiprocessors;
  info.driver = "CUDA " + api.version_name();
  info.unusable = facts.unusable;
  info.unified_memory = facts.integrated;
  // Kernels count words of a binding with 32 bits, of which one is a sign.
  info.max_binding_bytes = uint64_t{1} << 33;
  info.limits = {
      {"compute capability", Capability(facts.sm)},
      {"threads in a block", absl::StrCat(facts.max_threads)},
      {"shared memory of a block", absl::StrCat(facts.max_shared_optin)},
      {"largest grid", absl::StrJoin(facts.max_grid, " x ")},
      {"graphs", api.has_graphs() ? "yes" : "no: kernels are launched one by one"},
  };
  return info;
}

absl::Status CheckFeatures(const GpuFacts& facts, const std::string& target,
                           absl::Span<const std::string> features) {
  if (!absl::StartsWith(target, "cuda:")) {
    return UnsupportedError(target, "made for another kind of device");
  }
  for (const std::string& feature : features) {
    uint32_t sm = 0;
    if (!absl::StartsWith(feature, "sm_") || !absl::SimpleAtoi(feature.substr(3), &sm)) {
      return UnsupportedError(target, "needs the feature " + feature + ", which is unknown here");
    }
    if (facts.sm < sm) {
      return UnsupportedError(target, absl::StrCat("needs compute capability ", Capability(sm),
                                                   "; ", facts.name, " has ", Capability(facts.sm),
                                                   ": compile with --target=cuda:sm_", facts.sm));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Gpu>> Gpu::Open(std::shared_ptr<const CudaApi> api, CuDevice device,
                                               GpuFacts facts) {
  std::shared_ptr<Gpu> gpu(new Gpu(std::move(api), device, std::move(facts)));
  const CudaApi& cuda = gpu->api();
  FATHOM_RETURN_IF_ERROR(
      cuda.Check(cuda.DevicePrimaryCtxRetain(&gpu->context_, device), "cuDevicePrimaryCtxRetain"));
  const ScopedContext scope(*gpu);
  FATHOM_RETURN_IF_ERROR(scope.status());
  for (CuStream* stream : {&gpu->stream_, &gpu->side_stream_}) {
    FATHOM_RETURN_IF_ERROR(
        cuda.Check(cuda.StreamCreate(stream, kStreamNonBlocking), "cuStreamCreate"));
  }
  return gpu;
}

Gpu::~Gpu() {
  if (context_ == nullptr) return;
  {
    const ScopedContext scope(*this);
    for (CuStream stream : {stream_, side_stream_}) {
      if (stream != nullptr) (void)api_->StreamDestroy(stream);
    }
  }
  (void)api_->DevicePrimaryCtxRelease(device_);
}

}  // namespace fathom::cuda
