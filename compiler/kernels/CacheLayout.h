// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where the rows of the paged KV cache lie.
#ifndef FATHOM_COMPILER_KERNELS_CACHELAYOUT_H_
#define FATHOM_COMPILER_KERNELS_CACHELAYOUT_H_

#include "compiler/kernels/Config.h"

namespace fathom::kernels {

/// The pages of one layer, pageBytes apart: in each of them runs of the same length one behind the
/// other, with a row for every slot. Row `slot` of run r of page `id` lies at
/// id pageBytes + r runBytes() + slot rowBytes. A latent model has one run; with grouped queries
/// there is one for the keys of each head, then one for the values of each, so that a head's
/// attention reads one stretch of memory.
struct CacheLayout {
  bool bf16 = false;
  int64_t pageTokens = 64;
  int64_t pageBytes = 0;
  int64_t rowBytes = 0;  // row elements times the element's size; rows of a run follow each other

  /// Reads `kv`, `page_tokens` and `page_bytes` for `runs` runs of rows of `elements`.
  static CacheLayout read(Config& cfg, int64_t elements, int64_t runs = 1);

  int64_t elemBytes() const { return bf16 ? 2 : 4; }
  int64_t runBytes() const { return pageTokens * rowBytes; }
  /// Elements from run to run.
  int64_t runElements() const { return runBytes() / elemBytes(); }
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_CACHELAYOUT_H_
