// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A workgroup's queries against the pages of a context: what all attention kernels of GPUs share.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_ATTENTIONBLOCK_H_
#define FATHOM_COMPILER_KERNELS_SIMT_ATTENTIONBLOCK_H_

#include "compiler/kernels/simt/CacheRows.h"

namespace fathom::kernels::simt {

/// Online softmax, a page at a time. Per page: a lane has a row of the page and makes its scores
/// with all queries; then lanes have pairs of query and row for the exponentials; then a lane has
/// columns of the values and adds all rows to its sums, one for each query, which stay in
/// registers. A query's sums and their order do not depend on the other queries of the block: rows
/// that it does not see count with probability 0.
class AttentionBlock {
 public:
  struct Sizes {
    int64_t queries;     // at most the lanes of a workgroup
    int64_t keyWidth;    // elements of a key, from `keyAt` of a row on
    int64_t valueWidth;  // elements of a value, from `valueAt` of a row on
    int64_t window;      // rows that a query sees; 0: all before it
  };
  AttentionBlock(SimtBuilder& k, const CacheRows& cache, SimtBuilder::Binding binding,
                 const Sizes& sizes);

  /// Element i of query q, times the scale: at q keyWidth + i. To be filled, with a barrier behind.
  Buf query() const { return query_; }
  /// How many rows query q sees, at q: an i32, 0 for none. Likewise.
  Buf visible() const { return visible_; }
  /// No row seen yet. To be followed by a barrier; answers the sums to start with.
  Vals begin();

  /// Rows of pages [first, last) of a sequence whose page ids begin at table[tableAt], of which the
  /// rows below `most` are there. keyAt and valueAt are words into a row, multiples of
  /// `keyAlign` words.
  Vals attend(Buf table, Val tableAt, Val first, Val last, Val most, Val keyAt, Val valueAt,
              int64_t keyAlign, const Vals& sums);

  /// put(q, column, value) for every query and every column of the lane: the unnormalised sums.
  void forSums(const Vals& sums, llvm::function_ref<void(int64_t q, Val column, Val sum)> put);
  /// The maximum and the sum of the exponentials of query q.
  Val maximum(Val q) { return k_.load(max_, q); }
  Val total(Val q) { return k_.load(total_, q); }

 private:
  int64_t perWord() const { return cache_.perWord(); }
  int64_t valueWords() const { return sizes_.valueWidth / perWord(); }
  int64_t wordsOfLane() const { return (valueWords() + k_.lanes() - 1) / k_.lanes(); }
  void scores(Val page, Val row0, Val rows, Val keyAt, int64_t keyAlign);
  void softmax();
  Vals values(Val page, Val rows, Val valueAt, const Vals& sums);

  SimtBuilder& k_;
  CacheRows cache_;
  SimtBuilder::Binding binding_;
  Sizes sizes_;
  Buf query_, visible_, score_, max_, total_, alpha_;
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_ATTENTIONBLOCK_H_
