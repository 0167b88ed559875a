// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stored bytes to float32, for every storage type.
#ifndef FATHOM_FRONTEND_WEIGHTS_DEQUANTIZE_H_
#define FATHOM_FRONTEND_WEIGHTS_DEQUANTIZE_H_

#include <cstdint>

#include "frontend/weights/tensor_info.h"

namespace fathom {

// Decodes `elements` elements (a whole number of blocks) from `src`, which needs no alignment, to
// `out`. Results do not depend on the machine: exact for every plain type but F64 and the 32- and
// 64-bit integers (rounded to nearest); for blocks, each product and sum of the block's formula is
// rounded to float32 once, never fused.
void Dequantize(StorageType type, const uint8_t* src, uint64_t elements, float* out);

// The same for fp8 (kF8E4M3, kF8E5M2), each value then multiplied by `scale`.
void DequantizeScaled(StorageType type, const uint8_t* src, uint64_t elements, float scale,
                      float* out);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_DEQUANTIZE_H_
