// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention: GQA decode, the query heads of one kv head of one token over one split of the context.
//
// A page at a time, a tile of query heads at a time. Scores: lanes = dimensions, a tile of
// tokens x heads keeps 16 sums that one shuffle tree turns into 16 lanes; softmax: lanes = tokens;
// values: lanes = dimensions. The first tile of heads brings the page's rows into the cache and
// asks for the next page's, at the end of a split for those of the next one.
#include <limits>

#include "compiler/kernels/simd/AttentionTile.h"
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/Rope.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr int64_t kLanes = 16;

class Attention {
 public:
  explicit Attention(KernelBuilder& k) : k_(k) {}
  LogicalResult emit();

 private:
  void readConfig();
  void packQueries(Val token, Val position);
  Val rowAhead(Val r);
  Val keyWords(Buf page, Val at, Val count);
  void scores(Val page, Val ahead, Val rows, Val head);
  void softmax(Val rows, Val from, Val head);
  void values(Val page, Val ahead, Val rows, Val head, Val vec0, int64_t vecs);
  void page(Val page, Val head);
  void writePartial(Val token);
  void writeNothing(Val token);

  int64_t words() const { return headDim_ / form_.per(); }
  int64_t paddedWords() const { return (words() + 15) / 16 * 16; }
  int64_t vectors() const { return headDim_ / kLanes; }

  KernelBuilder& k_;
  int64_t heads_ = 0, kvHeads_ = 0, headDim_ = 0, qLd_ = 0, splits_ = 0, window_ = 0;
  int64_t group_ = 1;     // query heads per kv head
  int64_t headTile_ = 1;  // of them at a time
  int64_t tokenTile_ = 16;
  double scale_ = 1, mscale_ = 1;
  bool rotate_ = false, interleaved_ = false;
  int64_t dim_ = 0;  // of a head, with rotate_
  Cache cache_;
  Words form_;
  Buf q_, pageTable_, angles_, rows_, partial_;
  Buf query_;          // words [group][paddedWords]
  Buf score_;          // f32 [headTile][page tokens]
  Buf weight_;         // words [headTile][page tokens / per]
  Buf sum_;            // u: f32 [group][headDim], pairs of vectors tangled when form_.pairs
  Buf m_, l_, alpha_;  // f32 [group]
  Val tableAt_, pageEnd_, lastPage_, visible_, first_;
};

void Attention::readConfig() {
  Config& cfg = k_.cfg();
  heads_ = cfg.in("heads", 1, 1 << 16);
  kvHeads_ = cfg.in("kv_heads", 1, 1 << 16);
  headDim_ = cfg.in("head_dim", 16, 1 << 12, 16);
  scale_ = cfg.f("scale");
  qLd_ = cfg.in("q_ld", 0, kMaxStride);
  splits_ = cfg.in("splits", 1, 4096);
  window_ = cfg.in("window", 0, kMaxStride);
  rotate_ = cfg.b("rotate", false);
  if (rotate_) {
    dim_ = cfg.in("dim", 2, headDim_, 2);
    interleaved_ = cfg.b("interleaved");
    mscale_ = cfg.f("mscale");
  }
  cache_ = Cache::read(cfg, headDim_, /*runs=*/2 * kvHeads_);
  if (cfg.failed()) return;
  cfg.require(heads_ % kvHeads_ == 0,
              "heads " + Twine(heads_) + " is not a multiple of kv_heads " + Twine(kvHeads_));
  form_ = Words::choose(k_.profile(), cache_);
  group_ = heads_ / kvHeads_;
  int64_t sums = k_.registers() >= 32 ? 16 : 4;
  headTile_ = group_ >= 4 && sums == 16 ? 4 : group_ >= 2 ? 2 : 1;
  tokenTile_ = sums / headTile_;
}

