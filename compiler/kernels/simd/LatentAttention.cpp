// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// latent_attention: the absorbed form, 16 heads of one token over one split of the context.
//
// The cache row is both key and value: score(h, t) = q[h] . row[t] over rank + dim, u[h] = sum_t
// p(h, t) row[t][0 .. rank). Work is blocked by kBlockPages pages:
//   scores   lanes = heads. The queries are packed once as [word][16 heads]; a word of a cache row
//   is
//            broadcast, so a tile of tokens needs neither transpose nor horizontal sum.
//   softmax  vertical over scores[t][16 heads]; running maximum and sum live in registers.
//   values   lanes = dimensions, tiles of heads x vectors; the running sums u stay in scratch and
//   are
//            rescaled where they are loaded.
// Every inner step of the scores prefetches one line of the rows two tiles of the page table ahead:
// the lines of a tile of 16 rows are exactly as many as a row's words.
#include <limits>

#include "compiler/kernels/simd/AttentionTile.h"
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/Rope.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr int64_t kLanes = 16;
constexpr int64_t kBlockPages = 2;

class LatentAttention {
 public:
  explicit LatentAttention(KernelBuilder& k) : k_(k) {}
  LogicalResult emit();

 private:
  void readConfig();
  void packQueries(Val token, Val head0);
  void rotateQueries(Val token, Val head0, Val position);
  void packPart(Buf x, function_ref<Val(Val)> from, int64_t elements, int64_t word0);
  Operand rowsOf(Val page);
  void stage(Val pageAt, Val rows);
  void scores(Val page, Val nextPage, Val rows, Val line0);
  std::pair<Val, Val> softmax(Val rows, Val m, Val l);
  void values(Val block, Val rows, Val vec0, int64_t vecs);
  void writePartial(Val token, Val head0, Val m, Val l);

  int64_t rowWords() const { return (rank_ + dim_) / form_.per(); }

  KernelBuilder& k_;
  int64_t heads_ = 0, rank_ = 0, dim_ = 0, splits_ = 0;
  int64_t qLd_ = 0, qHeadLd_ = 0, qOffset_ = 0;
  double scale_ = 1, mscale_ = 1;
  bool rotate_ = false, interleaved_ = false;
  Cache cache_;
  Words form_;
  bool staged_ = false;  // bf16 rows are widened into scratch page by page
  Buf qLatent_, q_, pageTable_, angles_, rows_, partial_;
  Buf rotated_;  // f32 [16 heads][dim] with rotate_
  Buf query_;    // words [rowWords][16 heads]
  Buf score_;    // f32 [block tokens][16 heads]
  Buf weight_;   // words of probabilities [block tokens / per][16 heads]; f32 ones share score_
  Buf alpha_;    // f32 [16 heads]
  Buf sum_;      // u: f32 [16 heads][rank], pairs of vectors tangled when form_.pairs
  Buf wide_;     // staged rows: f32 [block tokens][rank + dim]
  Val tableAt_, pageEnd_;
};

void LatentAttention::readConfig() {
  Config& cfg = k_.cfg();
  heads_ = cfg.in("heads", 1, 1 << 16);
  rank_ = cfg.in("rank", 16, 1 << 16, 16);
  dim_ = cfg.in("dim", 2, 1 << 16, 2);
  scale_ = cfg.f("scale");
  qLd_ = cfg.in("q_ld", 0, kMaxStride);
  qHeadLd_ = cfg.in("q_head_ld", 0, kMaxStride);
  qOffset_ = cfg.in("q_offset", 0, kMaxStride);
  splits_ = cfg.in("splits", 1, 4096);
  rotate_ = cfg.b("rotate", false);
  if (rotate_) {
    interleaved_ = cfg.b("interleaved");
    mscale_ = cfg.f("mscale");
  }
  cache_ = Cache::read(cfg, rank_ + dim_);
  form_ = Words::choose(k_.profile(), cache_);
  staged_ = cache_.bf16 && !form_.pairs;
}

// Words of `elements` of each head, transposed into query_ from word0 on. `from` gives a head's
// first.
void LatentAttention::packPart(Buf x, function_ref<Val(Val)> from, int64_t elements,
                               int64_t word0) {
  int64_t step = 16 * form_.per();
  for (int64_t e = 0; e < elements; e += step) {
    int64_t count = std::min(step, elements - e);
    Vals rows;
    for (int64_t h = 0; h < kLanes; ++h)
      rows.push_back(loadQuery(k_, form_, x, from(k_.idx(h)) + e, count, scale_));
    Vals lines = transpose16(rows);
    for (int64_t w = 0; w < count / form_.per(); ++w)
      k_.store(lines[w], query_, k_.idx((word0 + e / form_.per() + w) * kLanes));
  }
}

