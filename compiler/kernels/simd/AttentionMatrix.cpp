// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention by matrix units: the query heads of one kv head, a page of 64 tokens at a time.
//
//   scores   A tile of scores has 16 tokens for lines. Cache rows are left operands as they lie, 16
//            tokens of 32 elements; queries are right ones. Few heads would leave most columns
//            unused, so tiles of tokens share them: with four heads, column 4 j + g is head g's of
//            tile j, which a right operand makes whose other columns are zeros.
//
//              line r:  [token r: heads 0-3][token 16 + r: 0-3][32 + r: 0-3][48 + r: 0-3]
//
//            Heads are a power of two, the last ones repeated; with one or two the columns behind
//            the fourth tile's repeat the first ones.
//   softmax  Down the lines, then across the tiles of tokens. The probabilities' transpose is a
//            line of 16 tokens for each head.
//   values   As MatrixValues does: heads x elements, cache rows right operands as they lie.
//
// The last page of a context is multiplied in a copy, with zeros behind the last row: what lies
// there may be anything, even NaN.
//
// The maximum by which probabilities are scaled follows the true one only when it falls behind by
// kSlack: sums are rescaled a few times per split, not with every page.
#include "compiler/kernels/simd/Attention.h"
#include "compiler/kernels/simd/MatrixValues.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

constexpr int64_t kPageTokens = 64, kTokenTiles = kPageTokens / kMatrixRows;

/// The step-th part of lines [from, from + lines) in `steps` steps.
struct Share {
  Share(int64_t from, int64_t lines, int64_t steps, int64_t step)
      : first(from + step * lines / steps), count(from + (step + 1) * lines / steps - first) {}
  int64_t first, count;
};

class AttentionMatrix : public Attention {
 public:
  AttentionMatrix(KernelBuilder& k, AttentionInputs in) : Attention(k, std::move(in)) {
    while (columns_ < in_.group()) columns_ *= 2;
    shared_ = std::min(kLanes / columns_, kTokenTiles);
  }

 private:
  /// The keys and the values of 64 tokens: rows from element keys and values of `halves` on.
  struct Rows {
    Buf halves;
    Val keys, values;
  };

  void allocate() override;
  void begin(Buf x, Val from) override;
  void attend(Val page, Val rows, Val from) override;
  void readSums(Val g, function_ref<void(Val i, Val v)> use) override { values_->read(g, use); }
  std::pair<Val, Val> readWeights(Val g) override;

  void ask(Val from, int64_t count);
  void copyPage(Val page, Val rows);
  Rows rowsOf(Val page, Val copied);
  void scores(const Rows& rows);
  void hide(Val rows, Val from);
  void softmax();
  void weigh(Val tile, Val high, Val* sum);
  void values(const Rows& rows);
  Val across(Val v, llvm::function_ref<Val(Val, Val)> op);

  int64_t words() const { return in_.headDim / 2; }
  int64_t tiles() const { return kTokenTiles / shared_; }  // of scores
  // Tiles that share a sum of scores.
  int64_t parts() const { return tiles() <= 2 ? 2 : 1; }
  int64_t partScores() const { return tiles() * kMatrixRows * kLanes; }

  // Lines of every stripe of the page ahead that are asked for beside the scores, the softmax of
  // four lines and a chunk of the values, by the time that these take: 1 for a tile of keys, 2 for
  // one of values, 10 for the softmax of a tile of scores.
  int64_t time() const { return 3 * kTokenTiles * in_.headDim / 32 + 10 * tiles(); }
  int64_t scored() const { return kStripe * kTokenTiles * in_.headDim / 32 / time(); }
  int64_t weighed() const { return kStripe * 10 / 4 / time(); }
  int64_t summed() const {
    return ceilDiv(kStripe - scored() - weighed() * 4 * tiles(), values_->chunks());
  }