// The group's queries as words, rotated and scaled; heads filling the last tile repeat the last
// one.
void Attention::packQueries(Val token, Val position) {
  Buf rotated;
  Rope rope(k_, dim_, interleaved_, mscale_);
  if (rotate_) {
    rotated = k_.scratch(k_.f32(), 4 * headDim_);
    rope.setPosition(angles_, position);
  }
  int64_t step = 16 * form_.per();
  Val from = token * qLd_ + k_.z() * (group_ * headDim_);
  int64_t padded = (group_ + headTile_ - 1) / headTile_ * headTile_;
  k_.forLoop(k_.idx(0), k_.idx(padded), 1, [&](Val g) {
    Buf x = q_;
    Val head = from + min(g, k_.idx(group_ - 1)) * headDim_;
    if (rotate_) {
      rope.rotate(q_, head, [&](Val i, Val v, Val count) { k_.store(v, rotated, i, count); });
      k_.forRow(headDim_ - dim_, kLanes, [&](Val i, Val count) {
        k_.store(k_.load(q_, head + i + dim_, kLanes, count), rotated, i + dim_, count);
      });
      x = rotated;
      head = k_.idx(0);
    }
    k_.forRow(headDim_, step, [&](Val i, Val count) {
      int64_t elements = count ? headDim_ % step : step;
      k_.store(loadQuery(k_, form_, x, head + i, elements, scale_), query_,
               g * paddedWords() + i / form_.per());
    });
    k_.store(k_.constant(k_.f32(), kNever), m_, g);
    k_.store(k_.constant(k_.f32(), 0), l_, g);
    k_.forLoop(k_.idx(0), k_.idx(headDim_), kLanes,
               [&](Val i) { k_.store(k_.zero(), sum_, g * headDim_ + i); });
  });
}

// The row of a run that is asked for beside row r: rows of its stripes of 4 KB in turn, which come
// faster than one stripe after the other.
Val Attention::rowAhead(Val r) {
  int64_t stripes = cache_.runBytes() / 4096, rows = cache_.pageTokens / std::max<int64_t>(stripes, 1);
  if (stripes < 2 || rows * stripes != cache_.pageTokens) return r;
  return r % stripes * rows + r / stripes;
}

// 16 words of a key. `page` is of words, or of elements that are widened here.
Val Attention::keyWords(Buf page, Val at, Val count) {
  Val v = k_.load(page, at, kLanes, count);
  return form_.pairs ? v : cache_.decode(v);
}

void Attention::scores(Val page, Val ahead, Val rows, Val head) {
  Type elem = form_.pairs ? k_.i32() : cache_.elem(k_);
  Buf keys = k_.view(rows_, page, elem);
  Val keyAt = k_.z() * (cache_.runElements() / form_.per());
  Val aheadAt = ahead + k_.z() * cache_.runBytes();
  int64_t elemBytes = form_.pairs ? 4 : cache_.elemBytes();
  k_.forLoop(k_.idx(0), rows, tokenTile_, [&](Val t) {
    Vals acc(tokenTile_ * headTile_, k_.zero());
    auto add = [&](Val w, Val count, ArrayRef<Val> in) {
      Vals out(in.begin(), in.end()), q;
      for (int64_t h = 0; h < headTile_; ++h)
        q.push_back(k_.load(query_, (head + h) * paddedWords() + w, kLanes));
      for (int64_t i = 0; i < tokenTile_; ++i) {
        k_.prefetch(rows_, aheadAt + rowAhead(t + i) * cache_.rowBytes + w * elemBytes, 2);
        Val key = keyWords(keys, keyAt + (t + i) * words() + w, count);
        for (int64_t h = 0; h < headTile_; ++h)
          out[h * tokenTile_ + i] = form_.dot(out[h * tokenTile_ + i], key, q[h]);
      }
      return out;
    };
    int64_t whole = words() / 16 * 16;
    if (whole)
      acc = k_.forLoop(k_.idx(0), k_.idx(whole), 16, acc,
                       [&](Val w, ArrayRef<Val> in) { return add(w, Val(), in); });
    if (whole < words()) acc = add(k_.idx(whole), k_.idx(words() - whole), acc);
    Val sums = reduceRows(acc);
    for (int64_t h = 0; h < headTile_; ++h)
      k_.store(slice(sums, h * tokenTile_, tokenTile_), score_, t + h * cache_.pageTokens);
  });
}

