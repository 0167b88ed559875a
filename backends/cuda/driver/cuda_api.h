// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CUDA driver API, declared here and opened at run time: no toolkit is needed to build.
#ifndef FATHOM_BACKENDS_CUDA_DRIVER_CUDA_API_H_
#define FATHOM_BACKENDS_CUDA_DRIVER_CUDA_API_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fathom::cuda {

using CuResult = int;
using CuDevice = int;
using CuPointer = uint64_t;  // address of device memory
struct CuContextTag;
struct CuModuleTag;
struct CuFunctionTag;
struct CuStreamTag;
struct CuEventTag;
struct CuGraphTag;
struct CuGraphExecTag;
using CuContext = CuContextTag*;
using CuModule = CuModuleTag*;
using CuFunction = CuFunctionTag*;
using CuStream = CuStreamTag*;
using CuEvent = CuEventTag*;
using CuGraph = CuGraphTag*;
using CuGraphExec = CuGraphExecTag*;

// Results that are treated apart from the others.
inline constexpr CuResult kCuSuccess = 0;
inline constexpr CuResult kCuInvalidValue = 1;
inline constexpr CuResult kCuOutOfMemory = 2;
inline constexpr CuResult kCuNoDevice = 100;
inline constexpr CuResult kCuNoBinaryForGpu = 209;
inline constexpr CuResult kCuInvalidPtx = 218;
inline constexpr CuResult kCuUnsupportedPtxVersion = 222;
inline constexpr CuResult kCuNotFound = 500;

// Numbers of device attributes (CUdevice_attribute).
inline constexpr int kAttributeMaxThreads = 1;
inline constexpr int kAttributeMaxBlockX = 2;  // and y, z: the two after it
inline constexpr int kAttributeMaxGridX = 5;   // and y, z
inline constexpr int kAttributeMaxShared = 8;
inline constexpr int kAttributeWarpSize = 10;
inline constexpr int kAttributeMultiprocessors = 16;
inline constexpr int kAttributeIntegrated = 18;
inline constexpr int kAttributeCanMapHostMemory = 19;
inline constexpr int kAttributeComputeMode = 20;
inline constexpr int kAttributeMajor = 75;
inline constexpr int kAttributeMinor = 76;
inline constexpr int kAttributeMaxSharedOptin = 97;
inline constexpr int kComputeModeProhibited = 2;

// Numbers of kernel attributes (CUfunction_attribute).
inline constexpr int kFunctionMaxThreads = 0;
inline constexpr int kFunctionSharedBytes = 1;
inline constexpr int kFunctionMaxDynamicShared = 8;

// Numbers of options of a module load (CUjit_option).
inline constexpr int kJitErrorLogBuffer = 5;
inline constexpr int kJitErrorLogBytes = 6;

inline constexpr unsigned kHostAllocPortable = 1;
inline constexpr unsigned kHostAllocDeviceMap = 2;
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventDefault = 0;
inline constexpr int kCaptureThreadLocal = 1;