  int64_t columns_ = 1;      // of scores that a tile of tokens takes: heads, a power of two
  int64_t shared_ = 1;       // tiles of tokens that share a tile of scores
  Buf query_, queryHalves_;  // words [shared][words][16 columns]
  Buf score_;                // f32 [parts][tiles][16 lines][16 columns]
  Buf weight_;               // score_ as words: probabilities in bf16
  Buf m_, l_, alpha_;        // f32 [16]: m by columns, l by columns to be summed across tiles
  Buf copyBytes_, copy_;     // bf16 [keys, values][64][headDim]
  Val ahead_;                // byte address of the page to ask for
  std::optional<MatrixValues> values_;
};

void AttentionMatrix::allocate() {
  auto both = [&](Type type, int64_t bytes, Buf* other, Type otherType) {
    Buf all = k_.scratch(k_.i8(), bytes);
    *other = k_.view(all, k_.idx(0), otherType);
    return k_.view(all, k_.idx(0), type);
  };
  Type bf16 = k_.b().getBF16Type();
  query_ = both(k_.i32(), 4 * shared_ * words() * kLanes, &queryHalves_, bf16);
  score_ = both(k_.f32(), 4 * parts() * partScores(), &weight_, k_.i32());
  for (Buf* of : {&m_, &l_, &alpha_}) *of = k_.scratch(k_.f32(), 4 * kLanes);
  values_.emplace(k_, kLanes, in_.headDim, kPageTokens);
  copyBytes_ = both(k_.i8(), 2 * 2 * kPageTokens * in_.headDim, &copy_, k_.i16());
}

// The columns of each tile of tokens are those of all, with zeros for the others.
void AttentionMatrix::begin(Buf x, Val from) {
  k_.forLoop(k_.idx(0), k_.idx(in_.headDim), 2 * kLanes, [&](Val e) {
    Vals heads, columns;
    for (int64_t g = 0; g < in_.group(); ++g)
      heads.push_back(
          loadQuery(k_, in_.form, x, from + g * in_.headDim + e, 2 * kLanes, in_.scale));
    for (int64_t column = 0; column < kLanes; ++column)
      columns.push_back(heads[std::min(column % columns_, in_.group() - 1)]);
    Vals lines = transpose16(columns);
    for (int64_t w = 0; w < kLanes; ++w) k_.store(lines[w], query_, (e / 2 + w) * kLanes);
  });
  Val tileOfColumn = k_.iota() / columns_ % shared_;
  k_.forLoop(k_.idx(0), k_.idx(words() * kLanes), kLanes, [&](Val at) {
    Val line = k_.load(query_, at, kLanes);
    for (int64_t tile = 0; tile < shared_; ++tile)
      k_.store(select(tileOfColumn == tile, line, number(line, 0)), query_,
               at + tile * words() * kLanes);
  });
  k_.store(k_.constant(k_.vec(k_.f32()), kNever), m_, k_.idx(0));
  k_.store(k_.zero(), l_, k_.idx(0));
  values_->clear();
}

// Lines [from, from + count) of every stripe of the page ahead. A core's requests are few at a
// time, and none of the time should pass without them: a page is asked for a little beside
// everything. Side by side stripes come faster than one after the other, where the hardware's
// prefetchers begin anew with every 4 KB.
void AttentionMatrix::ask(Val from, int64_t count) {
  for (int64_t line = 0; line < count; ++line)
    for (Val run : {keysAt(k_.z()), valuesAt(k_.z())})
      for (int64_t stripe = 0; stripe < in_.cache.runBytes(); stripe += 64 * kStripe)
        k_.prefetch(in_.rows, ahead_ + (run * 2 + from * 64) + (64 * line + stripe), 2);
}

void AttentionMatrix::copyPage(Val page, Val rows) {
  Buf data = k_.view(in_.rows, pageAt(page), k_.i16());
  int64_t run = kPageTokens * in_.headDim, step = 2 * kLanes;
  Val end = rows * in_.headDim, zeros = k_.constant(k_.vec(k_.i16(), step), 0);
  auto both = [&](Val first, Val last, function_ref<Val(Val from)> line) {
    k_.forLoop(first, last, step, [&](Val i) {
      k_.store(line(keysAt(k_.z()) + i), copy_, i);
      k_.store(line(valuesAt(k_.z()) + i), copy_, i + run);
    });
  };
  both(k_.idx(0), end, [&](Val from) { return k_.load(data, from, step); });
  both(end, k_.idx(run), [&](Val) { return zeros; });
}

