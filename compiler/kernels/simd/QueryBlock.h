// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// QueryBlock: softmax attention of many query rows over pages of packed keys and values.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_QUERYBLOCK_H_
#define FATHOM_COMPILER_KERNELS_SIMD_QUERYBLOCK_H_

#include "compiler/kernels/simd/AttentionTile.h"
#include "compiler/kernels/simd/MatrixTile.h"

namespace fathom::kernels {

/// The prefill kernels work on up to `capacity` query rows at a time, so that a page is read,
/// packed and expanded once per block and scratch does not grow with T. Rows carry their own causal
/// limit.
///
///   block.begin();                       // forget the previous rows
///   block.setRow(r, seen, x, from);      // for each row; rows without a token see 0 cache rows
///   for each page: fill block.keys and block.values; block.attend(row0, rows);
///   block.finish(...)
class QueryBlock {
 public:
  /// Queries and keys have `keyElements`, values `valueWidth` (a multiple of 16) elements.
  /// window 0: a row sees everything up to its position.
  QueryBlock(KernelBuilder& k, Words form, int64_t capacity, int64_t keyElements,
             int64_t valueWidth, int64_t pageTokens, double scale, int64_t window);

  /// Words of a page's keys: [key word][page tokens]. Tokens that no row sees may be anything.
  Buf keys;
  /// Words of a page's values along the tokens: [page tokens / per][valueWidth]. Tokens that no row
  /// sees must be finite.
  Buf values;
  /// Whether matrix units make the products: of bf16, and short enough to be unrolled.
  bool byMatrixUnits() const { return matrix_; }
  int64_t keyWords() const { return keyElements_ / form_.per(); }
  int64_t capacity() const { return capacity_; }

  void begin();
  /// Row r sees the first `seen` (i32) rows of the cache; its query is x[from ..].
  void setRow(Val r, Val seen, Buf x, Val from);
  /// Marks rows [from, up to a multiple of the tile) as empty. Answers that multiple.
  Val pad(Val from);
  /// All rows [0, rows) (as pad answered) attend to the page that begins at cache row `row0`.
  void attend(Val row0, Val rows);
  /// The output of row r, to out[to ..]; zeros if it saw nothing.
  void finish(Val r, Buf out, Val to);
  /// Stores one line of values of tokens t, t + 1 (pairs) or of token t, 16 lanes from `vec` on.
  void storeValue(Val t, Val column, Val first, Val second);

 private:
  Buf words(int64_t count, Buf* halves);
  void scoreTile(Val r0);
  void scoreMatrix(Val r0);
  void softmaxRows(Val r, Val i, Val row0);
  Val power(Val x) const;
  void valueTile(Val r0);
  void valueMatrix(Val r0);

  KernelBuilder& k_;
  Words form_;
  int64_t capacity_, keyElements_, valueWidth_, pageTokens_, window_;
  double scale_;
  bool matrix_;
  int64_t rows_;  // of a tile of queries
  int64_t vecs_;  // vectors of a register tile
  Buf query_, score_, weight_, sum_, m_, l_, seen_, alpha_;
  Buf queryHalves_, keyHalves_, weightHalves_, valueHalves_;  // the bf16 of the words
  Buf product_;  // float32 [rows][valueWidth] of a page's values
};

/// The tokens [first, end) of the batch among which those of sequence `b` lie; empty without any.
std::pair<Val, Val> tokensOf(KernelBuilder& k, Buf sequence, Val tokens, Val b);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_QUERYBLOCK_H_
