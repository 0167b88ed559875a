// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Merges the partial sums of attention's splits, for the GPU kernels that read them.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_SPLITMERGE_H_
#define FATHOM_COMPILER_KERNELS_SIMT_SPLITMERGE_H_

#include "compiler/kernels/simt/SimtBuilder.h"

namespace fathom::kernels::simt {

/// out[i] = sum_s exp(m_s - m) u_s[i] / sum_s exp(m_s - m) l_s of one token and head, out of
/// f32[T][splits][heads][width + 16]; zeros if no split saw a row.
class SplitMerge {
 public:
  SplitMerge(SimtBuilder& k, Buf partial, int64_t splits, int64_t heads, int64_t width)
      : k_(k), partial_(partial), splits_(splits), heads_(heads), width_(width) {}

  /// Makes the factors of the splits. Once; uniform control flow.
  void begin(Val token, Val head);
  /// Element i.
  Val element(Val i) const;

 private:
  Val at(Val split) const { return from_ + split * (heads_ * (width_ + 16)); }

  SimtBuilder& k_;
  Buf partial_, factor_;
  int64_t splits_, heads_, width_;
  Val from_, inverse_;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_SPLITMERGE_H_
