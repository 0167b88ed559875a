// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The paged KV cache as kernels address it.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_CACHE_H_
#define FATHOM_COMPILER_KERNELS_SIMD_CACHE_H_

#include "compiler/kernels/CacheLayout.h"
#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

/// The cache's addresses and elements as values.
struct Cache : CacheLayout {
  Cache() = default;
  explicit Cache(const CacheLayout& layout) : CacheLayout(layout) {}

  /// Reads the config for `runs` runs of rows of `elements`.
  static Cache read(Config& cfg, int64_t elements, int64_t runs = 1) {
    return Cache(CacheLayout::read(cfg, elements, runs));
  }

  mlir::Type elem(KernelBuilder& k) const { return bf16 ? k.i16() : k.f32(); }

  /// Byte address of the layer's rows in page number `page` of a sequence whose page ids begin at
  /// table[base].
  Val pageAt(KernelBuilder& k, Buf table, Val base, Val page) const;
  /// Byte address in the first run of the row of `position` of `sequence`; `pages` is P.
  Val rowAt(KernelBuilder& k, Buf table, Val pages, Val sequence, Val position) const;

  /// f32 lanes to and from elements of the cache.
  Val encode(Val v) const { return bf16 ? f32ToBf16(v) : v; }
  Val decode(Val v) const { return bf16 ? bf16ToF32(v) : v; }
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_CACHE_H_
