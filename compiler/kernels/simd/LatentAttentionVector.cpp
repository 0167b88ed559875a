// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// latent_attention by vectors, 16 heads at a time.
//
//   scores   lanes = heads. The queries are packed once as [word][16 heads]; a word of a cache row
//            is broadcast, so a tile of tokens needs neither transpose nor horizontal sum. Of bf16
//            pairs lanes = 4 words x 4 heads: 16 words are loaded at once, which leaves loads to
//            spare where each product had one of its own.
//   softmax  vertical over scores[t][16 heads]; running maximum and sum live in registers.
//   values   lanes = dimensions, tiles of heads x vectors; the running sums u stay in scratch and
//            are rescaled where they are loaded.
// Every word's step of the scores of 16 rows prefetches one line of the page ahead, behind the
// split's last page of the next split's first, which the same worker is likely to read next: the
// lines of a tile of 16 rows are exactly as many as a row's words. A split's first page is asked
// for while its queries are packed.
#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/LatentAttention.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

class LatentAttentionVector : public LatentAttention {
 public:
  using LatentAttention::LatentAttention;

 private:
  // A page is the least to wait for at the beginning of a split, and longer blocks are not faster.
  int64_t blockPages() const override { return 1; }
  void clearSums() override;
  void allocate() override;
  void attend(Val first, Val last, Val rows) override;
  void storeQueries(ArrayRef<Val> heads, Val group, int64_t word0, int64_t count) override;
  void readSums(Val h, function_ref<void(Val i, Val v)> use) override;
  void besidePacking(Val group, int64_t element) override;

  // bf16 rows are widened into scratch page by page.
  bool staged() const { return in_.cache.bf16 && !in_.form.pairs; }
  // Staging reads its rows in order, which prefetchers of the hardware follow.
  bool asksAhead() const { return !staged() && k_.registers() >= 32; }
  // Whether scores shuffle words of rows instead of loading each.
  bool quads() const { return in_.form.pairs && k_.registers() >= 32 && in_.rank % 32 == 0; }
  // Into the nearest cache it is faster where nothing but rows is loaded beside it.
  void ask(Val at) { k_.prefetch(in_.rows, at, quads() ? 3 : 2); }
  Operand rowsOf(Val page);
  void stage(Val pageAt, Val rows);
  void scores(Val page, Val nextPage, Val rows);
  void quadScores(Val page, Val nextPage, Val rows);
  void softmax(Val rows);
  void values(Val page, Val rows, Val vec0, int64_t vecs);

  Buf score_;   // f32 [block tokens][16 heads]
  Buf weight_;  // words of probabilities [block tokens / per][16 heads]; f32 ones share score_
  Buf wide_;    // staged rows: f32 [block tokens][rank + dim]
  Buf sum_;     // u: f32 [16 heads][rank], pairs of vectors tangled when form.pairs
};

void LatentAttentionVector::allocate() {
  int64_t block = blockTokens();
  sum_ = k_.scratch(k_.f32(), 4 * kLanes * in_.rank);
  score_ = k_.scratch(k_.f32(), 4 * kLanes * block);
  weight_ = in_.form.pairs ? k_.scratch(k_.i32(), 4 * kLanes * block / 2) : score_;
  if (staged()) wide_ = k_.scratch(k_.f32(), 4 * block * (in_.rank + in_.dim));
}

void LatentAttentionVector::besidePacking(Val group, int64_t element) {
  if (!asksAhead()) return;
  constexpr int64_t kStep = 32;  // elements packed at a time
  int64_t lines = in_.cache.pageTokens * in_.cache.rowBytes / 64;
  int64_t count = ceilDiv(lines, (in_.rank + in_.dim) / kStep);
  Val from = pageAt(pageBegin_) + element / kStep * count * 64;
  for (int64_t line = 0; line < count; ++line) ask(from + line * 64);
}

void LatentAttentionVector::clearSums() {
  k_.forLoop(k_.idx(0), k_.idx(kLanes * in_.rank), kLanes,
             [&](Val i) { k_.store(k_.zero(), sum_, i); });
}

