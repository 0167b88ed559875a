// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Scores, softmax and values of one page for a block of queries.
#include "compiler/kernels/simt/AttentionBlock.h"

#include <limits>

using namespace mlir;

namespace fathom::kernels::simt {

constexpr double kNever = -std::numeric_limits<double>::infinity();

AttentionBlock::AttentionBlock(SimtBuilder& k, const CacheRows& cache,
                               SimtBuilder::Binding binding, const Sizes& sizes)
    : k_(k), cache_(cache), binding_(binding), sizes_(sizes) {
  query_ = k.shared(k.f32(), sizes.queries * sizes.keyWidth);
  score_ = k.shared(k.f32(), sizes.queries * cache.pageTokens);
  visible_ = k.shared(k.i32(), sizes.queries);
  max_ = k.shared(k.f32(), sizes.queries);
  total_ = k.shared(k.f32(), sizes.queries);
  alpha_ = k.shared(k.f32(), sizes.queries);
}

Vals AttentionBlock::begin() {
  k_.forLanes(sizes_.queries, [&](Val q) {
    k_.store(k_.constant(k_.f32(), kNever), max_, q);
    k_.store(k_.constant(k_.f32(), 0), total_, q);
  });
  return Vals(sizes_.queries * wordsOfLane() * perWord(), k_.constant(k_.f32(), 0));
}

// The scores of the rows below `rows` with every query; -inf for those that it does not see.
void AttentionBlock::scores(Val page, Val row0, Val rows, Val keyAt, int64_t keyAlign) {
  bool fours = keyAlign % 4 == 0 && cache_.rowWords() % 4 == 0 && cache_.pageBytes % 16 == 0;
  int64_t keyWords = sizes_.keyWidth / perWord(), step = fours ? 4 : 1;
  int64_t whole = keyWords / step * step;
  k_.forLanes(cache_.pageTokens, [&](Val r) {
    // Rows that are not there may hold anything, or lie behind the cache: the last one is read.
    Val at = page + min(r, rows - 1) * cache_.rowWords() + keyAt;
    Vals acc(sizes_.queries, k_.constant(k_.f32(), 0));
    auto add = [&](Val w, int64_t count, ArrayRef<Val> in) {
      Vals out(in.begin(), in.end());
      Vals key = cache_.load(k_, binding_, at + w, count);
      for (int64_t q = 0; q < sizes_.queries; ++q)
        for (size_t i = 0; i < key.size(); ++i)
          out[q] = fma(key[i],
                       k_.load(query_, w * perWord() +
                                           (q * sizes_.keyWidth + static_cast<int64_t>(i))),
                       out[q]);
      return out;
    };
    acc = k_.forLoop(k_.idx(0), k_.idx(whole), step, acc,
                     [&](Val w, ArrayRef<Val> in) { return add(w, step, in); });
    for (int64_t w = whole; w < keyWords; ++w) acc = add(k_.idx(w), 1, acc);
    Val row = toInt(row0 + r, k_.i32());
    for (int64_t q = 0; q < sizes_.queries; ++q) {
      Val end = k_.load(visible_, k_.idx(q));
      Val seen = row < end;
      if (sizes_.window) seen = seen & (row >= end - sizes_.window);
      k_.store(select(seen, acc[q], number(acc[q], kNever)), score_, r + q * cache_.pageTokens);
    }
  });
}

// Scores become exponentials of their distance to the maximum.
void AttentionBlock::softmax() {
  int64_t tokens = cache_.pageTokens;
  Val zero = k_.idx(0), all = k_.idx(tokens);
  k_.forLanes(sizes_.queries, [&](Val q) {
    Val before = k_.load(max_, q);
    Val top = k_.forLoop(zero, all, 1, {before}, [&](Val r, ArrayRef<Val> in) {
      return Vals{max(in[0], k_.load(score_, q * tokens + r))};
    })[0];
    k_.store(top, max_, q);
    k_.store(exp(before - top), alpha_, q);
  });
  k_.barrier();
  k_.forLanes(sizes_.queries * tokens, [&](Val i) {
    k_.store(exp(k_.load(score_, i) - k_.load(max_, i / tokens)), score_, i);
  });
  k_.barrier();
  k_.forLanes(sizes_.queries, [&](Val q) {
    Val start = k_.load(total_, q) * k_.load(alpha_, q);
    Val sum = k_.forLoop(zero, all, 1, {start}, [&](Val r, ArrayRef<Val> in) {
      return Vals{in[0] + k_.load(score_, q * tokens + r)};
    })[0];
    k_.store(sum, total_, q);
  });
}

Vals AttentionBlock::values(Val page, Val rows, Val valueAt, const Vals& sums) {
  int64_t each = wordsOfLane() * perWord();
  Vals start = sums;
  for (int64_t q = 0; q < sizes_.queries; ++q) {
    Val alpha = k_.load(alpha_, k_.idx(q));
    for (int64_t i = 0; i < each; ++i) start[q * each + i] = start[q * each + i] * alpha;
  }
  return k_.forLoop(k_.idx(0), rows, 1, start, [&](Val r, ArrayRef<Val> in) {
    Vals out(in.begin(), in.end()), p;
    for (int64_t q = 0; q < sizes_.queries; ++q)
      p.push_back(k_.load(score_, r + q * cache_.pageTokens));
    Val row = page + r * cache_.rowWords() + valueAt;
    for (int64_t j = 0; j < wordsOfLane(); ++j) {
      // A lane without a column of its own repeats the last.
      Val word = k_.lane() + j * k_.lanes();
      if ((j + 1) * k_.lanes() > valueWords()) word = min(word, k_.idx(valueWords() - 1));
      Vals v = cache_.load(k_, binding_, row + word, 1);
      for (int64_t q = 0; q < sizes_.queries; ++q)
        for (size_t i = 0; i < v.size(); ++i) {
          Val& sum = out[q * each + j * perWord() + i];
          sum = fma(v[i], p[q], sum);
        }
    }
    return out;
  });
}

Vals AttentionBlock::attend(Buf table, Val tableAt, Val first, Val last, Val most, Val keyAt,
                            Val valueAt, int64_t keyAlign, const Vals& sums) {
  return k_.forLoop(first, last, 1, sums, [&](Val p, ArrayRef<Val> in) {
    Val row0 = p * cache_.pageTokens;
    Val rows = min(most - row0, k_.idx(cache_.pageTokens));
    Val page = cache_.pageAt(k_, table, tableAt, p);
    scores(page, row0, rows, keyAt, keyAlign);
    k_.barrier();
    softmax();
    Vals out = values(page, rows, valueAt, Vals(in.begin(), in.end()));
    k_.barrier();
    return out;
  });
}

void AttentionBlock::forSums(const Vals& sums,
                             function_ref<void(int64_t, Val, Val)> put) {
  int64_t each = wordsOfLane() * perWord();
  for (int64_t j = 0; j < wordsOfLane(); ++j) {
    Val word = k_.lane() + j * k_.lanes();
    auto all = [&] {
      for (int64_t q = 0; q < sizes_.queries; ++q)
        for (int64_t i = 0; i < perWord(); ++i)
          put(q, word * perWord() + i, sums[q * each + j * perWord() + i]);
    };
    if ((j + 1) * k_.lanes() > valueWords())
      k_.ifThen(word < valueWords(), all);
    else
      all();
  }
}

}  // namespace fathom::kernels::simt
