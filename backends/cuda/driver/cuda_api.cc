// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening libcuda and naming its results.
#include "backends/cuda/driver/cuda_api.h"

#include <dlfcn.h>

#include "runtime/base/status.h"

namespace fathom::cuda {
namespace {

// The first driver with everything used here; kernels of sm_80 need PTX 7.0, which it reads.
constexpr int kOldestVersion = 11000;

std::string VersionName(int version) {
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CudaApi>> CudaApi::Open(const DriverOptions& options) {
  std::shared_ptr<CudaApi> api(new CudaApi);
  FATHOM_RETURN_IF_ERROR(api->Load(options));
  return std::shared_ptr<const CudaApi>(std::move(api));
}

// A driver that has started has threads of its own: its library stays.
CudaApi::~CudaApi() {
  if (library_ != nullptr && !started_) ::dlclose(library_);
}

absl::Status CudaApi::Load(const DriverOptions& options) {
  library_ = ::dlopen(options.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    const char* reason = ::dlerror();
    return UnsupportedError("no CUDA driver", reason == nullptr ? options.library : reason);
  }
#define FATHOM_CUDA_LOAD(member, symbol, parameters) \
  member = reinterpret_cast<CuResult(*) parameters>(::dlsym(library_, symbol));
#define FATHOM_CUDA_REQUIRE(member, symbol, parameters)                                   \
  FATHOM_CUDA_LOAD(member, symbol, parameters)                                            \
  if (member == nullptr) {                                                                \
    return UnsupportedError(options.library,                                              \
                            "the function " symbol " is missing: the driver is too old"); \
  }
  FATHOM_CUDA_FUNCTIONS(FATHOM_CUDA_REQUIRE)
  has_graphs_ = options.graphs;
#define FATHOM_CUDA_OPTIONAL(member, symbol, parameters) \
  FATHOM_CUDA_LOAD(member, symbol, parameters)           \
  has_graphs_ = has_graphs_ && member != nullptr;
  FATHOM_CUDA_GRAPH_FUNCTIONS(FATHOM_CUDA_OPTIONAL)
#undef FATHOM_CUDA_LOAD
#undef FATHOM_CUDA_REQUIRE
#undef FATHOM_CUDA_OPTIONAL
  FATHOM_RETURN_IF_ERROR(Check(DriverGetVersion(&version_), "cuDriverGetVersion"));
  if (version_ < kOldestVersion) {
    return UnsupportedError(
        options.library,
        absl::StrCat("the driver is too old: expected CUDA ", VersionName(kOldestVersion),
                     " or later, found ", VersionName(version_)));
  }
  const CuResult result = Init(0);
  started_ = result == kCuSuccess;
  if (started_) return absl::OkStatus();
  return UnsupportedError(
      result == kCuNoDevice ? "no CUDA device" : "the CUDA driver does not start",
      Describe(result));
}

std::string CudaApi::version_name() const { return VersionName(version_); }

std::string CudaApi::Describe(CuResult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  if (GetErrorName(result, &name) != kCuSuccess || name == nullptr) {
    return absl::StrCat("CUDA error ", result);
  }
  if (GetErrorString(result, &text) != kCuSuccess || text == nullptr) return name;
  return absl::StrCat(name, " (", text, ")");
}

absl::Status CudaApi::Check(CuResult result, const std::string& what) const {
  if (result == kCuSuccess) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", Describe(result));
  switch (result) {
    case kCuOutOfMemory:
      return absl::ResourceExhaustedError(message);
    case kCuNoDevice:
    case kCuNoBinaryForGpu:
    case kCuUnsupportedPtxVersion:
      return absl::UnimplementedError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace fathom::cuda