// The rows of a page, as words.
Operand LatentAttentionVector::rowsOf(Val page) {
  Val at = pageAt(page);
  return {k_.view(in_.rows, at, in_.form.type(k_)), k_.idx(0), rowWords(), 1};
}

// Widens `rows` rows of a page into wide_.
void LatentAttentionVector::stage(Val page, Val rows) {
  Val at = pageAt(page);
  Buf narrow = k_.view(in_.rows, at, k_.i16());
  int64_t width = in_.rank + in_.dim;
  // The last vector may take in some of the next row; a page is a whole number of vectors.
  k_.forLoop(k_.idx(0), rows * width, kLanes,
             [&](Val i) { k_.store(bf16ToF32(k_.load(narrow, i, kLanes)), wide_, i); });
}

// score_[t][heads] of the first `rows` tokens of a page, rounded up to the tile.
void LatentAttentionVector::scores(Val page, Val nextPage, Val rows) {
  int64_t tile = k_.registers() >= 32 ? 16 : 4;
  Operand from = staged() ? Operand{wide_, k_.idx(0), rowWords(), 1} : rowsOf(page);
  Val next = pageAt(nextPage);
  int64_t words = rowWords(), unroll = words % 4 == 0 ? 4 : words % 2 == 0 ? 2 : 1;
  k_.forLoop(k_.idx(0), rows, tile, [&](Val t) {
    Val tileAt = from.at + t * from.outer;
    Val ahead = next + t * in_.cache.rowBytes;
    Vals acc = k_.forLoop(
        k_.idx(0), k_.idx(words), unroll, Vals(tile, k_.zero()), [&](Val w, ArrayRef<Val> in) {
          Vals out(in.begin(), in.end());
          for (int64_t u = 0; u < unroll; ++u) {
            if (asksAhead()) ask(ahead + (w + u) * 64);
            Val q = k_.load(query_, (w + u) * kLanes, kLanes);
            for (int64_t i = 0; i < tile; ++i) {
              Val row = splat(k_.load(from.buf, tileAt + w + (u + i * from.outer)));
              out[i] = in_.form.dot(out[i], q, row);
            }
          }
          return out;
        });
    for (int64_t i = 0; i < tile; ++i) k_.store(acc[i], score_, (t + i) * kLanes);
  });
}

// For quadScores() vector word0 + 4 c + i has, in 128-bit lane l, word word0 + 4 l + c of four
// heads: heads 0-3, 8-11, 4-7, 12-15 for i = 0 .. 3, the order of reduceQuads. Without matrix
// units there is one group (LatentShape).
void LatentAttentionVector::storeQueries(ArrayRef<Val> heads, Val group, int64_t word0,
                                         int64_t count) {
  if (!quads()) return LatentAttention::storeQueries(heads, group, word0, count);
  constexpr int64_t kPlaces[] = {0, 2, 1, 3};
  for (int64_t i = 0; i < 4; ++i) {
    Vals lines = transpose4(heads.slice(4 * i, 4));
    for (int64_t c = 0; c < 4; ++c)
      k_.store(lines[c], query_, k_.idx((word0 + 4 * c + kPlaces[i]) * kLanes));
  }
}

