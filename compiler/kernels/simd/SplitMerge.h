// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// SplitMerge: what the splits of a context found, put together for one head of one token.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_SPLITMERGE_H_
#define FATHOM_COMPILER_KERNELS_SIMD_SPLITMERGE_H_

#include "compiler/kernels/simd/Record.h"

namespace fathom::kernels {

/// out[i] = sum_s exp(m_s - m) u_s[i] / sum_s exp(m_s - m) l_s over the partial sums
/// f32[T][splits][heads][width + 16] (u, then m and l) of the splits that saw a row, whose m is
/// above -inf; zeros if there are none. Most see none while a context has fewer pages than splits.
class SplitMerge {
 public:
  SplitMerge(KernelBuilder& k, Buf partial, int64_t splits, int64_t heads, int64_t width);

  /// Weighs the splits of this head.
  void begin(Val token, Val head);
  /// The head's row, to out[to ..].
  void write(Buf out, Val to) const;
  /// The head's row as elements from `from` on, a multiple of 32; without the record's filling.
  void write(RecordWriter& record, Val from) const;

 private:
  Val at(Val split) const;
  Val value(Val i) const;  // 16 lanes

  KernelBuilder& k_;
  Buf partial_;
  Buf factor_, seen_;  // [splits that saw a row]: their factors and numbers
  int64_t splits_, heads_, width_;
  Val token_, head_, count_, inverse_;
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_SPLITMERGE_H_