// Heads beyond the last repeat it: their lanes are computed and never written.
void LatentAttention::packQueries(Val token, Val head0) {
  auto head = [&](Val lane) { return min(head0 + lane, k_.idx(heads_ - 1)); };
  Val latent = token * (heads_ * rank_), rotated = token * qLd_ + qOffset_;
  packPart(
      qLatent_, [&](Val h) { return latent + head(h) * rank_; }, rank_, 0);
  if (rotate_)
    packPart(
        rotated_, [&](Val h) { return h * dim_; }, dim_, rank_ / form_.per());
  else
    packPart(
        q_, [&](Val h) { return rotated + head(h) * qHeadLd_; }, dim_, rank_ / form_.per());
}

// The part of the queries that knows positions, of 16 heads, into rotated_.
void LatentAttention::rotateQueries(Val token, Val head0, Val position) {
  rotated_ = k_.scratch(k_.f32(), 4 * kLanes * dim_);
  Rope rope(k_, dim_, interleaved_, mscale_);
  rope.setPosition(angles_, position);
  k_.forLoop(k_.idx(0), k_.idx(kLanes), 1, [&](Val lane) {
    Val head = min(head0 + lane, k_.idx(heads_ - 1));
    rope.rotate(q_, token * qLd_ + head * qHeadLd_ + qOffset_,
                [&](Val i, Val v, Val count) { k_.store(v, rotated_, lane * dim_ + i, count); });
  });
}

// The rows of one page of a block, as words.
Operand LatentAttention::rowsOf(Val page) {
  Val at = cache_.pageAt(k_, pageTable_, tableAt_, page);
  return {k_.view(rows_, at, form_.type(k_)), k_.idx(0), rowWords(), 1};
}

// Widens `rows` rows of a block's page into wide_.
void LatentAttention::stage(Val page, Val rows) {
  Val at = cache_.pageAt(k_, pageTable_, tableAt_, page);
  Buf narrow = k_.view(rows_, at, k_.i16());
  int64_t width = rank_ + dim_;
  // The last vector may take in some of the next row; a page is a whole number of vectors.
  k_.forLoop(k_.idx(0), rows * width, kLanes,
             [&](Val i) { k_.store(bf16ToF32(k_.load(narrow, i, kLanes)), wide_, i); });
}

// score_[line0 + t][heads] of the first `rows` tokens of a page, rounded up to the tile.
void LatentAttention::scores(Val page, Val nextPage, Val rows, Val line0) {
  int64_t tile = k_.registers() >= 32 ? 16 : 4;
  Operand from = staged_ ? Operand{wide_, k_.idx(0), rowWords(), 1} : rowsOf(page);
  Val next = cache_.pageAt(k_, pageTable_, tableAt_, nextPage);
  int64_t words = rowWords(), unroll = words % 4 == 0 ? 4 : words % 2 == 0 ? 2 : 1;
  k_.forLoop(k_.idx(0), rows, tile, [&](Val t) {
    Val tileAt = from.at + t * from.outer;
    Val ahead = next + t * cache_.rowBytes;
    Vals acc = k_.forLoop(
        k_.idx(0), k_.idx(words), unroll, Vals(tile, k_.zero()), [&](Val w, ArrayRef<Val> in) {
          Vals out(in.begin(), in.end());
          for (int64_t u = 0; u < unroll; ++u) {
            if (!staged_ && tile == 16) k_.prefetch(rows_, ahead + (w + u) * 64, 2);
            Val q = k_.load(query_, (w + u) * kLanes, kLanes);
            for (int64_t i = 0; i < tile; ++i) {
              Val row = splat(k_.load(from.buf, tileAt + w + (u + i * from.outer)));
              out[i] = form_.dot(out[i], q, row);
            }
          }
          return out;
        });
    for (int64_t i = 0; i < tile; ++i) k_.store(acc[i], score_, (line0 + t + i) * kLanes);
  });
}

