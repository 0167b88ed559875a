// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// latent_attention by matrix units: 16 heads are the rows or the columns of a tile.
//
//   scores   tokens x heads. Cache rows are left operands as they lie, 16 tokens of 32 elements;
//            the packed queries, [word][16 heads], are right ones.
//   softmax  vertical over scores[t][heads], as by vectors, beside the products that make the next
//            block's scores: vectors keep one of two ports for their products then.
//   values   As MatrixValues does: heads x dimensions, cache rows right operands as they lie.
//
// The maximum by which probabilities are scaled follows the true one only when it falls behind by
// kSlack: sums are rescaled a few times per split, not with every block.
#include <algorithm>
#include <optional>

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/LatentAttention.h"
#include "compiler/kernels/simd/MatrixValues.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

/// How `lines` of a stripe are shared out over `loops` loops of `steps` steps: `count` in every
/// `every`-th step, perLoop in a loop; a few more than asked for.
struct Pace {
  Pace(int64_t lines, int64_t loops, int64_t steps)
      : every(std::clamp<int64_t>(loops * steps / lines, 1, steps)),
        count(ceilDiv(lines, loops * ceilDiv(steps, every))),
        perLoop(ceilDiv(steps, every) * count) {}
  int64_t every, count, perLoop;
};

class LatentAttentionMatrix : public LatentAttention {
 public:
  using LatentAttention::LatentAttention;

 private:
  // With few heads memory is what counts, and a page the least to wait for; with many it is
  // products, of which longer blocks make more for each time that sums are read and written.
  int64_t blockPages() const override { return in_.shape.groups == 1 ? 1 : 2; }
  void allocate() override;
  void attend(Val first, Val last, Val rows) override;
  void finish(Val first, Val last, Val rows) override;
  void clearSums() override { values_->clear(); }
  void readSums(Val h, function_ref<void(Val i, Val v)> use) override { values_->read(h, use); }

  void besidePacking(Val group, int64_t element) override;
  void prefetch(Val page, Val first, int64_t count);
  void prefetch(Val page, Val first, const Pace& pace, int64_t step) {
    if (step % pace.every == 0) prefetch(page, first + step / pace.every * pace.count, pace.count);
  }
  Val pageAhead(Val page) { return pageAt(min(page + blockPages(), lastPage_)); }
  void scores(Val page, Val rows, Val line0, const Pace& pace,
              function_ref<void(Val t, int64_t step)> beside = nullptr);
  void scoresBesideSoftmax(Val first, Val last);
  void follow(Val rows, Val head);
  Val weigh(Val t, Val head, Val high, int64_t i);
  void spread(Val t, Val head);
  void softmax(Val rows, Val head);
  void softmaxBeside(Val t, int64_t step, MutableArrayRef<Val> sums);
  void copyTail(Val page, Val rows);
  void values(function_ref<void(Val head, Val chunk, int64_t columns, const MatrixSums&)> add);
  void addBlock(Val first, Val head, Val chunk, int64_t columns, const MatrixSums& sums);
  void addPages(Val first, Val last, Val rows, Val head, Val column, int64_t columns,
                const MatrixSums& sums);
  Buf pageHalves(Val page) { return k_.view(in_.rows, pageAt(page), k_.b().getBF16Type()); }
  Val scoreAt(Val t, Val head) { return t * heads() + head; }

  int64_t rowElements() const { return in_.rank + in_.dim; }
  // Scores are made of 64 tokens of a group at a time or of 16 of all groups: four tiles.
  bool oneGroup() const { return in_.shape.groups == 1; }
  int64_t scoreRows() const { return oneGroup() ? 4 * kMatrixRows : kMatrixRows; }
  int64_t scoreLoops() const { return in_.cache.pageTokens / scoreRows(); }  // of a page
  int64_t scoreSteps() const { return rowWords() / kMatrixWords; }           // of a loop
  // Tiles that share a sum of scores.
  int64_t parts() const { return in_.shape.groups == 2 ? 2 : 1; }
  int64_t partScores() const { return blockTokens() * heads(); }

  // Lines of a stripe of the page ahead that are asked for by the end of each part.
  static constexpr int64_t kScored = 16, kSummed = kStripe;

  Buf score_;              // f32 [parts][block tokens][heads]
  Buf rounded_;            // bf16 [16 tokens][16 heads]: probabilities on their way to values_
  Buf tail_, tailHalves_;  // bf16 [16][rank]: the last rows of a context, then zeros
  std::optional<MatrixValues> values_;
};

