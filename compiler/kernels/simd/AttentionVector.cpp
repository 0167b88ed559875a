// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention by vectors, a page at a time, a tile of query heads at a time.
//
// Scores: lanes = dimensions, a tile of tokens x heads keeps 16 sums that one shuffle tree turns
// into 16 lanes; softmax: lanes = tokens; values: lanes = dimensions. A page's keys of all kv heads
// come first and then their values, in the order in which they lie in it: one stretch for the
// hardware's prefetchers. Beside the arithmetic what comes next is asked for, at the end of a split
// too.
#include "compiler/kernels/simd/Attention.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

class AttentionVector : public Attention {
 public:
  AttentionVector(KernelBuilder& k, AttentionInputs in)
      : Attention(k, std::move(in)), sums_(k.registers() >= 32 ? 16 : 4) {
    int64_t group = in_.group();
    headTile_ = group >= 4 && sums_ == 16 ? 4 : group >= 2 ? 2 : 1;
    tokenTile_ = sums_ / headTile_;
  }

 private:
  void allocate() override;
  void begin(Buf x, Val from) override;
  void attend(Val page, Val rows, Val from) override;
  void readSums(Val g, function_ref<void(Val i, Val v)> use) override;
  std::pair<Val, Val> readWeights(Val g) override {
    return {k_.load(m_, stateOf(g)), k_.load(l_, stateOf(g))};
  }

  Val runAt(Val page, Val run) { return page + run * in_.cache.runBytes(); }
  // One of several passes over a run of keys or values, which share what is asked for beside them.
  struct Pass {
    Val own, next;  // addresses of the run and of the one that is read after it
    Val i;
    int64_t of;
  };
  void ask(const Pass& pass, Val t, int64_t tokens, Val part, int64_t parts);
  Val keyWords(Buf page, Val at, Val count);
  void scores(Val page, Val head, const Pass& pass, Val rows, Val state);
  void softmax(Val rows, Val from, Val state);
  void values(Val page, Val head, const Pass& pass, Val rows, Val state, Val vec0, int64_t vecs);

  int64_t words() const { return in_.headDim / in_.form.per(); }
  int64_t paddedWords() const { return (words() + 15) / 16 * 16; }
  int64_t vectors() const { return in_.headDim / kLanes; }
  // Heads filling the last tile repeat the last one.
  int64_t paddedHeads() const { return (in_.group() + headTile_ - 1) / headTile_ * headTile_; }
  int64_t states() const { return together_ * paddedHeads(); }
  int64_t headTiles() const { return paddedHeads() / headTile_; }
  // Vectors of values at a time, and how often.
  int64_t valueTile() const { return std::min(sums_ / headTile_, vectors()); }
  int64_t valueTiles() const { return (vectors() + valueTile() - 1) / valueTile(); }
  int64_t mostPasses() const { return headTiles() * valueTiles(); }
  Val weightsAt(Val state) { return state * (in_.cache.pageTokens / in_.form.per()); }
  // Where the workgroup's query head g is among the states.
  Val stateOf(Val g) { return g / in_.group() * paddedHeads() + g % in_.group(); }

  // Bytes asked for ahead: the best of 2, 4, 8 and 16 KB (docs/design/014).
  static constexpr int64_t kAhead = 8192;

  const int64_t sums_;     // that fit the registers
  int64_t headTile_ = 1;   // query heads at a time
  int64_t tokenTile_ = 1;  // and tokens
  Buf query_;              // words [states][paddedWords]
  Buf score_;              // f32 [headTile][page tokens]
  Buf weight_;             // words [states][page tokens / per]
  Buf sum_;                // u: f32 [states][headDim], pairs of vectors tangled with pairs
  Buf m_, l_, alpha_;      // f32 [states]
};

