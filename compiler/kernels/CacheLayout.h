// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where the rows of the paged KV cache lie.
#ifndef FATHOM_COMPILER_KERNELS_CACHELAYOUT_H_
#define FATHOM_COMPILER_KERNELS_CACHELAYOUT_H_

#include "compiler/kernels/Config.h"

namespace fathom::kernels {

/// One layer's part of the pages: row `slot` of page `id` lies at
/// id pageBytes + layerBytes + slot rowBytes.
struct CacheLayout {
  bool bf16 = false;
  int64_t pageTokens = 64;
  int64_t pageBytes = 0;
  int64_t layerBytes = 0;
  int64_t rowBytes = 0;  // row elements times the element's size; rows follow each other

  /// Reads `kv`, `page_tokens`, `page_bytes` and `layer_bytes` for rows of `elements`.
  static CacheLayout read(Config& cfg, int64_t elements);

  int64_t elemBytes() const { return bf16 ? 2 : 4; }
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_CACHELAYOUT_H_
