// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The normalisation of a row, for the kernels that normalise.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_NORM_H_
#define FATHOM_COMPILER_KERNELS_SIMD_NORM_H_

#include "compiler/kernels/RowOutput.h"
#include "compiler/kernels/simd/Record.h"

namespace fathom::kernels {

/// 1 / sqrt(mean(x[from .. from + n - 1]^2) + eps), a float.
Val inverseRms(KernelBuilder& k, Buf x, Val from, int64_t n, double eps);

/// Where a row goes: float32 elements, an activation record, or both.
struct RowSink {
  Buf rows;  // without memory: no float32
  Val to;
  std::optional<RecordWriter> record;

  /// Row `row` of an output that was configured as `output`; `buf` is its binding.
  static RowSink at(KernelBuilder& k, const RowOutput& output, Buf buf, Val row);
};

/// x[from ..] inverseRms gamma, n elements.
void normaliseRow(KernelBuilder& k, Buf x, Val from, Buf gamma, int64_t n, double eps, RowSink& to);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_NORM_H_