// Probabilities of a tile of heads; tokens outside [from, rows) are not seen.
void Attention::softmax(Val rows, Val from, Val head) {
  int64_t vecs = cache_.pageTokens / kLanes;
  Val lane = k_.iota();
  for (int64_t h = 0; h < headTile_; ++h) {
    Vals s;
    for (int64_t j = 0; j < vecs; ++j) {
      Val token = lane + kLanes * j;
      Val seen = token < toInt(rows, k_.i32());
      if (window_) seen = seen & (token >= toInt(from, k_.i32()));
      Val v = k_.load(score_, k_.idx(h * cache_.pageTokens + kLanes * j), kLanes);
      s.push_back(select(seen, v, number(v, kNever)));
    }
    Val top;
    for (Val v : s) top = top ? max(top, v) : v;
    Val before = k_.load(m_, head + h);
    Val m = max(reduceMax(top), before);
    Val alpha = exp(before - m), sum;
    for (int64_t j = 0; j < vecs; ++j) {
      s[j] = exp(s[j] - m);
      sum = sum ? sum + s[j] : s[j];
    }
    k_.store(m, m_, head + h);
    k_.store(alpha, alpha_, head + h);
    k_.store(fma(k_.load(l_, head + h), alpha, reduceAdd(sum)), l_, head + h);
    int64_t to = h * cache_.pageTokens / form_.per();
    for (int64_t j = 0; j < vecs; ++j) {
      if (form_.pairs)
        k_.store(bitcast(f32ToBf16(s[j]), k_.i32()), weight_, k_.idx(to + 8 * j));
      else
        k_.store(s[j], weight_, k_.idx(to + kLanes * j));
    }
  }
}

// Adds the page's tokens to `vecs` vectors of u of a tile of heads. Rows past the last may hold
// anything: the last one takes their place, with probability 0.
void Attention::values(Val page, Val ahead, Val rows, Val head, Val vec0, int64_t vecs) {
  Buf data = k_.view(rows_, page, cache_.elem(k_));
  Val valueAt = (k_.z() + kvHeads_) * cache_.runElements() + vec0 * kLanes;
  auto at = [&](int64_t h, int64_t j) { return (head + h) * headDim_ + (vec0 + j) * kLanes; };
  Vals acc;
  for (int64_t h = 0; h < headTile_; ++h)
    for (int64_t j = 0; j < vecs; ++j)
      acc.push_back(k_.load(sum_, at(h, j), kLanes) * k_.load(alpha_, head + h));
  acc = k_.forLoop(k_.idx(0), rows, form_.per(), acc, [&](Val t, ArrayRef<Val> in) {
    Vals out(in.begin(), in.end()), row;
    Val from = valueAt + t * headDim_;
    for (int64_t i = 0; i < form_.per(); ++i)
      for (int64_t b = 0; b < kLanes * vecs * cache_.elemBytes(); b += 64)
        k_.prefetch(rows_,
                    ahead + (valueAt + rowAhead(t + i) * headDim_) * cache_.elemBytes() + b, 2);
    if (form_.pairs) {
      Val second = valueAt + min(t + 1, rows - 1) * headDim_;
      for (int64_t j = 0; j + 1 < vecs; j += 2) {
        auto [lo, hi] = tangle(k_.load(data, from + kLanes * j, 2 * kLanes),
                               k_.load(data, second + kLanes * j, 2 * kLanes));
        row.append({lo, hi});
      }
      if (vecs % 2) {
        Val a = zext(k_.load(data, from + kLanes * (vecs - 1), kLanes), k_.i32());
        Val b = zext(k_.load(data, second + kLanes * (vecs - 1), kLanes), k_.i32());
        row.push_back(a | shl(b, 16));
      }
    } else {
      for (int64_t j = 0; j < vecs; ++j)
        row.push_back(cache_.decode(k_.load(data, from + kLanes * j, kLanes)));
    }
    for (int64_t h = 0; h < headTile_; ++h) {
      Val p = splat(k_.load(weight_, t / form_.per() + h * (cache_.pageTokens / form_.per())));
      for (int64_t j = 0; j < vecs; ++j)
        out[h * vecs + j] = form_.dot(out[h * vecs + j], row[j], p);
    }
    return out;
  });
  for (int64_t h = 0; h < headTile_; ++h)
    for (int64_t j = 0; j < vecs; ++j) k_.store(acc[h * vecs + j], sum_, at(h, j));
}

void Attention::page(Val page, Val head) {
  Val row0 = page * cache_.pageTokens;
  Val rows = min(visible_ - row0, k_.idx(cache_.pageTokens));
  Val at = cache_.pageAt(k_, pageTable_, tableAt_, page);
  // Beyond the split's last page is what the same worker is likely to read next.
  Val next = min(page + 1, lastPage_);
  // Only the first tile of heads asks for the next page; the others find this one in the cache.
  Val ahead = select(head == 0, cache_.pageAt(k_, pageTable_, tableAt_, next), at);
  scores(at, ahead, rows, head);
  softmax(rows, first_ - row0, head);
  int64_t together = std::min((k_.registers() >= 32 ? 16 : 4) / headTile_, vectors());
  int64_t whole = vectors() / together * together;
  k_.forLoop(k_.idx(0), k_.idx(whole), together,
             [&](Val v) { values(at, ahead, rows, head, v, together); });
  if (whole < vectors()) values(at, ahead, rows, head, k_.idx(whole), vectors() - whole);
}

