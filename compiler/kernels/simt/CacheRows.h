// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The paged KV cache as GPU kernels address it: by words of 32 bits.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_CACHEROWS_H_
#define FATHOM_COMPILER_KERNELS_SIMT_CACHEROWS_H_

#include "compiler/kernels/CacheLayout.h"
#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

struct CacheRows : CacheLayout {
  CacheRows() = default;

  /// Reads the config for `runs` runs of rows of `elements`, an even number.
  static CacheRows read(Config& cfg, int64_t elements, int64_t runs = 1);

  int64_t rowWords() const { return rowBytes / 4; }
  int64_t runWords() const { return runBytes() / 4; }
  int64_t perWord() const { return bf16 ? 2 : 1; }

  /// Word of the layer's rows in page number `page` of a sequence whose page ids begin at
  /// table[base].
  Val pageAt(SimtBuilder& k, Buf table, Val base, Val page) const;
  /// Word in the first run of the row of `position` of `sequence`; `pages` is P.
  Val rowAt(SimtBuilder& k, Buf table, Val pages, Val sequence, Val position) const;

  /// `count` words (1 or 4) from word `at` of `cache` on, as float32 elements.
  Vals load(SimtBuilder& k, SimtBuilder::Binding cache, Val at, int64_t count) const;
  /// All lanes write `count` elements: element(i) goes to element place(i) from the row on. For even i
  /// place(i) is even and place(i + 1) follows it.
  void write(SimtBuilder& k, Buf words, Val row, int64_t count,
             llvm::function_ref<Val(Val i)> place, llvm::function_ref<Val(Val i)> element) const;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_CACHEROWS_H_
