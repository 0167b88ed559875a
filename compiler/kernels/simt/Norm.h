// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The root mean square of a row, for the GPU kernels that normalise.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_NORM_H_
#define FATHOM_COMPILER_KERNELS_SIMT_NORM_H_

#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

/// 1 / sqrt(mean(x[from .. from + n - 1]^2) + eps), known to all lanes of the workgroup.
Val inverseRms(SimtBuilder& k, Buf x, Val from, int64_t n, double eps);

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_NORM_H_