void AttentionVector::allocate() {
  const int64_t tokens = in_.cache.pageTokens;
  query_ = k_.scratch(in_.form.type(k_), 4 * states() * paddedWords());
  score_ = k_.scratch(k_.f32(), 4 * headTile_ * tokens);
  weight_ = k_.scratch(in_.form.type(k_), 4 * states() * tokens / in_.form.per());
  sum_ = k_.scratch(k_.f32(), 4 * states() * in_.headDim);
  for (Buf* of : {&m_, &l_, &alpha_}) *of = k_.scratch(k_.f32(), 4 * states());
}

void AttentionVector::begin(Buf x, Val from) {
  int64_t headDim = in_.headDim, per = in_.form.per(), step = 16 * per, padded = paddedHeads();
  k_.forLoop(k_.idx(0), kvHeads_ * padded, 1, [&](Val g) {
    Val query = g / padded * in_.group() + min(g % padded, k_.idx(in_.group() - 1));
    Val head = from + query * headDim;
    k_.forRow(headDim, step, [&](Val i, Val count) {
      int64_t elements = count ? headDim % step : step;
      k_.store(loadQuery(k_, in_.form, x, head + i, elements, in_.scale), query_,
               g * paddedWords() + i / per);
    });
    k_.store(k_.constant(k_.f32(), kNever), m_, g);
    k_.store(k_.constant(k_.f32(), 0), l_, g);
    k_.forLoop(k_.idx(0), k_.idx(headDim), kLanes,
               [&](Val i) { k_.store(k_.zero(), sum_, g * headDim + i); });
  });
}

// Called beside tokens t .. t + tokens - 1 of a pass. The lines that lie `ahead` bytes behind these
// are divided among the passes (if they do not divide, each pass asks for all), and a pass's among
// `parts` calls; asked for in order, into the L1 cache. On processors with matrix units it is rows
// of the next run, of its stripes of 4 KB in turn and into the L2 cache; there that is faster, and
// slower on those without them (docs/design/014).
void AttentionVector::ask(const Pass& pass, Val t, int64_t tokens, Val part, int64_t parts) {
  const int64_t rowBytes = in_.cache.rowBytes, run = in_.cache.runBytes();
  auto linesOf = [&](int64_t bytes) { return (bytes + 64 * parts - 1) / (64 * parts); };
  if (k_.profile().amx) {
    int64_t stripes = run / 4096, rows = in_.cache.pageTokens / std::max<int64_t>(stripes, 1);
    bool turns = stripes >= 2 && rows * stripes == in_.cache.pageTokens;
    for (int64_t i = 0; i < tokens; ++i) {
      Val row = t + i;
      if (turns) row = row % stripes * rows + row / stripes;
      Val from = pass.next + row * rowBytes + part * (64 * linesOf(rowBytes));
      for (int64_t j = 0; j < linesOf(rowBytes); ++j) k_.prefetch(in_.rows, from + 64 * j, 2);
    }
    return;
  }
  // Far enough for the first pass to find all of its run, of which it asks for a share; a multiple
  // of every tile.
  const int64_t tile = 16 * rowBytes, most = std::max(kAhead, run - run / mostPasses());
  const int64_t ahead = std::min(std::max(most / tile, int64_t{1}) * tile, run);
  int64_t bytes = tokens * rowBytes;
  Val at = t * rowBytes;
  if (bytes % (64 * pass.of) == 0) {
    bytes /= pass.of;
    at = pass.i * (run / pass.of) + at / pass.of;
  }
  Val from = select(at < run - ahead, pass.own + ahead, pass.next + (ahead - run)) + at +
             part * (64 * linesOf(bytes));
  for (int64_t i = 0; i < linesOf(bytes); ++i) k_.prefetch(in_.rows, from + 64 * i, 3);
}

// 16 words of a key. `page` is of words, or of elements that are widened here.
Val AttentionVector::keyWords(Buf page, Val at, Val count) {
  Val v = k_.load(page, at, kLanes, count);
  return in_.form.pairs ? v : in_.cache.decode(v);
}

