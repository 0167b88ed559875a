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
  Type four = k.vec(k.f32(), 4);
  queriesByFours_ = sizes.queriesByFours && rowsByFours();
  int64_t elements = sizes.queries * sizes.keyWidth;
  query_ = queriesByFours_ ? k.shared(four, elements / 4) : k.shared(k.f32(), elements);
  score_ = k.shared(four, fours() * cache.pageTokens);
  visible_ = k.shared(k.i32(), sizes.queries);
  max_ = k.shared(four, fours());
  total_ = k.shared(four, fours());
  alpha_ = k.shared(four, fours());
}

// Whether every row begins at, and has, a multiple of four words.
bool AttentionBlock::rowsByFours() const {
  return cache_.rowWords() % 4 == 0 && cache_.pageBytes % 16 == 0 &&
         sizes_.keyWidth % (4 * perWord()) == 0;
}

void AttentionBlock::fillQueries(int64_t at, int64_t n, function_ref<Val(Val, Val)> element) {
  int64_t step = queriesByFours_ ? 4 : 1;
  k_.forLanes(sizes_.queries * (n / step), [&](Val j) {
    Val q = j / (n / step), i = j % (n / step);
    Val to = q * (sizes_.keyWidth / step) + i + at / step;
    if (step == 1) return k_.store(element(q, i), query_, to);
    Vals x;
    for (int64_t c = 0; c < step; ++c) x.push_back(element(q, i * step + c));
    k_.store(fromLanes(x), query_, to);
  });
}

Vals AttentionBlock::begin() {
  k_.forLanes(fours(), [&](Val q) {
    k_.store(splat(k_.constant(k_.f32(), kNever), 4), max_, q);
    k_.store(k_.zero(4), total_, q);
  });
  return Vals(sizes_.queries * wordsOfLane() * perWord(), k_.constant(k_.f32(), 0));
}

Val AttentionBlock::ofQuery(Buf fours, Val q) {
  Val four = k_.load(fours, q / 4), which = q % 4, out = lane(four, 0);
  for (int64_t i = 1; i < 4; ++i) out = select(which == i, lane(four, i), out);
  return out;
}

// Of every query: what begins at `from`.
Vals AttentionBlock::ofQueries(Buf fours, Val from) {
  Vals out;
  for (int64_t q = 0; q < this->fours(); ++q) {
    Val four = k_.load(fours, from + q);
    for (int64_t i = 0; i < 4; ++i) out.push_back(lane(four, i));
  }
  out.resize(sizes_.queries);
  return out;
}

// Adds the products of `count` words of the key at `at`, from word w on, with those of each query.
Vals AttentionBlock::products(Val at, Val w, int64_t count, ArrayRef<Val> in) {
  Vals out(in.begin(), in.end());
  Vals key = cache_.load(k_, binding_, at + w, count);
  for (int64_t q = 0; q < sizes_.queries; ++q) {
    Val from = w * perWord() + q * sizes_.keyWidth, four;
    for (int64_t i = 0; i < static_cast<int64_t>(key.size()); ++i) {
      if (queriesByFours_ && i % 4 == 0) four = k_.load(query_, from / 4 + i / 4);
      Val x = queriesByFours_ ? lane(four, i % 4) : k_.load(query_, from + i);
      out[q] = fma(key[i], x, out[q]);
    }
  }
  return out;
}

// The scores of the rows below `rows` with every query; -inf for those that it does not see.
void AttentionBlock::scores(Val page, Val row0, Val rows, Val keyAt) {
  int64_t keyWords = sizes_.keyWidth / perWord(), step = rowsByFours() ? 4 : 1;
  Val never = k_.constant(k_.f32(), kNever);
  k_.forLanes(cache_.pageTokens, [&](Val r) {
    Vals none(sizes_.queries, k_.constant(k_.f32(), 0));
    // Rows that are not there may hold anything, or lie behind the cache.
    Vals acc = k_.ifElse(
        r < rows,
        [&] {
          Val at = page + r * cache_.rowWords() + keyAt;
          return k_.forLoop(k_.idx(0), k_.idx(keyWords), step, none,
                            [&](Val w, ArrayRef<Val> in) { return products(at, w, step, in); });
        },
        [&] { return none; });
    Val row = toInt(row0 + r, k_.i32());
    for (int64_t q = 0; q < sizes_.queries; ++q) {
      Val end = k_.load(visible_, k_.idx(q));
      Val seen = row < end;
      if (sizes_.window) seen = seen & (row >= end - sizes_.window);
      acc[q] = select(seen, acc[q], never);
    }
    acc.resize(fours() * 4, never);
    for (int64_t q = 0; q < fours(); ++q)
      k_.store(fromLanes(ArrayRef<Val>(acc).slice(4 * q, 4)), score_, r * fours() + q);
  });
}

// Scores become exponentials of their distance to the maximum.
void AttentionBlock::softmax(Val rows) {
  Val zero = k_.idx(0);
  k_.forLanes(fours(), [&](Val q) {
    Val before = k_.load(max_, q);
    Val top = k_.forLoop(zero, rows, 1, {before}, [&](Val r, ArrayRef<Val> in) {
      return Vals{max(in[0], k_.load(score_, r * fours() + q))};
    })[0];
    k_.store(top, max_, q);
    k_.store(exp(before - top), alpha_, q);
  });
  k_.barrier();
  k_.forLanes(rows * fours(), [&](Val i) {
    k_.store(exp(k_.load(score_, i) - k_.load(max_, i % fours())), score_, i);
  });
  k_.barrier();
  k_.forLanes(fours(), [&](Val q) {
    Val start = k_.load(total_, q) * k_.load(alpha_, q);
    Val sum = k_.forLoop(zero, rows, 1, {start}, [&](Val r, ArrayRef<Val> in) {
      return Vals{in[0] + k_.load(score_, r * fours() + q)};
    })[0];
    k_.store(sum, total_, q);
  });
}

Vals AttentionBlock::values(Val page, Val rows, Val valueAt, const Vals& sums) {
  int64_t each = wordsOfLane() * perWord();
  Vals start = sums, alpha = ofQueries(alpha_, k_.idx(0));
  for (int64_t q = 0; q < sizes_.queries; ++q)
    for (int64_t i = 0; i < each; ++i) start[q * each + i] = start[q * each + i] * alpha[q];
  return k_.forLoop(k_.idx(0), rows, 1, start, [&](Val r, ArrayRef<Val> in) {
    Vals out(in.begin(), in.end()), p = ofQueries(score_, r * fours());
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
                            Val valueAt, const Vals& sums) {
  return k_.forLoop(first, last, 1, sums, [&](Val p, ArrayRef<Val> in) {
    Val row0 = p * cache_.pageTokens;
    Val rows = min(most - row0, k_.idx(cache_.pageTokens));
    Val page = cache_.pageAt(k_, table, tableAt, p);
    scores(page, row0, rows, keyAt);
    k_.barrier();
    softmax(rows);
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
