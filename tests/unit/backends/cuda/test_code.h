// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code images for tests of the CUDA driver, from test_kernels.ptx.
#ifndef FATHOM_TESTS_UNIT_BACKENDS_CUDA_TEST_CODE_H_
#define FATHOM_TESTS_UNIT_BACKENDS_CUDA_TEST_CODE_H_

#include <cstdint>
#include <vector>

#include "backends/cuda/abi/cuda_image_generated.h"

namespace fathom::cuda {

// The kernels count (1 binding, 2 push constants), sum (2, 1), fault (2, 0) and reverse (1, 1, with
// 1024 bytes of dynamic shared memory for 256 threads).
abi::ImageT TestImage();
std::vector<uint8_t> Pack(const abi::ImageT& image);

}  // namespace fathom::cuda

#endif  // FATHOM_TESTS_UNIT_BACKENDS_CUDA_TEST_CODE_H_