void LatentAttentionMatrix::allocate() {
  auto both = [&](Type type, int64_t bytes, Buf* halves) {
    Buf all = k_.scratch(k_.i8(), bytes);
    *halves = k_.view(all, k_.idx(0), k_.b().getBF16Type());
    return k_.view(all, k_.idx(0), type);
  };
  score_ = k_.scratch(k_.f32(), 4 * parts() * partScores());
  rounded_ = k_.scratch(k_.i16(), 2 * kMatrixRows * kLanes);
  tail_ = both(k_.i16(), 2 * kMatrixRows * in_.rank, &tailHalves_);
  values_.emplace(k_, heads(), in_.rank, blockTokens());
}

// Lines [first, first + count) of every stripe of a page. Side by side stripes come faster than one
// after the other, where the hardware's prefetchers begin anew with every 4 KB.
void LatentAttentionMatrix::prefetch(Val page, Val first, int64_t count) {
  int64_t bytes = in_.cache.pageTokens * in_.cache.rowBytes;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t stripe = 0; stripe < bytes; stripe += 64 * kStripe)
      k_.prefetch(in_.rows, page + (first + i) * 64 + stripe, 2);
}

// The first page is asked for while the queries are packed, the others a block ahead, a little
// beside everything: a core's requests are few at a time, and none of the time should pass without
// them. Behind the split's last page comes the next split's first, which the same worker is likely
// to read next; the context's last page is asked for again, which costs next to nothing.
void LatentAttentionMatrix::besidePacking(Val group, int64_t element) {
  Pace pace(kStripe, in_.shape.groups, rowElements() / 32);
  prefetch(pageAt(pageBegin_), group * pace.perLoop, pace, element / 32);
}

// score_[part][line0 + t][heads] of the first `rows` tokens of a page, rounded up to tiles.
// `beside(t, step)` may emit what is done beside a step of those from t on.
void LatentAttentionMatrix::scores(Val page, Val rows, Val line0, const Pace& pace,
                                   function_ref<void(Val t, int64_t step)> beside) {
  int64_t words = rowWords();
  Buf data = pageHalves(page);
  Val ahead = pageAhead(page);
  k_.forLoop(k_.idx(0), rows, scoreRows(), [&](Val t) {
    MatrixTerm term{{}, {}, words};
    for (int64_t i = 0; i < scoreRows(); i += kMatrixRows)
      term.left.push_back({data, (t + i) * rowElements(), k_.idx(rowElements())});
    for (int64_t group = 0; group < in_.shape.groups; ++group)
      term.right.push_back({queryHalves_, k_.idx(group * words * kLanes), kLanes});
    MatrixSums sums{score_, (line0 + t) * heads(), k_.idx(heads())};
    sums.parts = parts();
    sums.partStride = partScores();
    matrixProduct(k_, term, sums, [&](size_t, int64_t step) {
      prefetch(ahead, t / scoreRows() * pace.perLoop, pace, step);
      if (beside) beside(line0 + t, step);
    });
  });
}

// The scores of a block beside the softmax of the block before, whose scores they replace: those of
// a tile are read before the tile's new ones are written.
void LatentAttentionMatrix::scoresBesideSoftmax(Val first, Val last) {
  int64_t pageTokens = in_.cache.pageTokens;
  Pace pace(kScored, scoreLoops(), scoreSteps());
  k_.forLoop(k_.idx(0), k_.idx(blockPages()), 1, [&](Val i) {
    Vals sums(in_.shape.groups);
    // Behind the last page it once more, in whose place nothing is read.
    scores(min(first + i, last - 1), k_.idx(pageTokens), i * pageTokens, pace,
           [&](Val t, int64_t step) { softmaxBeside(t, step, sums); });
  });
}

// Makes m_ the maximum by which the probabilities of `rows` tokens of 16 heads are scaled, and l_
// and the sums relative to it. Scores up to the end of the last tile become -inf.
void LatentAttentionMatrix::follow(Val rows, Val head) {
  constexpr int64_t kChains = 4;
  Val end = (rows + (kMatrixRows - 1)) / kMatrixRows * kMatrixRows;
  Val m = k_.load(m_, head, kLanes), none = k_.constant(m.type(), kNever);
  k_.forLoop(rows, end, 1, [&](Val t) {
    for (int64_t part = 0; part < parts(); ++part)
      k_.store(part ? k_.zero() : none, score_, scoreAt(t, head) + part * partScores());
  });
  Vals top = k_.forLoop(k_.idx(0), end, kChains, Vals(kChains, m), [&](Val t, ArrayRef<Val> in) {
    Vals out;
    for (int64_t i = 0; i < kChains; ++i) {
      Val at = scoreAt(t + i, head), score = k_.load(score_, at, kLanes);
      for (int64_t part = 1; part < parts(); ++part)
        score = score + k_.load(score_, at + part * partScores(), kLanes);
      if (parts() > 1) k_.store(score, score_, at);
      out.push_back(max(score, in[i]));
    }
    return out;
  });
  Val most = max(max(top[0], top[1]), max(top[2], top[3]));
  Val high = select(most > m + kSlack, most, m);
  Val alpha = exp(m - high);
  k_.store(k_.load(l_, head, kLanes) * alpha, l_, head);
  k_.store(high, m_, head);
  k_.store(alpha, alpha_, head);
  // Nothing has been summed while m is -inf.
  Val behind = select(m > kNever, alpha, number(alpha, 1));
  k_.ifThen(reduceMin(behind) < 1.0, [&] { values_->rescale(head, kLanes, alpha_); });
}