// Probabilities of `rows` tokens into weight_, the rescaling of u into alpha_; the new m and l.
std::pair<Val, Val> LatentAttention::softmax(Val rows, Val m, Val l) {
  Val odd = rows % 2;
  k_.ifThen(odd != 0, [&] { k_.store(k_.constant(m.type(), kNever), score_, rows * kLanes); });
  Val even = rows + odd;
  Vals top = k_.forLoop(k_.idx(0), even, 2, {m, m}, [&](Val t, ArrayRef<Val> in) {
    return Vals{max(k_.load(score_, t * kLanes, kLanes), in[0]),
                max(k_.load(score_, (t + 1) * kLanes, kLanes), in[1])};
  });
  Val high = max(top[0], top[1]);
  Val alpha = exp(m - high);
  k_.store(alpha, alpha_, k_.idx(0));
  Vals sums = k_.forLoop(k_.idx(0), even, 2, {l * alpha, k_.zero()}, [&](Val t, ArrayRef<Val> in) {
    Val a = exp(k_.load(score_, t * kLanes, kLanes) - high);
    Val b = exp(k_.load(score_, (t + 1) * kLanes, kLanes) - high);
    if (form_.pairs) {
      k_.store(form_.join(a, b), weight_, t / 2 * kLanes);
    } else {
      k_.store(a, weight_, t * kLanes);
      k_.store(b, weight_, (t + 1) * kLanes);
    }
    return Vals{in[0] + a, in[1] + b};
  });
  return {high, sums[0] + sums[1]};
}

// Adds the block's `rows` tokens to `vecs` (1 or 2) vectors of u, from dimension 16 vec0 on. A row
// past the last one may hold anything, even NaN: the last one takes its place, with probability 0.
void LatentAttention::values(Val block, Val rows, Val vec0, int64_t vecs) {
  int64_t heads = k_.registers() >= 32 ? 8 : 4;
  k_.forLoop(k_.idx(0), k_.idx(kLanes), heads, [&](Val h) {
    auto at = [&](int64_t i, int64_t j) { return (h + i) * rank_ + (vec0 + j) * kLanes; };
    Vals acc;
    for (int64_t i = 0; i < heads; ++i)
      for (int64_t j = 0; j < vecs; ++j)
        acc.push_back(k_.load(sum_, at(i, j), kLanes) * k_.load(alpha_, h + i));
    Val pages = (rows + (cache_.pageTokens - 1)) / cache_.pageTokens;
    acc = k_.forLoop(k_.idx(0), pages, 1, acc, [&](Val p, ArrayRef<Val> pageIn) {
      Val line0 = p * cache_.pageTokens;
      Val inPage = min(rows - line0, k_.idx(cache_.pageTokens));
      Buf row16, row32;
      Val base;
      if (form_.pairs) {
        Val pageAt = cache_.pageAt(k_, pageTable_, tableAt_, block + p);
        row16 = k_.view(rows_, pageAt, k_.i16());
        base = k_.idx(0);
      } else if (staged_) {
        row32 = wide_;
        base = line0 * (rank_ + dim_);
      } else {
        row32 = k_.view(rows_, cache_.pageAt(k_, pageTable_, tableAt_, block + p), k_.f32());
        base = k_.idx(0);
      }
      int64_t step = form_.per();
      return k_.forLoop(k_.idx(0), inPage, step, pageIn, [&](Val t, ArrayRef<Val> in) {
        Vals out(in.begin(), in.end()), row;
        Val from = base + t * (rank_ + dim_) + vec0 * kLanes;
        if (form_.pairs) {
          Val second = min(t + 1, inPage - 1) * (rank_ + dim_) + vec0 * kLanes;
          Val a = k_.load(row16, from, kLanes * vecs), b = k_.load(row16, second, kLanes * vecs);
          if (vecs == 2) {
            auto [lo, hi] = tangle(a, b);
            row = {lo, hi};
          } else {
            row = {zext(a, k_.i32()) | shl(zext(b, k_.i32()), 16)};
          }
        } else {
          for (int64_t j = 0; j < vecs; ++j)
            row.push_back(k_.load(row32, from + kLanes * j, kLanes));
        }
        Val weights = (line0 + t) / step * kLanes + h;
        for (int64_t i = 0; i < heads; ++i) {
          Val p16 = splat(k_.load(weight_, weights + i));
          for (int64_t j = 0; j < vecs; ++j)
            out[i * vecs + j] = form_.dot(out[i * vecs + j], row[j], p16);
        }
        return out;
      });
    });
    for (int64_t i = 0; i < heads; ++i)
      for (int64_t j = 0; j < vecs; ++j) k_.store(acc[i * vecs + j], sum_, at(i, j));
  });
}