void Attention::writePartial(Val token) {
  int64_t record = headDim_ + 16;
  Val to0 = (token * splits_ + k_.x()) * heads_ + k_.z() * group_;
  k_.forLoop(k_.idx(0), k_.idx(group_), 1, [&](Val g) {
    Val to = (to0 + g) * record;
    auto sum = [&](Val i) { return k_.load(sum_, g * headDim_ + i, kLanes); };
    int64_t tangled = form_.pairs ? headDim_ / (2 * kLanes) * (2 * kLanes) : 0;
    k_.forLoop(k_.idx(0), k_.idx(tangled), 2 * kLanes, [&](Val i) {
      auto [lo, hi] = untangle(sum(i), sum(i + kLanes));
      k_.store(lo, partial_, to + i);
      k_.store(hi, partial_, to + i + kLanes);
    });
    k_.forLoop(k_.idx(tangled), k_.idx(headDim_), kLanes,
               [&](Val i) { k_.store(sum(i), partial_, to + i); });
    Val lane = k_.iota();
    Val tail = select(lane == 0, splat(k_.load(m_, g)), k_.zero());
    k_.store(select(lane == 1, splat(k_.load(l_, g)), tail), partial_, to + headDim_);
  });
}

// A split without pages: nobody reads the sums beside an m of -inf.
void Attention::writeNothing(Val token) {
  int64_t record = headDim_ + 16;
  Val to0 = (token * splits_ + k_.x()) * heads_ + k_.z() * group_;
  Val tail = select(k_.iota() == 0, k_.constant(k_.vec(k_.f32()), kNever), k_.zero());
  k_.forLoop(k_.idx(0), k_.idx(group_), 1,
             [&](Val g) { k_.store(tail, partial_, (to0 + g) * record + headDim_); });
}

LogicalResult Attention::emit() {
  readConfig();
  if (k_.cfg().failed()) return failure();
  q_ = k_.in(k_.f32());
  Buf positions = k_.in(k_.i32()), sequence = k_.in(k_.i32());
  pageTable_ = k_.in(k_.i32());
  if (rotate_) angles_ = k_.in(k_.f32());
  rows_ = k_.in(k_.i8());
  partial_ = k_.out(k_.f32());
  Val pages = k_.push();

  int64_t padded = (group_ + headTile_ - 1) / headTile_ * headTile_;
  query_ = k_.scratch(form_.type(k_), 4 * padded * paddedWords());
  score_ = k_.scratch(k_.f32(), 4 * headTile_ * cache_.pageTokens);
  weight_ = k_.scratch(form_.type(k_), 4 * headTile_ * cache_.pageTokens / form_.per());
  sum_ = k_.scratch(k_.f32(), 4 * padded * headDim_);
  m_ = k_.scratch(k_.f32(), 4 * padded);
  l_ = k_.scratch(k_.f32(), 4 * padded);
  alpha_ = k_.scratch(k_.f32(), 4 * padded);

  Val token = k_.y();
  Val position = toIndex(k_.load(positions, token));
  visible_ = position + 1;
  first_ = window_ ? max(visible_ - window_, k_.idx(0)) : k_.idx(0);
  tableAt_ = toIndex(k_.load(sequence, token)) * pages;
  Val page0 = first_ / cache_.pageTokens;
  Val used = (visible_ + (cache_.pageTokens - 1)) / cache_.pageTokens - page0;
  Val begin = page0 + used * k_.x() / splits_;
  pageEnd_ = page0 + used * (k_.x() + 1) / splits_;
  lastPage_ = page0 + used - 1;
  k_.ifThen(begin < pageEnd_, [&] {
    packQueries(token, position);
    k_.forLoop(begin, pageEnd_, 1, [&](Val p) {
      k_.forLoop(k_.idx(0), k_.idx(padded), headTile_, [&](Val head) { page(p, head); });
    });
    writePartial(token);
  });
  k_.ifThen(begin >= pageEnd_, [&] { writeNothing(token); });
  return success();
}

}  // namespace

LogicalResult emitAttention(KernelBuilder& k) { return Attention(k).emit(); }

}  // namespace fathom::kernels
