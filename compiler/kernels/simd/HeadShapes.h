// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How the attention of steps cuts its heads: what grids and emitters must agree on.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_HEADSHAPES_H_
#define FATHOM_COMPILER_KERNELS_SIMD_HEADSHAPES_H_

#include <algorithm>
#include <cstdint>

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/SplitShape.h"

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

/// A workgroup of `attention` has the query heads of `together` kv heads, the last one maybe fewer.
/// The runs of neighbouring heads lie one behind the other in a page: going from one to the next
/// reads longer stretches, of which prefetchers of the hardware make more. There are workgroups
/// enough for every worker with as many splits as there may be. Where matrix units are, one kv
/// head: pages are asked for in another order there.
struct GroupedShape {
  int64_t together = 1;
  int64_t workgroups = 1;

  static GroupedShape of(const TargetProfile& profile, int64_t kvHeads) {
    if (profile.amx) return {1, kvHeads};
    constexpr int64_t kMost = 8, kUnknownWorkers = 16;
    int64_t workers = profile.workers ? profile.workers : kUnknownWorkers;
    int64_t wanted = ceilDiv(SplitShape::kGroupedPieces * workers, SplitShape().most);
    int64_t least = std::min(std::max(ceilDiv(kvHeads, kMost), wanted), kvHeads);
    int64_t together = ceilDiv(kvHeads, least);
    return {together, ceilDiv(kvHeads, together)};
  }
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_HEADSHAPES_H_