void LatentAttention::writePartial(Val token, Val head0, Val m, Val l) {
  Buf ml = k_.scratch(k_.f32(), 4 * 2 * kLanes);
  k_.store(m, ml, k_.idx(0));
  k_.store(l, ml, k_.idx(kLanes));
  int64_t record = rank_ + 16;
  Val to0 = (token * splits_ + k_.x()) * heads_ + head0;
  k_.forLoop(k_.idx(0), min(k_.idx(heads_) - head0, k_.idx(kLanes)), 1, [&](Val h) {
    Val to = (to0 + h) * record, from = h * rank_;
    int64_t step = form_.pairs ? 2 * kLanes : kLanes;
    k_.forLoop(k_.idx(0), k_.idx(rank_ / step * step), step, [&](Val i) {
      Val a = k_.load(sum_, from + i, kLanes);
      if (form_.pairs) {
        auto [lo, hi] = untangle(a, k_.load(sum_, from + i + kLanes, kLanes));
        k_.store(lo, partial_, to + i);
        k_.store(hi, partial_, to + i + kLanes);
      } else {
        k_.store(a, partial_, to + i);
      }
    });
    if (rank_ % step) {
      Val i = k_.idx(rank_ - kLanes);
      k_.store(k_.load(sum_, from + i, kLanes), partial_, to + i);
    }
    Val lane = k_.iota();
    Val tail = select(lane == 0, splat(k_.load(ml, h)), k_.zero());
    tail = select(lane == 1, splat(k_.load(ml, h + kLanes)), tail);
    k_.store(tail, partial_, to + rank_);
  });
}

LogicalResult LatentAttention::emit() {
  readConfig();
  if (k_.cfg().failed()) return failure();
  qLatent_ = k_.in(k_.f32());
  q_ = k_.in(k_.f32());
  Buf positions = k_.in(k_.i32()), sequence = k_.in(k_.i32());
  pageTable_ = k_.in(k_.i32());
  if (rotate_) angles_ = k_.in(k_.f32());
  rows_ = k_.in(k_.i8());
  partial_ = k_.out(k_.f32());
  Val pages = k_.push();

  int64_t blockPages = staged_ ? 1 : kBlockPages, block = blockPages * cache_.pageTokens;
  query_ = k_.scratch(form_.type(k_), 4 * kLanes * rowWords());
  score_ = k_.scratch(k_.f32(), 4 * kLanes * block);
  weight_ = form_.pairs ? k_.scratch(k_.i32(), 4 * kLanes * block / 2) : score_;
  alpha_ = k_.scratch(k_.f32(), 4 * kLanes);
  sum_ = k_.scratch(k_.f32(), 4 * kLanes * rank_);
  if (staged_) wide_ = k_.scratch(k_.f32(), 4 * block * (rank_ + dim_));

  Val token = k_.y(), head0 = k_.z() * kLanes;
  Val position = toIndex(k_.load(positions, token)), rows = position + 1;
  tableAt_ = toIndex(k_.load(sequence, token)) * pages;
  Val used = (rows + (cache_.pageTokens - 1)) / cache_.pageTokens;
  Val begin = used * k_.x() / splits_;
  pageEnd_ = used * (k_.x() + 1) / splits_;

  k_.forLoop(k_.idx(0), k_.idx(kLanes * rank_), kLanes,
             [&](Val i) { k_.store(k_.zero(), sum_, i); });
  k_.ifThen(begin < pageEnd_, [&] {
    if (rotate_) rotateQueries(token, head0, position);
    packQueries(token, head0);
  });
  Vals state = {k_.constant(k_.vec(k_.f32()), kNever), k_.zero()};
  state = k_.forLoop(begin, pageEnd_, blockPages, state, [&](Val first, ArrayRef<Val> in) {
    Val last = min(first + blockPages, pageEnd_);
    Val blockRows = min(rows, last * cache_.pageTokens) - first * cache_.pageTokens;
    if (staged_) stage(first, blockRows);
    k_.forLoop(first, last, 1, [&](Val page) {
      Val line0 = (page - first) * cache_.pageTokens;
      Val next = page + blockPages;
      next = select(next < pageEnd_, next, page);
      scores(page, next, min(blockRows - line0, k_.idx(cache_.pageTokens)), line0);
    });
    auto [m, l] = softmax(blockRows, in[0], in[1]);
    // Tangled pairs of vectors want two at a time; narrow register files one.
    int64_t together = form_.pairs || k_.registers() >= 32 ? 2 : 1;
    int64_t vecs = rank_ / kLanes, whole = vecs / together * together;
    k_.forLoop(k_.idx(0), k_.idx(whole), together,
               [&](Val v) { values(first, blockRows, v, together); });
    if (whole < vecs) values(first, blockRows, k_.idx(whole), 1);
    return Vals{m, l};
  });
  writePartial(token, head0, state[0], state[1]);
  return success();
}

}  // namespace

LogicalResult emitLatentAttention(KernelBuilder& k) { return LatentAttention(k).emit(); }

}  // namespace fathom::kernels
