// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CUDA driver of the runtime, with options for tests.
#ifndef FATHOM_BACKENDS_CUDA_DRIVER_CUDA_DEVICE_H_
#define FATHOM_BACKENDS_CUDA_DRIVER_CUDA_DEVICE_H_

#include <memory>

#include "backends/cuda/driver/cuda_api.h"
#include "runtime/hal/device.h"

namespace fathom::cuda {

// Opens libcuda when first asked for devices. Without it, or without a device, the driver is there
// and has none; Available() says why.
std::unique_ptr<hal::Driver> CreateDriver(DriverOptions options);
std::unique_ptr<hal::Driver> CreateDriver();

}  // namespace fathom::cuda

#endif  // FATHOM_BACKENDS_CUDA_DRIVER_CUDA_DEVICE_H_
