// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs GPU images of the kernel tests on the first device of a driver of this build.
#ifndef FATHOM_TESTS_UNIT_COMPILER_KERNELS_GPU_DEVICE_H
#define FATHOM_TESTS_UNIT_COMPILER_KERNELS_GPU_DEVICE_H

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/hal/device.h"

namespace fathom::testing {

/// Whether `driver` ("vulkan") has a device here that runs code of `target` with `features`.
bool haveGpu(const std::string& driver, const std::string& target,
             const std::vector<std::string>& features);

/// Memory of the test that a dispatch reads and writes.
struct HostMemory {
  void* data;
  size_t size;
};

/// A code image, loaded.
class GpuImage {
 public:
  GpuImage(std::string driver, const std::vector<char>& code);
  ~GpuImage();

  /// Copies the bindings to the device (equal addresses once), runs the grid, copies them back.
  /// Answers what went wrong, among it writes behind the end of a binding; empty on success.
  std::string run(const std::string& name, std::array<uint32_t, 3> grid,
                  const std::vector<HostMemory>& bindings, const std::vector<int64_t>& push);

 private:
  std::string driver_;
  std::vector<uint8_t> code_;
  std::map<std::string, std::unique_ptr<hal::Executable>> executables_;
};

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_COMPILER_KERNELS_GPU_DEVICE_H