// The same by tiles of 4 tokens. Of 16 words of a row, one in each 128-bit lane is spread over it
// and meets four heads' at a time; the 128-bit lanes are added up in the end. Such shuffles do not
// take the place of products.
void LatentAttentionVector::quadScores(Val page, Val nextPage, Val rows) {
  constexpr int64_t kTile = 4;
  Operand from = rowsOf(page);
  Val next = pageAt(nextPage);
  int64_t words = rowWords(), whole = words / kLanes;
  k_.forLoop(k_.idx(0), rows, kTile, [&](Val t) {
    Val tileAt = from.at + t * from.outer, ahead = next + t * in_.cache.rowBytes;
    auto add = [&](Val g, ArrayRef<Val> in, Val count) {
      Vals out(in.begin(), in.end()), row;
      for (int64_t i = 0; i < kTile; ++i) ask(ahead + (g * kTile + i) * 64);
      for (int64_t i = 0; i < kTile; ++i)
        row.push_back(k_.load(from.buf, tileAt + (g * kLanes + i * from.outer), kLanes, count));
      for (int64_t c = 0; c < 4; ++c) {
        Vals spread;
        for (int64_t i = 0; i < kTile; ++i) {
          SmallVector<int64_t> pick;
          for (int64_t l = 0; l < kLanes; ++l) pick.push_back(l / 4 * 4 + c);
          spread.push_back(permute(row[i], row[i], pick));
        }
        for (int64_t k = 0; k < 4; ++k) {
          Val q = k_.load(query_, (g * kLanes + (4 * c + k)) * kLanes, kLanes);
          for (int64_t i = 0; i < kTile; ++i)
            out[4 * i + k] = in_.form.dot(out[4 * i + k], q, spread[i]);
        }
      }
      return out;
    };
    Vals acc = k_.forLoop(k_.idx(0), k_.idx(whole), 1, Vals(4 * kTile, k_.zero()),
                          [&](Val g, ArrayRef<Val> in) { return add(g, in, Val()); });
    if (words % kLanes) acc = add(k_.idx(whole), acc, k_.idx(words % kLanes));
    for (int64_t i = 0; i < kTile; ++i)
      k_.store(reduceQuads(ArrayRef(acc).slice(4 * i, 4)), score_, (t + i) * kLanes);
  });
}

// Probabilities of `rows` tokens into weight_, the rescaling of u into alpha_; the new m_ and l_.
void LatentAttentionVector::softmax(Val rows) {
  Val zero = k_.idx(0), m = k_.load(m_, zero, kLanes), odd = rows % 2;
  k_.ifThen(odd != 0, [&] { k_.store(k_.constant(m.type(), kNever), score_, rows * kLanes); });
  Val even = rows + odd;
  Vals top = k_.forLoop(zero, even, 2, {m, m}, [&](Val t, ArrayRef<Val> in) {
    return Vals{max(k_.load(score_, t * kLanes, kLanes), in[0]),
                max(k_.load(score_, (t + 1) * kLanes, kLanes), in[1])};
  });
  Val high = max(top[0], top[1]);
  auto weight = [&](Val t) {
    Val x = k_.load(score_, t * kLanes, kLanes) - high;
    return in_.form.pairs ? expOfWeight(x) : exp(x);
  };
  Val alpha = exp(m - high), l = k_.load(l_, zero, kLanes) * alpha;
  Vals sums = k_.forLoop(zero, even, 2, {l, k_.zero()}, [&](Val t, ArrayRef<Val> in) {
    Val a = weight(t), b = weight(t + 1);
    if (in_.form.pairs) {
      k_.store(in_.form.join(a, b), weight_, t / 2 * kLanes);
    } else {
      k_.store(a, weight_, t * kLanes);
      k_.store(b, weight_, (t + 1) * kLanes);
    }
    return Vals{in[0] + a, in[1] + b};
  });
  k_.store(alpha, alpha_, zero);
  k_.store(high, m_, zero);
  k_.store(sums[0] + sums[1], l_, zero);
}

