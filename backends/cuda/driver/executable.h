// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels of a code image, loaded.
#ifndef FATHOM_BACKENDS_CUDA_DRIVER_EXECUTABLE_H_
#define FATHOM_BACKENDS_CUDA_DRIVER_EXECUTABLE_H_

#include <memory>
#include <vector>

#include "backends/cuda/driver/gpu.h"
#include "backends/cuda/driver/image.h"
#include "runtime/hal/command_buffer.h"

namespace fathom::cuda {

struct LoadedKernel {
  ImageKernel image;
  CuFunction function = nullptr;
};

class CudaExecutable final : public hal::Executable {
 public:
  // Machine code for exactly this GPU if the image has it and the driver takes it, else its PTX,
  // compiled by the driver. What the driver says of PTX it refuses is part of the error.
  static absl::StatusOr<std::unique_ptr<hal::Executable>> Load(
      std::shared_ptr<Gpu> gpu, absl::Span<const uint8_t> code,
      std::vector<hal::KernelInterface> kernels, const hal::DeviceOptions& options);
  ~CudaExecutable() override;
  const LoadedKernel& kernel(uint32_t index) const { return loaded_[index]; }

 private:
  CudaExecutable(std::shared_ptr<Gpu> gpu, std::vector<hal::KernelInterface> kernels)
      : Executable(std::move(kernels)), gpu_(std::move(gpu)) {}
  absl::Status LoadModule(const Image& image);
  absl::Status LoadKernel(const ImageKernel& image);

  const std::shared_ptr<Gpu> gpu_;
  CuModule module_ = nullptr;
  std::vector<LoadedKernel> loaded_;  // as kernels()
};

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_DRIVER_EXECUTABLE_H_