// Those of the copy, if it was made, or of the page.
AttentionMatrix::Rows AttentionMatrix::rowsOf(Val page, Val copied) {
  Value bytes =
      arith::SelectOp::create(k_.b(), copied.v(), copyBytes_.mem, in_.rows.mem).getResult();
  Buf halves =
      k_.view({bytes, k_.i8()}, select(copied, k_.idx(0), pageAt(page)), k_.b().getBF16Type());
  int64_t run = kPageTokens * in_.headDim;
  return {halves, select(copied, k_.idx(0), keysAt(k_.z())),
          select(copied, k_.idx(run), valuesAt(k_.z()))};
}

// score_[part][tile n][r][columns]: of token 16 (n shared + j) + r in the columns of j.
void AttentionMatrix::scores(const Rows& rows) {
  SmallVector<MatrixTerm, 4> terms;
  for (int64_t j = 0; j < shared_; ++j) {
    MatrixTerm term{{}, {}, words()};
    for (int64_t n = 0; n < tiles(); ++n) {
      int64_t token = (n * shared_ + j) * kMatrixRows;
      term.left.push_back({rows.halves, rows.keys + token * in_.headDim, k_.idx(in_.headDim)});
    }
    term.right.push_back({queryHalves_, k_.idx(j * words() * kLanes), kLanes});
    terms.push_back(term);
  }
  MatrixSums sums{score_, k_.idx(0), k_.idx(kLanes)};
  sums.parts = parts();
  sums.partStride = partScores();
  int64_t steps = words() / kMatrixWords;
  matrixProduct(k_, terms, sums, [&](size_t j, int64_t step) {
    Share share(0, scored(), shared_ * steps, j * steps + step);
    ask(k_.idx(share.first), share.count);
  });
}

// Tokens outside [from, rows) are not seen.
void AttentionMatrix::hide(Val rows, Val from) {
  Val tile = k_.iota() / columns_ % shared_ * kMatrixRows;
  k_.forLoop(k_.idx(0), k_.idx(tiles()), 1, [&](Val n) {
    k_.forLoop(k_.idx(0), k_.idx(kMatrixRows), 1, [&](Val r) {
      Val token = tile + toInt(n * (shared_ * kMatrixRows) + r, k_.i32());
      Val seen = token < toInt(rows, k_.i32());
      if (in_.window) seen = seen & (token >= toInt(from, k_.i32()));
      Val at = (n * kMatrixRows + r) * kLanes, v = k_.load(score_, at, kLanes);
      k_.store(select(seen, v, number(v, kNever)), score_, at);
    });
  });
}

// All columns of a head, put together.
Val AttentionMatrix::across(Val v, function_ref<Val(Val, Val)> op) {
  for (int64_t s = columns_; s < columns_ * shared_; s *= 2) {
    SmallVector<int64_t> pick;
    for (int64_t i = 0; i < kLanes; ++i) pick.push_back(i ^ s);
    v = op(v, permute(v, v, pick));
  }
  return v;
}

// The probabilities of a tile of scores, by which maximum they are scaled; *sum is theirs by
// columns.
void AttentionMatrix::weigh(Val tile, Val high, Val* sum) {
  constexpr int64_t kStep = 4;
  Val from = tile * (kMatrixRows * kLanes);
  *sum = k_.forLoop(k_.idx(0), k_.idx(kMatrixRows), kStep, {*sum}, [&](Val r, ArrayRef<Val> in) {
    Val sum = in[0];
    for (int64_t i = 0; i < kStep; ++i) {
      Val at = from + (r + i) * kLanes, p = exp(k_.load(score_, at, kLanes) - high);
      k_.store(zext(f32ToBf16(p), k_.i32()), weight_, at);
      sum = sum + p;
    }
    ask((tile * kMatrixRows + r) / kStep * weighed() + scored(), weighed());
    return Vals{sum};
  })[0];
  Vals lines;
  for (int64_t r = 0; r < kMatrixRows; ++r)
    lines.push_back(k_.load(weight_, from + r * kLanes, kLanes));
  lines = transpose16(lines);
  for (int64_t j = 0; j < shared_; ++j)
    for (int64_t g = 0; g < in_.group(); ++g)
      values_->weigh(k_.idx(0), g, (tile * shared_ + j) * kMatrixRows, lines[j * columns_ + g]);
}