// Adds the page's `rows` tokens to `vecs` (1 or 2) vectors of u, from dimension 16 vec0 on. A row
// past the last one may hold anything, even NaN: the last one takes its place, with probability 0.
void LatentAttentionVector::values(Val page, Val rows, Val vec0, int64_t vecs) {
  int64_t heads = k_.registers() >= 32 ? 8 : 4;
  k_.forLoop(k_.idx(0), k_.idx(kLanes), heads, [&](Val h) {
    auto at = [&](int64_t i, int64_t j) { return (h + i) * in_.rank + (vec0 + j) * kLanes; };
    Vals acc;
    for (int64_t i = 0; i < heads; ++i)
      for (int64_t j = 0; j < vecs; ++j)
        acc.push_back(k_.load(sum_, at(i, j), kLanes) * k_.load(alpha_, h + i));
    Buf row16, row32;
    if (in_.form.pairs)
      row16 = k_.view(in_.rows, pageAt(page), k_.i16());
    else
      row32 = staged() ? wide_ : k_.view(in_.rows, pageAt(page), k_.f32());
    int64_t step = in_.form.per();
    // Token t and, of pairs, token `second`.
    auto add = [&](Val t, Val second, Vals& out) {
      Vals row;
      Val from = t * (in_.rank + in_.dim) + vec0 * kLanes;
      if (in_.form.pairs) {
        Val other = second * (in_.rank + in_.dim) + vec0 * kLanes;
        Val a = k_.load(row16, from, kLanes * vecs), b = k_.load(row16, other, kLanes * vecs);
        if (vecs == 2) {
          auto [lo, hi] = tangle(a, b);
          row = {lo, hi};
        } else {
          row = {zext(a, k_.i32()) | shl(zext(b, k_.i32()), 16)};
        }
      } else {
        for (int64_t j = 0; j < vecs; ++j) row.push_back(k_.load(row32, from + kLanes * j, kLanes));
      }
      Val weights = t / step * kLanes + h;
      for (int64_t i = 0; i < heads; ++i) {
        Val p16 = splat(k_.load(weight_, weights + i));
        for (int64_t j = 0; j < vecs; ++j)
          out[i * vecs + j] = in_.form.dot(out[i * vecs + j], row[j], p16);
      }
    };
    constexpr int64_t kUnroll = 2;
    Val whole = rows / (kUnroll * step) * (kUnroll * step);
    Vals most = k_.forLoop(k_.idx(0), whole, kUnroll * step, acc, [&](Val t, ArrayRef<Val> in) {
      Vals out(in.begin(), in.end());
      for (int64_t u = 0; u < kUnroll * step; u += step) add(t + u, t + (u + 1), out);
      return out;
    });
    acc = k_.forLoop(whole, rows, step, most, [&](Val t, ArrayRef<Val> in) {
      Vals out(in.begin(), in.end());
      add(t, min(t + 1, rows - 1), out);
      return out;
    });
    for (int64_t i = 0; i < heads; ++i)
      for (int64_t j = 0; j < vecs; ++j) k_.store(acc[i * vecs + j], sum_, at(i, j));
  });
}

// Pairs of vectors are tangled where rows were.
void LatentAttentionVector::readSums(Val h, function_ref<void(Val i, Val v)> use) {
  int64_t rank = in_.rank, step = in_.form.pairs ? 2 * kLanes : kLanes;
  Val from = h * rank;
  k_.forLoop(k_.idx(0), k_.idx(rank / step * step), step, [&](Val i) {
    Val a = k_.load(sum_, from + i, kLanes);
    if (!in_.form.pairs) return use(i, a);
    auto [lo, hi] = untangle(a, k_.load(sum_, from + i + kLanes, kLanes));
    use(i, lo);
    use(i + kLanes, hi);
  });
  Val last = k_.idx(rank - kLanes);
  if (rank % step) use(last, k_.load(sum_, from + last, kLanes));
}

void LatentAttentionVector::attend(Val first, Val last, Val rows) {
  if (staged()) stage(first, rows);
  Val next = min(first + 1, lastPage_);
  if (quads())
    quadScores(first, next, rows);
  else
    scores(first, next, rows);
  softmax(rows);
  // Tangled pairs of vectors want two at a time; narrow register files one.
  int64_t together = in_.form.pairs || k_.registers() >= 32 ? 2 : 1;
  int64_t vecs = in_.rank / kLanes, whole = vecs / together * together;
  k_.forLoop(k_.idx(0), k_.idx(whole), together, [&](Val v) { values(first, rows, v, together); });
  if (whole < vecs) values(first, rows, k_.idx(whole), 1);
}

}  // namespace

std::unique_ptr<LatentAttention> makeLatentAttentionVector(KernelBuilder& k, LatentInputs in) {
  return std::make_unique<LatentAttentionVector>(k, std::move(in));
}

}  // namespace fathom::kernels