// The probability of token t of 16 heads, and it rounded into line i of rounded_.
Val LatentAttentionMatrix::weigh(Val t, Val head, Val high, int64_t i) {
  Val p = expOfWeight(k_.load(score_, scoreAt(t, head), kLanes) - high);
  k_.store(f32ToBf16(p), rounded_, k_.idx(i * kLanes));
  return p;
}

// The rounded probabilities of 16 tokens, from t on, for the values.
void LatentAttentionMatrix::spread(Val t, Val head) {
  Vals rows;
  for (int64_t i = 0; i < kMatrixRows; ++i)
    rows.push_back(zext(k_.load(rounded_, k_.idx(i * kLanes), kLanes), k_.i32()));
  Vals lines = transpose16(rows);
  for (int64_t h = 0; h < kLanes; ++h) values_->weigh(head, h, t, lines[h]);
}

// Probabilities of 16 heads and of `rows` tokens, rounded up to whole tiles.
void LatentAttentionMatrix::softmax(Val rows, Val head) {
  Val high = k_.load(m_, head, kLanes);
  Val sum = k_.forLoop(k_.idx(0), rows, kMatrixRows, {k_.load(l_, head, kLanes)},
                       [&](Val t, ArrayRef<Val> in) {
                         Val sum = in[0];
                         for (int64_t i = 0; i < kMatrixRows; ++i)
                           sum = sum + weigh(t + i, head, high, i);
                         spread(t, head);
                         return Vals{sum};
                       })[0];
  k_.store(sum, l_, head);
}

// What of softmax is done beside a step of scores: of the tokens from t on a share of the tiles of
// all groups, one after the other. A tile's rounding goes by way of memory, which also keeps the
// compiler from putting it all behind the products, where nothing would hide it.
void LatentAttentionMatrix::softmaxBeside(Val t, int64_t step, MutableArrayRef<Val> sums) {
  int64_t tiles = scoreRows() / kMatrixRows, groups = in_.shape.groups;
  int64_t all = tiles * groups * kMatrixRows;
  for (int64_t i = all * step / scoreSteps(); i < all * (step + 1) / scoreSteps(); ++i) {
    int64_t line = i % kMatrixRows, tile = i / kMatrixRows, group = tile / tiles;
    Val head = k_.idx(group * kLanes), token = t + (tile % tiles * kMatrixRows);
    Val& sum = sums[group];
    if (tile % tiles == 0 && line == 0) sum = k_.load(l_, head, kLanes);
    sum = sum + weigh(token + line, head, k_.load(m_, head, kLanes), line);
    if (line == kMatrixRows - 1) spread(token, head);
    if (line == kMatrixRows - 1 && tile % tiles == tiles - 1) k_.store(sum, l_, head);
  }
}

// The last rows % 16 rows of a page; what lies behind them may be anything, even NaN.
void LatentAttentionMatrix::copyTail(Val page, Val rows) {
  Buf data = k_.view(in_.rows, pageAt(page), k_.i16());
  Val count = rows % kMatrixRows, from = rows - count;
  auto lines = [&](Val first, Val last, function_ref<Val(Val r, Val i)> line) {
    k_.forLoop(first, last, 1, [&](Val r) {
      k_.forLoop(k_.idx(0), k_.idx(in_.rank), 2 * kLanes,
                 [&](Val i) { k_.store(line(r, i), tail_, r * in_.rank + i); });
    });
  };
  lines(k_.idx(0), count,
        [&](Val r, Val i) { return k_.load(data, (from + r) * rowElements() + i, 2 * kLanes); });
  lines(count, k_.idx(kMatrixRows),
        [&](Val, Val) { return k_.constant(k_.vec(k_.i16(), 2 * kLanes), 0); });
}