// X(member, symbol, parameters) for each function without which nothing works ...
#define FATHOM_CUDA_FUNCTIONS(X)                                                                 \
  X(Init, "cuInit", (unsigned))                                                                  \
  X(DriverGetVersion, "cuDriverGetVersion", (int*))                                              \
  X(DeviceGetCount, "cuDeviceGetCount", (int*))                                                  \
  X(DeviceGet, "cuDeviceGet", (CuDevice*, int))                                                  \
  X(DeviceGetName, "cuDeviceGetName", (char*, int, CuDevice))                                    \
  X(DeviceGetAttribute, "cuDeviceGetAttribute", (int*, int, CuDevice))                           \
  X(DeviceTotalMem, "cuDeviceTotalMem_v2", (size_t*, CuDevice))                                  \
  X(DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (CuContext*, CuDevice))                  \
  X(DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (CuDevice))                         \
  X(CtxPushCurrent, "cuCtxPushCurrent_v2", (CuContext))                                          \
  X(CtxPopCurrent, "cuCtxPopCurrent_v2", (CuContext*))                                           \
  X(MemGetInfo, "cuMemGetInfo_v2", (size_t*, size_t*))                                           \
  X(MemAlloc, "cuMemAlloc_v2", (CuPointer*, size_t))                                             \
  X(MemFree, "cuMemFree_v2", (CuPointer))                                                        \
  X(MemHostAlloc, "cuMemHostAlloc", (void**, size_t, unsigned))                                  \
  X(MemFreeHost, "cuMemFreeHost", (void*))                                                       \
  X(MemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2", (CuPointer*, void*, unsigned))      \
  X(MemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", (CuPointer, CuPointer, size_t, CuStream))           \
  X(MemsetD8Async, "cuMemsetD8Async", (CuPointer, unsigned char, size_t, CuStream))              \
  X(ModuleLoadDataEx, "cuModuleLoadDataEx", (CuModule*, const void*, unsigned, int*, void**))    \
  X(ModuleUnload, "cuModuleUnload", (CuModule))                                                  \
  X(ModuleGetFunction, "cuModuleGetFunction", (CuFunction*, CuModule, const char*))              \
  X(FuncGetAttribute, "cuFuncGetAttribute", (int*, int, CuFunction))                             \
  X(FuncSetAttribute, "cuFuncSetAttribute", (CuFunction, int, int))                              \
  X(LaunchKernel, "cuLaunchKernel",                                                              \
    (CuFunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CuStream, \
     void**, void**))                                                                            \
  X(StreamCreate, "cuStreamCreate", (CuStream*, unsigned))                                       \
  X(StreamDestroy, "cuStreamDestroy_v2", (CuStream))                                             \
  X(StreamSynchronize, "cuStreamSynchronize", (CuStream))                                        \
  X(EventCreate, "cuEventCreate", (CuEvent*, unsigned))                                          \
  X(EventDestroy, "cuEventDestroy_v2", (CuEvent))                                                \
  X(EventRecord, "cuEventRecord", (CuEvent, CuStream))                                           \
  X(EventElapsedTime, "cuEventElapsedTime", (float*, CuEvent, CuEvent))                          \
  X(GetErrorName, "cuGetErrorName", (CuResult, const char**))                                    \
  X(GetErrorString, "cuGetErrorString", (CuResult, const char**))

// ... and for those that older drivers lack: without them lists are launched kernel by kernel.
#define FATHOM_CUDA_GRAPH_FUNCTIONS(X)                                                  \
  X(StreamBeginCapture, "cuStreamBeginCapture_v2", (CuStream, int))                     \
  X(StreamEndCapture, "cuStreamEndCapture", (CuStream, CuGraph*))                       \
  X(GraphInstantiate, "cuGraphInstantiateWithFlags", (CuGraphExec*, CuGraph, uint64_t)) \
  X(GraphLaunch, "cuGraphLaunch", (CuGraphExec, CuStream))                              \
  X(GraphExecDestroy, "cuGraphExecDestroy", (CuGraphExec))                              \
  X(GraphDestroy, "cuGraphDestroy", (CuGraph))

struct DriverOptions {
  std::string library = "libcuda.so.1";
  bool graphs = true;
};

// The functions of one opened library.
class CudaApi {
 public:
  // kUnimplemented when the library or a function is missing, when it is too old, or when it finds
  // no device; says which.
  static absl::StatusOr<std::shared_ptr<const CudaApi>> Open(const DriverOptions& options);
  ~CudaApi();
  CudaApi(const CudaApi&) = delete;
  CudaApi& operator=(const CudaApi&) = delete;

  int version() const { return version_; }  // 12040: CUDA 12.4
  std::string version_name() const;         // "12.4"
  bool has_graphs() const { return has_graphs_; }
  // "CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
  std::string Describe(CuResult result) const;
  // OK, or an error "<what>: <name of the result>".
  absl::Status Check(CuResult result, const std::string& what) const;

#define FATHOM_CUDA_MEMBER(member, symbol, parameters) CuResult(*member) parameters = nullptr;
  FATHOM_CUDA_FUNCTIONS(FATHOM_CUDA_MEMBER)
  FATHOM_CUDA_GRAPH_FUNCTIONS(FATHOM_CUDA_MEMBER)
#undef FATHOM_CUDA_MEMBER

 private:
  CudaApi() = default;
  absl::Status Load(const DriverOptions& options);

  void* library_ = nullptr;
  int version_ = 0;
  bool has_graphs_ = false;
  bool started_ = false;
};

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_DRIVER_CUDA_API_H_
