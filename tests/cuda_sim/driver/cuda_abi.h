// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The driver API the stand-in library offers: names and signatures of the public CUDA driver API.
#ifndef FATHOM_TESTS_CUDA_SIM_DRIVER_CUDA_ABI_H_
#define FATHOM_TESTS_CUDA_SIM_DRIVER_CUDA_ABI_H_

#include <cstddef>
#include <cstdint>

#define CUDA_SIM_API extern "C" __attribute__((visibility("default"))) int

namespace fathom::cuda_sim {

// Numbers of CUdevice_attribute.
enum DeviceAttribute {
  kMaxThreadsPerBlock = 1,
  kMaxBlockDimX = 2,
  kMaxBlockDimY = 3,
  kMaxBlockDimZ = 4,
  kMaxGridDimX = 5,
  kMaxGridDimY = 6,
  kMaxGridDimZ = 7,
  kMaxSharedPerBlock = 8,
  kWarpSize = 10,
  kMultiprocessorCount = 16,
  kIntegrated = 18,
  kCanMapHostMemory = 19,
  kComputeMode = 20,
  kUnifiedAddressing = 41,
  kComputeCapabilityMajor = 75,
  kComputeCapabilityMinor = 76,
  kMaxSharedPerBlockOptin = 97,
};

// Numbers of CUfunction_attribute.
enum FunctionAttribute {
  kFunctionMaxThreads = 0,
  kFunctionSharedBytes = 1,
  kFunctionLocalBytes = 3,
  kFunctionRegisters = 4,
  kFunctionMaxDynamicShared = 8,
};

// Numbers of CUjit_option.
enum JitOption {
  kInfoLogBuffer = 3,
  kInfoLogBufferBytes = 4,
  kErrorLogBuffer = 5,
  kErrorLogBufferBytes = 6,
};

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_DRIVER_CUDA_ABI_H_
