// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Blocks of query rows: scores with lanes = cache rows, values with lanes = dimensions.
#include "compiler/kernels/simd/QueryBlock.h"

#include <numbers>

using namespace mlir;

namespace fathom::kernels {

constexpr int64_t kLanes = 16;
// Query rows of a register tile.
constexpr int64_t kRows = 4;
// Tiles of 16 columns that matrix units make at a time, with one of the left operand.
constexpr int64_t kTiles = 4;

// `body(column, right)` for all columns, some tiles of them at a time: right operands that are
// lines of `columns` words.
static void forColumns(KernelBuilder& k, int64_t columns, Buf halves,
                       function_ref<void(Val, SmallVector<MatrixOperand, 4>)> body) {
  auto some = [&](Val column, int64_t tiles) {
    SmallVector<MatrixOperand, 4> right;
    for (int64_t j = 0; j < tiles; ++j) right.push_back({halves, column + kLanes * j, columns});
    body(column, right);
  };
  constexpr int64_t kStep = kTiles * kLanes;
  int64_t whole = columns / kStep * kStep;
  k.forLoop(k.idx(0), k.idx(whole), kStep, [&](Val column) { some(column, kTiles); });
  if (whole < columns) some(k.idx(whole), (columns - whole) / kLanes);
}

QueryBlock::QueryBlock(KernelBuilder& k, Words form, int64_t capacity, int64_t keyElements,
                       int64_t valueWidth, int64_t pageTokens, double scale, int64_t window)
    : k_(k),
      form_(form),
      capacity_(capacity),
      keyElements_(keyElements),
      valueWidth_(valueWidth),
      pageTokens_(pageTokens),
      window_(window),
      scale_(form.pairs ? scale * std::numbers::log2e : scale),
      matrix_(form.pairs && k.profile().amx && keyElements % 32 == 0 && keyElements <= 512 &&
              pageTokens % 32 == 0),
      rows_(matrix_ ? kMatrixRows : kRows),
      vecs_(std::max<int64_t>(k.registers() / 2 / kRows, 1)) {
  capacity_ = (capacity + rows_ - 1) / rows_ * rows_;
  keys = words(keyWords() * pageTokens, &keyHalves_);
  values = words(pageTokens / form.per() * valueWidth, &valueHalves_);
  query_ = words(capacity_ * keyWords(), &queryHalves_);
  score_ = k.scratch(k.f32(), 4 * rows_ * pageTokens);
  weight_ = words(rows_ * pageTokens / form.per(), &weightHalves_);
  if (matrix_) product_ = k.scratch(k.f32(), 4 * rows_ * valueWidth);
  sum_ = k.scratch(k.f32(), 4 * capacity_ * valueWidth);
  m_ = k.scratch(k.f32(), 4 * capacity_);
  l_ = k.scratch(k.f32(), 4 * capacity_);
  seen_ = k.scratch(k.i32(), 4 * capacity_);
  alpha_ = k.scratch(k.f32(), 4 * rows_);
}

Buf QueryBlock::words(int64_t count, Buf* halves) {
  Buf bytes = k_.scratch(k_.i8(), 4 * count);
  *halves = k_.view(bytes, k_.idx(0), k_.b().getBF16Type());
  return k_.view(bytes, k_.idx(0), form_.type(k_));
}

// Values that a page does not reach stay what an earlier page left there: finite, and weighted by
// 0.
void QueryBlock::begin() {
  Val none = k_.constant(k_.vec(form_.type(k_)), 0);
  k_.forLoop(k_.idx(0), k_.idx(pageTokens_ / form_.per() * valueWidth_), kLanes,
             [&](Val i) { k_.store(none, values, i); });
}

void QueryBlock::setRow(Val r, Val seen, Buf x, Val from) {
  int64_t step = kLanes * form_.per();
  k_.forRow(keyElements_, step, [&](Val i, Val count) {
    int64_t elements = count ? keyElements_ % step : step;
    Val words = loadQuery(k_, form_, x, from + i, elements, scale_);
    Val kept = elements < step ? k_.idx(elements / form_.per()) : Val();
    k_.store(words, query_, r * keyWords() + i / form_.per(), kept);
  });
  k_.forLoop(k_.idx(0), k_.idx(valueWidth_), kLanes,
             [&](Val i) { k_.store(k_.zero(), sum_, r * valueWidth_ + i); });
  k_.store(k_.constant(k_.f32(), kNever), m_, r);
  k_.store(k_.constant(k_.f32(), 0), l_, r);
  k_.store(seen, seen_, r);
}

Val QueryBlock::pad(Val from) {
  Val end = (from + (rows_ - 1)) / rows_ * rows_;
  k_.forLoop(from, end, 1, [&](Val r) {
    k_.store(k_.constant(k_.i32(), 0), seen_, r);
    k_.store(k_.constant(k_.f32(), kNever), m_, r);
  });
  return end;
}

void QueryBlock::scoreTile(Val r0) {
  int64_t lines = pageTokens_ / kLanes;
  Operand a{query_, r0 * keyWords(), keyWords(), 1};
  auto tile = [&](Val line, int64_t vecs) {
    Operand b{keys, line * kLanes, kLanes, pageTokens_};
    Vals s = product(k_, form_, a, b, kRows, vecs, keyWords(), Vals(kRows * vecs, k_.zero()));
    for (int64_t i = 0; i < kRows; ++i)
      for (int64_t j = 0; j < vecs; ++j)
        k_.store(s[i * vecs + j], score_, (line + j) * kLanes + i * pageTokens_);
  };
  int64_t whole = lines / vecs_ * vecs_;
  k_.forLoop(k_.idx(0), k_.idx(whole), vecs_, [&](Val line) { tile(line, vecs_); });
  if (whole < lines) tile(k_.idx(whole), lines - whole);
}

void QueryBlock::scoreMatrix(Val r0) {
  MatrixRows queries{queryHalves_, r0 * keyElements_, k_.idx(keyElements_)};
  forColumns(k_, pageTokens_, keyHalves_, [&](Val column, SmallVector<MatrixOperand, 4> right) {
    matrixProduct(k_, MatrixTerm{{queries}, std::move(right), keyWords()},
                  {score_, column, k_.idx(pageTokens_)});
  });
}

// Scores of pairs are logarithms to the base 2.
Val QueryBlock::power(Val x) const { return form_.pairs ? exp2OfWeight(x) : exp(x); }

// Rows r .. r + 3, the i-th of the tile and those behind it.
void QueryBlock::softmaxRows(Val r, Val i, Val row0) {
  int64_t vecs = pageTokens_ / kLanes;
  Val token = k_.iota() + toInt(row0, k_.i32());
  Vals scores, tops, sums;
  for (int64_t n = 0; n < kRows; ++n) {
    Val limit = k_.load(seen_, r + n), top;
    for (int64_t j = 0; j < vecs; ++j) {
      Val at = token + kLanes * j, seen = at < limit;
      if (window_) seen = seen & (at >= limit - window_);
      Val v = k_.load(score_, (i + n) * pageTokens_ + kLanes * j, kLanes);
      scores.push_back(select(seen, v, number(v, kNever)));
      top = top ? max(top, scores.back()) : scores.back();
    }
    tops.push_back(top);
  }
  Val old = k_.load(m_, r, kRows), m = max(largestOfRows(tops), old), alpha = power(old - m);
  k_.store(m, m_, r);
  k_.store(alpha, alpha_, i);
  for (int64_t n = 0; n < kRows; ++n) {
    Val to = (i + n) * (pageTokens_ / form_.per()), sum = k_.zero();
    Val high = splat(lane(m, n));
    for (int64_t j = 0; j < vecs; ++j) {
      Val p = power(scores[n * vecs + j] - high);
      sum = sum + p;
      if (form_.pairs)
        k_.store(bitcast(f32ToBf16(p), k_.i32()), weight_, to + kLanes / 2 * j);
      else
        k_.store(p, weight_, to + kLanes * j);
    }
    sums.push_back(sum);
  }
  k_.store(fma(k_.load(l_, r, kRows), alpha, reduceRows(sums)), l_, r);
}

void QueryBlock::valueMatrix(Val r0) {
  MatrixRows weights{weightHalves_, k_.idx(0), k_.idx(pageTokens_)};
  forColumns(k_, valueWidth_, valueHalves_, [&](Val column, SmallVector<MatrixOperand, 4> right) {
    matrixProduct(k_, MatrixTerm{{weights}, std::move(right), pageTokens_ / 2},
                  {product_, column, k_.idx(valueWidth_)});
  });
  k_.forLoop(k_.idx(0), k_.idx(rows_), 1, [&](Val i) {
    Val alpha = splat(k_.load(alpha_, i)), at = (r0 + i) * valueWidth_, from = i * valueWidth_;
    k_.forLoop(k_.idx(0), k_.idx(valueWidth_), kLanes, [&](Val c) {
      Val page = k_.load(product_, from + c, kLanes);
      k_.store(fma(k_.load(sum_, at + c, kLanes), alpha, page), sum_, at + c);
    });
  });
}

void QueryBlock::valueTile(Val r0) {
  int64_t words = pageTokens_ / form_.per(), lines = valueWidth_ / kLanes;
  Operand a{weight_, k_.idx(0), words, 1};
  auto tile = [&](Val line, int64_t vecs) {
    auto at = [&](int64_t i, int64_t j) { return (r0 + i) * valueWidth_ + (line + j) * kLanes; };
    Vals u;
    for (int64_t i = 0; i < kRows; ++i)
      for (int64_t j = 0; j < vecs; ++j)
        u.push_back(k_.load(sum_, at(i, j), kLanes) * k_.load(alpha_, k_.idx(i)));
    Operand b{values, line * kLanes, kLanes, valueWidth_};
    u = product(k_, form_, a, b, kRows, vecs, words, u);
    for (int64_t i = 0; i < kRows; ++i)
      for (int64_t j = 0; j < vecs; ++j) k_.store(u[i * vecs + j], sum_, at(i, j));
  };
  int64_t whole = lines / vecs_ * vecs_;
  k_.forLoop(k_.idx(0), k_.idx(whole), vecs_, [&](Val line) { tile(line, vecs_); });
  if (whole < lines) tile(k_.idx(whole), lines - whole);
}

void QueryBlock::attend(Val row0, Val rows) {
  k_.forLoop(k_.idx(0), rows, rows_, [&](Val r0) {
    Val most = reduceMax(k_.load(seen_, r0, rows_));
    k_.ifThen(toIndex(most) > row0, [&] {
      matrix_ ? scoreMatrix(r0) : scoreTile(r0);
      k_.forLoop(k_.idx(0), k_.idx(rows_), kRows,
                 [&](Val first) { softmaxRows(r0 + first, first, row0); });
      matrix_ ? valueMatrix(r0) : valueTile(r0);
    });
  });
}

void QueryBlock::finish(Val r, Buf out, Val to) {
  Val l = k_.load(l_, r);
  Val inverse = select(l > 0.0, number(l, 1) / l, number(l, 0));
  k_.forLoop(k_.idx(0), k_.idx(valueWidth_), kLanes, [&](Val i) {
    k_.store(k_.load(sum_, r * valueWidth_ + i, kLanes) * inverse, out, to + i);
  });
}

void QueryBlock::storeValue(Val t, Val column, Val first, Val second) {
  Val at = t / form_.per() * valueWidth_ + column;
  k_.store(form_.pairs ? packBf16(first, second) : first, values, at);
  if (!form_.pairs && second) k_.store(second, values, at + valueWidth_);
}

std::pair<Val, Val> tokensOf(KernelBuilder& k, Buf sequence, Val tokens, Val b) {
  Vals range = k.forLoop(k.idx(0), tokens, 1, {tokens, k.idx(0)}, [&](Val t, ArrayRef<Val> in) {
    Val mine = toIndex(k.load(sequence, t)) == b;
    return Vals{select(mine, min(in[0], t), in[0]), select(mine, t + 1, in[1])};
  });
  return {range[0], range[1]};
}

}  // namespace fathom::kernels