// The tokens of pages of which not all may be there as a whole.
void LatentAttentionMatrix::addPages(Val first, Val last, Val rows, Val head, Val column,
                                     int64_t columns, const MatrixSums& sums) {
  int64_t pageTokens = in_.cache.pageTokens;
  k_.forLoop(first, last, 1, [&](Val page) {
    Val line0 = (page - first) * pageTokens, inPage = min(rows - line0, k_.idx(pageTokens));
    Buf data = pageHalves(page);
    auto add = [&](Val t, int64_t tokens) {
      matrixProduct(k_,
                    values_->term(head, line0 + t, tokens, data, t * rowWords() + column / 2,
                                  rowWords(), columns),
                    sums);
    };
    Val whole = inPage / pageTokens * pageTokens, tiles = inPage / kMatrixRows * kMatrixRows;
    k_.forLoop(k_.idx(0), whole, pageTokens, [&](Val t) { add(t, pageTokens); });
    k_.forLoop(whole, tiles, kMatrixRows, [&](Val t) { add(t, kMatrixRows); });
    k_.ifThen(tiles < inPage, [&] {
      matrixProduct(k_,
                    values_->term(head, line0 + tiles, kMatrixRows, tailHalves_, column / 2,
                                  in_.rank / 2, columns),
                    sums);
    });
  });
}

// All tokens of a whole block, while the one after the next is asked for.
void LatentAttentionMatrix::addBlock(Val first, Val head, Val chunk, int64_t columns,
                                     const MatrixSums& sums) {
  int64_t pageTokens = in_.cache.pageTokens, groups = in_.shape.groups;
  Pace pace(kSummed - kScored, values_->chunks() * groups, pageTokens / kMatrixRows);
  Val from = (chunk * groups + head / kLanes) * pace.perLoop + kScored;
  SmallVector<MatrixTerm, 2> terms;
  Vals ahead;
  for (int64_t i = 0; i < blockPages(); ++i) {
    terms.push_back(values_->term(head, k_.idx(i * pageTokens), pageTokens, pageHalves(first + i),
                                  chunk * (MatrixValues::kChunk / 2), rowWords(), columns));
    ahead.push_back(pageAhead(first + (blockPages() + i)));
  }
  matrixProduct(k_, terms, sums,
                [&](size_t page, int64_t step) { prefetch(ahead[page], from, pace, step); });
}

// Adds tokens to all of u: `add` those of 16 heads to `columns` dimensions of a chunk.
void LatentAttentionMatrix::values(
    function_ref<void(Val head, Val chunk, int64_t columns, const MatrixSums&)> add) {
  auto ofChunk = [&](Val chunk, int64_t columns) {
    k_.forLoop(k_.idx(0), k_.idx(heads()), kLanes,
               [&](Val head) { add(head, chunk, columns, values_->sums(head, chunk)); });
  };
  constexpr int64_t kChunk = MatrixValues::kChunk;
  int64_t whole = in_.rank / kChunk;
  k_.forLoop(k_.idx(0), k_.idx(whole), 1, [&](Val chunk) { ofChunk(chunk, kChunk); });
  if (whole < values_->chunks()) ofChunk(k_.idx(whole), in_.rank % kChunk);
}

// Of the split's first block the scores; of each later one the scores beside the softmax of the
// block before it, and then that one's values.
void LatentAttentionMatrix::attend(Val first, Val last, Val rows) {
  int64_t pageTokens = in_.cache.pageTokens;
  k_.ifThen(first == pageBegin_, [&] {
    Pace pace(kStripe, scoreLoops(), scoreSteps());
    k_.forLoop(first, last, 1, [&](Val page) {
      Val line0 = (page - first) * pageTokens;
      scores(page, min(rows - line0, k_.idx(pageTokens)), line0, pace);
    });
  });
  k_.ifThen(first > pageBegin_, [&] {
    k_.forLoop(k_.idx(0), k_.idx(heads()), kLanes,
               [&](Val head) { follow(k_.idx(blockTokens()), head); });
    scoresBesideSoftmax(first, last);
    values([&](Val head, Val chunk, int64_t columns, const MatrixSums& sums) {
      addBlock(first - blockPages(), head, chunk, columns, sums);
    });
  });
}

// The softmax and the values of the split's last block.
void LatentAttentionMatrix::finish(Val first, Val last, Val rows) {
  k_.forLoop(k_.idx(0), k_.idx(heads()), kLanes, [&](Val head) {
    follow(rows, head);
    softmax(rows, head);
  });
  k_.ifThen(rows % kMatrixRows != 0,
            [&] { copyTail(last - 1, rows - (last - 1 - first) * in_.cache.pageTokens); });
  values([&](Val head, Val chunk, int64_t columns, const MatrixSums& sums) {
    addPages(first, last, rows, head, chunk * MatrixValues::kChunk, columns, sums);
  });
}

}  // namespace

std::unique_ptr<LatentAttention> makeLatentAttentionMatrix(KernelBuilder& k, LatentInputs in) {
  return std::make_unique<LatentAttentionMatrix>(k, std::move(in));
}

}  // namespace fathom::kernels