void AttentionMatrix::softmax() {
  constexpr int64_t kStep = 4;
  Val m = k_.load(m_, k_.idx(0), kLanes);
  Val end = k_.idx(tiles() * kMatrixRows);
  Val top = k_.forLoop(k_.idx(0), end, kStep, {m}, [&](Val line, ArrayRef<Val> in) {
    Val top = in[0];
    for (int64_t i = 0; i < kStep; ++i) {
      Val at = (line + i) * kLanes, s = k_.load(score_, at, kLanes);
      for (int64_t part = 1; part < parts(); ++part)
        s = s + k_.load(score_, at + part * partScores(), kLanes);
      if (parts() > 1) k_.store(s, score_, at);
      top = max(s, top);
    }
    return Vals{top};
  })[0];
  top = across(top, [](Val a, Val b) { return max(a, b); });
  Val high = select(top > m + kSlack, top, m), alpha = exp(m - high);
  Val sum = k_.load(l_, k_.idx(0), kLanes) * alpha;
  sum = k_.forLoop(k_.idx(0), k_.idx(tiles()), 1, {sum}, [&](Val tile, ArrayRef<Val> in) {
    Val sum = in[0];
    weigh(tile, high, &sum);
    return Vals{sum};
  })[0];
  k_.store(sum, l_, k_.idx(0));
  k_.store(high, m_, k_.idx(0));
  // Nothing has been summed while m is -inf.
  Val behind = select(m > kNever, alpha, number(alpha, 1));
  k_.ifThen(reduceMin(behind) < 1.0, [&] {
    k_.store(alpha, alpha_, k_.idx(0));
    values_->rescale(k_.idx(0), in_.group(), alpha_);
  });
}

void AttentionMatrix::values(const Rows& rows) {
  constexpr int64_t kChunk = MatrixValues::kChunk;
  auto add = [&](Val chunk, int64_t columns) {
    MatrixTerm term = values_->term(k_.idx(0), k_.idx(0), kPageTokens, rows.halves,
                                    rows.values / 2 + chunk * (kChunk / 2), words(), columns);
    matrixProduct(k_, term, values_->sums(k_.idx(0), chunk), [&](size_t, int64_t step) {
      Share share(0, summed(), kTokenTiles, step);
      ask(chunk * summed() + (scored() + weighed() * 4 * tiles() + share.first), share.count);
    });
  };
  int64_t whole = in_.headDim / kChunk;
  k_.forLoop(k_.idx(0), k_.idx(whole), 1, [&](Val chunk) { add(chunk, kChunk); });
  if (whole < values_->chunks()) add(k_.idx(whole), in_.headDim % kChunk);
}

void AttentionMatrix::attend(Val page, Val rows, Val from) {
  ahead_ = pageAhead(page);
  Val last = rows < kPageTokens, hidden = last;
  if (in_.window) hidden = hidden | (from > 0);
  k_.ifThen(last, [&] { copyPage(page, rows); });
  Rows data = rowsOf(page, last);
  scores(data);
  k_.ifThen(hidden, [&] { hide(rows, from); });
  softmax();
  values(data);
}

std::pair<Val, Val> AttentionMatrix::readWeights(Val g) {
  Val l = across(k_.load(l_, k_.idx(0), kLanes), [](Val a, Val b) { return a + b; });
  k_.store(l, alpha_, k_.idx(0));
  return {k_.load(m_, g), k_.load(alpha_, g)};
}

}  // namespace

std::unique_ptr<Attention> makeAttentionMatrix(KernelBuilder& k, AttentionInputs in) {
  return std::make_unique<AttentionMatrix>(k, std::move(in));
}

}  // namespace fathom::kernels
