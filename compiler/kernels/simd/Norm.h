// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The root mean square of a row, for the kernels that normalise.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_NORM_H_
#define FATHOM_COMPILER_KERNELS_SIMD_NORM_H_

#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

/// 1 / sqrt(mean(x[from .. from + n - 1]^2) + eps), a float.
Val inverseRms(KernelBuilder& k, Buf x, Val from, int64_t n, double eps);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_NORM_H_
