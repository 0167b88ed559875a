// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The code image of a CUDA program (backends/cuda/abi), verified against itself and a GPU.
#ifndef FATHOM_BACKENDS_CUDA_DRIVER_IMAGE_H_
#define FATHOM_BACKENDS_CUDA_DRIVER_IMAGE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "backends/cuda/driver/gpu.h"

namespace fathom::cuda {

struct ImageKernel {
  std::string name;
  std::string entry;
  uint32_t bindings = 0;
  uint32_t push = 0;
  std::array<uint32_t, 3> workgroup = {1, 1, 1};
  uint32_t shared_bytes = 0;
};

struct Image {
  const char* ptx = nullptr;        // in the image's own bytes, NUL-terminated
  absl::Span<const uint8_t> cubin;  // for exactly this GPU; empty: there is none
  std::vector<ImageKernel> kernels;
};

// Checks everything before it is used: the FlatBuffer, names, sizes, and that the GPU's limits
// suffice. kInvalidArgument for a damaged image; kUnimplemented, naming kernel and limit, for one
// that this GPU cannot run. `code` is 8-byte aligned and outlives the result. That the PTX and the
// cubin hold the kernels named shows when they are loaded.
absl::StatusOr<Image> ReadImage(absl::Span<const uint8_t> code, const GpuFacts& facts);

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_DRIVER_IMAGE_H_
