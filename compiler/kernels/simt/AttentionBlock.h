// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A workgroup's queries against the pages of a context: what all attention kernels of GPUs share.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_ATTENTIONBLOCK_H_
#define FATHOM_COMPILER_KERNELS_SIMT_ATTENTIONBLOCK_H_

#include "compiler/kernels/simt/CacheRows.h"

namespace fathom::kernels::simt {

/// Online softmax, a page at a time. Per page: a lane has a row of the page and makes its scores
/// with all queries; then lanes have a row and four queries for the exponentials; then a lane has
/// columns of the values and adds all rows to its sums, one for each query, which stay in
/// registers. A query's sums and their order do not depend on the other queries of the block: rows
/// that it does not see count with probability 0.
///
/// Workgroup memory has the queries' numbers by fours, so that one read brings four.
class AttentionBlock {
 public:
  struct Sizes {
    int64_t queries;     // at most the lanes of a workgroup
    int64_t keyWidth;    // elements of a key, from `keyAt` of a row on
    int64_t valueWidth;  // elements of a value, from `valueAt` of a row on
    int64_t window;      // rows that a query sees; 0: all before it
    bool queriesByFours = false;  // the queries come by fillQueries alone
  };
  AttentionBlock(SimtBuilder& k, const CacheRows& cache, SimtBuilder::Binding binding,
                 const Sizes& sizes);

  /// Elements at .. at + n - 1 of every query, times the scale: element(q, i) for i below n, both
  /// multiples of 16 or what is left of the key. To be followed by a barrier.
  void fillQueries(int64_t at, int64_t n, llvm::function_ref<Val(Val q, Val i)> element);
  /// Element i of query q: at q keyWidth + i. Not with queriesByFours.
  Buf query() const { return query_; }
  /// How many rows query q sees, at q: an i32, 0 for none. Likewise.
  Buf visible() const { return visible_; }
  /// No row seen yet. To be followed by a barrier; answers the sums to start with.
  Vals begin();

  /// Rows of pages [first, last) of a sequence whose page ids begin at table[tableAt], of which the
  /// rows below `most` are there. keyAt and valueAt are words from a page's first row on: whole
  /// runs.
  Vals attend(Buf table, Val tableAt, Val first, Val last, Val most, Val keyAt, Val valueAt,
              const Vals& sums);

  /// put(q, column, value) for every query and every column of the lane: the unnormalised sums.
  void forSums(const Vals& sums, llvm::function_ref<void(int64_t q, Val column, Val sum)> put);
  /// The maximum and the sum of the exponentials of query q.
  Val maximum(Val q) { return ofQuery(max_, q); }
  Val total(Val q) { return ofQuery(total_, q); }

 private:
  int64_t perWord() const { return cache_.perWord(); }
  int64_t valueWords() const { return sizes_.valueWidth / perWord(); }
  int64_t wordsOfLane() const { return (valueWords() + k_.lanes() - 1) / k_.lanes(); }
  int64_t fours() const { return (sizes_.queries + 3) / 4; }
  bool rowsByFours() const;
  Val ofQuery(Buf fours, Val q);
  Vals ofQueries(Buf fours, Val from);
  Vals products(Val at, Val w, int64_t count, llvm::ArrayRef<Val> in);
  void scores(Val page, Val row0, Val rows, Val keyAt);
  void softmax(Val rows);
  Vals values(Val page, Val rows, Val valueAt, const Vals& sums);

  SimtBuilder& k_;
  CacheRows cache_;
  SimtBuilder::Binding binding_;
  Sizes sizes_;
  bool queriesByFours_ = false;
  Buf query_, visible_, score_, max_, total_, alpha_;  // score: of a row, all queries
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_ATTENTIONBLOCK_H_
