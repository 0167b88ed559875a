// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How latent_attention cuts its heads: what its grid and its emitter must agree on.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_LATENTSHAPE_H_
#define FATHOM_COMPILER_KERNELS_SIMD_LATENTSHAPE_H_

#include <cstdint>

#include "compiler/target/TargetProfile.h"

namespace fathom::kernels {

/// A workgroup has `groups` times 16 heads of one token; the last ones of the last workgroup may be
/// beyond the model's. `units`: matrix units make the products, of a bf16 cache whose rows are
/// whole lines of tiles. The choice depends on the model and the target alone.
struct LatentShape {
  bool units = false;
  int64_t groups = 1;

  static LatentShape of(const TargetProfile& profile, int64_t heads, int64_t rank, int64_t dim,
                        int64_t pageTokens, bool bf16) {
    // The products' K is unrolled: rows of any length would be kernels of any size.
    constexpr int64_t kMostElements = 1152, kMostGroups = 4;
    LatentShape shape;
    shape.units = profile.amx && bf16 && rank % 32 == 0 && dim % 32 == 0 && pageTokens % 64 == 0 &&
                  rank + dim <= kMostElements;
    if (!shape.units) return shape;
    // Heads that share a workgroup share its pages in the cache; the rest is workgroups to share
    // out.
    int64_t all = (heads + 15) / 16, workgroups = (all + kMostGroups - 1) / kMostGroups;
    shape.groups = (all + workgroups - 1) / workgroups;
    return shape;
  }
  /// Workgroups for all heads of a token.
  int64_t workgroups(int64_t heads) const { return (heads + 16 * groups - 1) / (16 * groups); }
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_LATENTSHAPE_H_