void AttentionVector::scores(Val page, Val head, const Pass& pass, Val rows, Val state) {
  Type elem = in_.form.pairs ? k_.i32() : in_.cache.elem(k_);
  Buf keys = k_.view(in_.rows, page, elem);
  Val keyAt = keysAt(head) / in_.form.per();
  k_.forLoop(k_.idx(0), rows, tokenTile_, [&](Val t) {
    Vals acc(tokenTile_ * headTile_, k_.zero());
    auto add = [&](Val w, Val count, ArrayRef<Val> in) {
      Vals out(in.begin(), in.end()), q;
      ask(pass, t, tokenTile_, w / 16, (words() + 15) / 16);
      for (int64_t h = 0; h < headTile_; ++h)
        q.push_back(k_.load(query_, (state + h) * paddedWords() + w, kLanes));
      for (int64_t i = 0; i < tokenTile_; ++i) {
        Val key = keyWords(keys, keyAt + (t + i) * words() + w, count);
        for (int64_t h = 0; h < headTile_; ++h)
          out[h * tokenTile_ + i] = in_.form.dot(out[h * tokenTile_ + i], key, q[h]);
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
      k_.store(slice(sums, h * tokenTile_, tokenTile_), score_, t + h * in_.cache.pageTokens);
  });
}

// Probabilities of a tile of heads; tokens outside [from, rows) are not seen.
void AttentionVector::softmax(Val rows, Val from, Val state) {
  int64_t vecs = in_.cache.pageTokens / kLanes;
  Val lane = k_.iota();
  for (int64_t h = 0; h < headTile_; ++h) {
    Vals s;
    for (int64_t j = 0; j < vecs; ++j) {
      Val token = lane + kLanes * j;
      Val seen = token < toInt(rows, k_.i32());
      if (in_.window) seen = seen & (token >= toInt(from, k_.i32()));
      Val v = k_.load(score_, k_.idx(h * in_.cache.pageTokens + kLanes * j), kLanes);
      s.push_back(select(seen, v, number(v, kNever)));
    }
    Val top;
    for (Val v : s) top = top ? max(top, v) : v;
    Val before = k_.load(m_, state + h);
    Val m = max(reduceMax(top), before);
    Val alpha = exp(before - m), sum;
    for (int64_t j = 0; j < vecs; ++j) {
      s[j] = in_.form.pairs ? expOfWeight(s[j] - m) : exp(s[j] - m);
      sum = sum ? sum + s[j] : s[j];
    }
    k_.store(m, m_, state + h);
    k_.store(alpha, alpha_, state + h);
    k_.store(fma(k_.load(l_, state + h), alpha, reduceAdd(sum)), l_, state + h);
    Val to = weightsAt(state + h);
    for (int64_t j = 0; j < vecs; ++j) {
      if (in_.form.pairs)
        k_.store(bitcast(f32ToBf16(s[j]), k_.i32()), weight_, to + 8 * j);
      else
        k_.store(s[j], weight_, to + kLanes * j);
    }
  }
}

// Adds the page's tokens to `vecs` vectors of u of a tile of heads. Rows past the last may hold
// anything: the last one takes their place, with probability 0.
void AttentionVector::values(Val page, Val head, const Pass& pass, Val rows, Val state, Val vec0,
                             int64_t vecs) {
  Buf data = k_.view(in_.rows, page, in_.cache.elem(k_));
  Val valueAt = valuesAt(head) + vec0 * kLanes;
  auto at = [&](int64_t h, int64_t j) { return (state + h) * in_.headDim + (vec0 + j) * kLanes; };
  Vals acc;
  for (int64_t h = 0; h < headTile_; ++h)
    for (int64_t j = 0; j < vecs; ++j)
      acc.push_back(k_.load(sum_, at(h, j), kLanes) * k_.load(alpha_, state + h));
  acc = k_.forLoop(k_.idx(0), rows, in_.form.per(), acc, [&](Val t, ArrayRef<Val> in) {
    Vals out(in.begin(), in.end()), row;
    Val from = valueAt + t * in_.headDim;
    ask(pass, t, in_.form.per(), k_.idx(0), 1);
    if (in_.form.pairs) {
      Val second = valueAt + min(t + 1, rows - 1) * in_.headDim;
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
        row.push_back(in_.cache.decode(k_.load(data, from + kLanes * j, kLanes)));
    }
    for (int64_t h = 0; h < headTile_; ++h) {
      Val p = splat(k_.load(weight_, weightsAt(state + h) + t / in_.form.per()));
      for (int64_t j = 0; j < vecs; ++j)
        out[h * vecs + j] = in_.form.dot(out[h * vecs + j], row[j], p);
    }
    return out;
  });
  for (int64_t h = 0; h < headTile_; ++h)
    for (int64_t j = 0; j < vecs; ++j) k_.store(acc[h * vecs + j], sum_, at(h, j));
}

void AttentionVector::attend(Val page, Val rows, Val from) {
  Val at = pageAt(page), ahead = pageAhead(page), zero = k_.idx(0);
  auto forTiles = [&](function_ref<void(Val i, Val tile, Val state)> body) {
    k_.forLoop(zero, kvHeads_, 1, [&](Val i) {
      k_.forLoop(zero, k_.idx(headTiles()), 1,
                 [&](Val tile) { body(i, tile, i * paddedHeads() + tile * headTile_); });
    });
  };
  // Run i of those from `first` on, whose last one `behind` follows.
  auto pass = [&](Val i, Val first, Val behind, Val tile, int64_t of) {
    Pass pass{runAt(at, first + i), select(i + 1 == kvHeads_, behind, runAt(at, first + i + 1)),
              tile, of};
    // There the next page's is asked for; other tiles ask for this one again, which they have.
    if (k_.profile().amx) pass.next = runAt(select(tile == 0, ahead, at), first + i);
    return pass;
  };
  Val keys = firstHead(), values = firstHead() + in_.kvHeads;
  forTiles([&](Val i, Val tile, Val state) {
    scores(at, keys + i, pass(i, keys, runAt(at, values), tile, headTiles()), rows, state);
    softmax(rows, from, state);
  });
  forTiles([&](Val i, Val tile, Val state) {
    Pass of = pass(i, values, runAt(ahead, keys), tile, mostPasses());
    auto add = [&](Val vec0, int64_t vecs) {
      of.i = tile * valueTiles() + vec0 / valueTile();
      this->values(at, keys + i, of, rows, state, vec0, vecs);
    };
    int64_t whole = vectors() / valueTile() * valueTile();
    k_.forLoop(zero, k_.idx(whole), valueTile(), [&](Val vec0) { add(vec0, valueTile()); });
    if (whole < vectors()) add(k_.idx(whole), vectors() - whole);
  });
}

void AttentionVector::readSums(Val g, function_ref<void(Val i, Val v)> use) {
  auto sum = [&](Val i) { return k_.load(sum_, stateOf(g) * in_.headDim + i, kLanes); };
  int64_t tangled = in_.form.pairs ? in_.headDim / (2 * kLanes) * (2 * kLanes) : 0;
  k_.forLoop(k_.idx(0), k_.idx(tangled), 2 * kLanes, [&](Val i) {
    auto [lo, hi] = untangle(sum(i), sum(i + kLanes));
    use(i, lo);
    use(i + kLanes, hi);
  });
  k_.forLoop(k_.idx(tangled), k_.idx(in_.headDim), kLanes, [&](Val i) { use(i, sum(i)); });
}

}  // namespace

std::unique_ptr<Attention> makeAttentionVector(KernelBuilder& k, AttentionInputs in) {
  return std::make_unique<AttentionVector>(k, std::move(in));
}

}  // namespace fathom::kernels
