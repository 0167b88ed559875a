// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How attention of steps cuts a context: what its grid, its merge and its emitter must agree on.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_SPLITSHAPE_H_
#define FATHOM_COMPILER_KERNELS_SIMD_SPLITSHAPE_H_

#include <cstdint>
#include <numeric>

#include "compiler/target/TargetProfile.h"

namespace fathom::kernels {

/// A token's context is cut into at most `most` splits, each a workgroup for each of its
/// `workgroups` of heads. A split costs packing of queries, a record to write and one to merge, so
/// there should be few; yet every worker wants the same number of pieces, and at least so many
/// that others make up for one that is slow. Latent attention of 16 heads on 2 workers: 2 splits,
/// of 128 heads (8 workgroups) 1; grouped queries, whose splits cost less: of 8 kv heads (a
/// workgroup) 8. Contexts of kPages pages for each of twice as many are cut into these.
///
/// Fixed when code is made and chosen by the token's position, never by what else there is to do:
/// a result does not depend on the number of workers that there are in the end.
struct SplitShape {
  static constexpr int64_t kPages = 32, kLatentPieces = 1, kGroupedPieces = 4;

  int64_t most = 16;  // unknown workers: enough for many at long contexts
  int64_t even = 0;   // of contexts of fewer pages, at most; 0: unknown

  static SplitShape of(const TargetProfile& profile, int64_t workgroups, int64_t pieces) {
    SplitShape shape;
    // Not measured with matrix units.
    if (!profile.workers || profile.amx) return shape;
    int64_t alike = profile.workers / std::gcd(profile.workers, workgroups), even = alike;
    while (even * workgroups < pieces * profile.workers) even += alike;
    if (even > shape.most) return shape;
    shape.even = even;
    shape.most = 2 * even <= shape.most ? 2 * even : even;
    return shape;
  }
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_SPLITSHAPE_H_
