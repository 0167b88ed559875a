// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// latent_attention_expanded: prefill of a latent model. One head of one sequence: keys and values
// of a page are expanded from the latent rows by w_uk and w_uv, once per block of queries.
#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/QueryBlock.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

constexpr int64_t kLanes = 16;
// Columns of keys or values that matrix units expand at a time, of 16 tokens.
constexpr int64_t kColumns = 64;
// Queries of a block. Expanding a page costs as much as rank (nope + v) / (nope + dim + v) rows of
// queries per token of the page (about 400 for DeepSeek's shapes), so blocks should not be small.
// Vectors take so long over a row that it may come from the last level of caches.
constexpr int64_t kBlockRows = 1024, kMatrixBlockRows = 512;

// The words of a head's matrix, for vectors, and their halves for matrix units.
struct Weights {
  Operand words;
  Buf halves;
};

class Expanded {
 public:
  explicit Expanded(KernelBuilder& k) : k_(k) {}
  LogicalResult emit();

 private:
  void readConfig();
  Weights weights(Buf weight, int64_t rows, Val head);
  void decodeSuperblock(const WeightLayout& layout, Buf weight, Val from, Buf to, Val toAt);
  void transposePage(Val page, Val rows);
  void forLines(int64_t lines, int64_t vecs, llvm::function_ref<void(Val line, int64_t)> body);
  void expandKeys(QueryBlock& block);
  void expandValues(QueryBlock& block, Val page, Val rows);
  void expandByMatrixUnits(QueryBlock& block, Val page, Val rows);
  void expandTile(const Weights& weights, int64_t width, Buf page, Val t,
                  llvm::function_ref<void(Val column, int64_t count)> use);
  Val rowWordsAt(Buf words, Val at, Val count) {
    Val v = k_.load(words, at, kLanes, count);
    return form_.pairs ? v : cache_.decode(v);
  }

  // A register tile: half of the registers are sums. Two vectors of rank words stay in the L1
  // cache, while all rows go by.
  int64_t tileVecs() const { return k_.registers() < 32 ? 1 : 2; }
  int64_t tileRows() const { return k_.registers() / 2 / tileVecs(); }
  int64_t rankWords() const { return rank_ / form_.per(); }
  int64_t rowWords() const { return (rank_ + dim_) / form_.per(); }

  KernelBuilder& k_;
  int64_t heads_ = 0, rank_ = 0, dim_ = 0, nope_ = 0, v_ = 0, outLd_ = 0;
  int64_t qLd_ = 0, qHeadLd_ = 0, qOffset_ = 0;
  double scale_ = 1;
  Enc enc_ = Enc::f32;
  Cache cache_;
  Words form_;
  Buf rows_;
  Weights uk_, uv_;  // tile16 words: (row n, word w) at n/16 tile + 16 w + n%16
  int64_t tileWords_ = 0;
  Buf latent_;  // words of a page's latents, transposed: [page tokens / 16][rank words][16]
  Buf wide_;    // bf16 latents widened: [page tokens][rank]
  Buf tile_;    // sums of matrix units: float32 [16 tokens][kColumns]
};

void Expanded::readConfig() {
  Config& cfg = k_.cfg();
  heads_ = cfg.in("heads", 1, 1 << 16);
  rank_ = cfg.in("rank", 16, 1 << 12, 16);
  dim_ = cfg.in("dim", 2, 1 << 12, 2);
  nope_ = cfg.in("nope", 16, 1 << 12, 16);
  v_ = cfg.in("v", 16, 1 << 12, 16);
  outLd_ = cfg.in("out_ld", heads_ * v_, kMaxStride, 1, heads_ * v_);
  scale_ = cfg.f("scale");
  qLd_ = cfg.in("q_ld", 0, kMaxStride);
  qHeadLd_ = cfg.in("q_head_ld", 0, kMaxStride);
  qOffset_ = cfg.in("q_offset", 0, kMaxStride);
  enc_ = readEnc(cfg);
  cache_ = Cache::read(cfg, rank_ + dim_);
  form_ = Words::choose(k_.profile(), cache_);
}

// Columns [64 s, 64 s + 64) of a tile's 16 rows as words.
void Expanded::decodeSuperblock(const WeightLayout& layout, Buf weight, Val from, Buf to,
                                Val toAt) {
  Buf scales = k_.view(weight, from, k_.i16());
  Buf words = k_.view(weight, from + kScaleBytes, k_.i32());
  bool nibbles = layout.enc == Enc::q4;
  int64_t perGroup = nibbles ? 4 : 8;
  auto put = [&](Val bytes, int64_t column, int64_t zero, Val scale) {
    Val v[4];
    for (int64_t b = 0; b < 4; ++b)
      v[b] = toFloat((shr(bytes, 8 * b) & (nibbles ? 15 : 255)) - zero) * scale;
    for (int64_t b = 0; b < 4; b += form_.per())
      k_.store(form_.pairs ? packBf16(v[b], v[b + 1]) : v[b], to,
               toAt + (column + b) / form_.per() * kLanes);
  };
  for (int64_t g = 0; g < 2; ++g) {
    Val scale = f16ToF32(k_.load(scales, k_.idx(kLanes * g), kLanes));
    for (int64_t j = 0; j < perGroup; ++j) {
      Val bytes = k_.load(words, k_.idx(kLanes * (perGroup * g + j)), kLanes);
      int64_t column = kGroup * g + 4 * j;
      put(bytes, column, nibbles ? 8 : 128, scale);
      if (nibbles) put(shr(bytes, 4), column + 16, 8, scale);
    }
  }
}

// The (rows, rank) matrix of `head` as tile16 words: where it lies when it has that form already,
// else decoded into scratch.
Weights Expanded::weights(Buf weight, int64_t rows, Val head) {
  WeightLayout layout(enc_, rows, rank_);
  Val base = head * layout.matrixBytes;
  auto seen = [&](Buf bytes, Val from) -> Weights {
    return {{k_.view(bytes, from, form_.type(k_)), k_.idx(0), 1, kLanes},
            k_.view(bytes, from, k_.b().getBF16Type())};
  };
  if (enc_ == (form_.pairs ? Enc::bf16 : Enc::f32)) return seen(weight, base);
  Weights decoded = seen(k_.scratch(k_.i8(), 4 * layout.tiles * tileWords_), k_.idx(0));
  Buf to = decoded.words.buf;
  k_.forLoop(k_.idx(0), k_.idx(layout.tiles), 1, [&](Val tile) {
    k_.forLoop(k_.idx(0), k_.idx(layout.steps), enc_ == Enc::f32 ? 2 : 1, [&](Val step) {
      Val from = base + tile * layout.tileBytes + step * layout.stepBytes, at = tile * tileWords_;
      if (enc_ == Enc::f32) {
        Buf columns = k_.view(weight, from, k_.f32());
        Val even = k_.load(columns, k_.idx(0), kLanes), odd = k_.load(columns, k_.idx(16), kLanes);
        k_.store(packBf16(even, odd), to, at + step / 2 * kLanes);
      } else if (enc_ == Enc::bf16) {
        Val pair = k_.load(k_.view(weight, from, k_.i32()), k_.idx(0), kLanes);
        k_.store(lowBf16(pair), to, at + step * (2 * kLanes));
        k_.store(highBf16(pair), to, at + step * (2 * kLanes) + kLanes);
      } else {
        decodeSuperblock(layout, weight, from, to, at + step * (64 / form_.per() * kLanes));
      }
    });
  });
  return decoded;
}

// latent_ and, where the products need float32 rows of a bf16 cache, wide_.
void Expanded::transposePage(Val page, Val rows) {
  Buf words = k_.view(rows_, page, form_.pairs ? k_.i32() : cache_.elem(k_));
  k_.forLoop(k_.idx(0), rows, kLanes, [&](Val t) {
    transposeRows(
        k_, rankWords(),
        [&](int64_t r, Val w, Val count) {
          Val v = rowWordsAt(words, (t + r) * rowWords() + w, count);
          if (wide_.mem) k_.store(v, wide_, (t + r) * rank_ + w);
          return v;
        },
        latent_, t * rankWords(), kLanes);
  });
}

void Expanded::forLines(int64_t lines, int64_t vecs, function_ref<void(Val, int64_t)> body) {
  int64_t whole = lines / vecs * vecs;
  k_.forLoop(k_.idx(0), k_.idx(whole), vecs, [&](Val line) { body(line, vecs); });
  if (whole < lines) body(k_.idx(whole), lines - whole);
}

// Keys: nope rows of w_uk times the latents, then the rotated part as it is in the cache.
void Expanded::expandKeys(QueryBlock& block) {
  int64_t vecs = tileVecs(), rows = tileRows(), pageTokens = cache_.pageTokens;
  auto tile = [&](Val n, Val line, int64_t count) {
    Operand a = uk_.words, b{latent_, line * (rankWords() * kLanes), rankWords() * kLanes, kLanes};
    a.at = n / kTileRows * tileWords_ + n % kTileRows;
    Vals c = product(k_, form_, a, b, rows, count, rankWords(), Vals(rows * count, k_.zero()));
    for (int64_t r = 0; r < rows; r += form_.per())
      for (int64_t j = 0; j < count; ++j) {
        Val key =
            form_.pairs ? packBf16(c[r * count + j], c[(r + 1) * count + j]) : c[r * count + j];
        k_.store(key, block.keys, (n + r) / form_.per() * pageTokens + (line + j) * kLanes);
      }
  };
  forLines(pageTokens / kLanes, vecs, [&](Val line, int64_t count) {
    k_.forLoop(k_.idx(0), k_.idx(nope_), rows, [&](Val n) { tile(n, line, count); });
  });
}

// Values: latent rows times w_uv, whose tiles have their 16 rows in the lanes already.
void Expanded::expandValues(QueryBlock& block, Val page, Val rows) {
  int64_t vecs = tileVecs(), tall = tileRows();
  Operand a{wide_, k_.idx(0), rank_, 1};
  if (!wide_.mem) a = {k_.view(rows_, page, form_.type(k_)), k_.idx(0), rowWords(), 1};
  auto tile = [&](Val t, Val line, int64_t count) {
    Operand from = a, b = uv_.words;
    from.at = t * a.outer;
    b.at = line * tileWords_;
    b.outer = tileWords_;
    Vals c = product(k_, form_, from, b, tall, count, rankWords(), Vals(tall * count, k_.zero()));
    for (int64_t r = 0; r < tall; ++r)
      for (int64_t j = 0; j < count; ++j)
        c[r * count + j] = select(t + r < rows, c[r * count + j], k_.zero());
    for (int64_t r = 0; r < tall; r += 2)
      for (int64_t j = 0; j < count; ++j)
        block.storeValue(t + r, (line + j) * kLanes, c[r * count + j], c[(r + 1) * count + j]);
  };
  forLines(v_ / kTileRows, vecs, [&](Val line, int64_t count) {
    k_.forLoop(k_.idx(0), rows, tall, [&](Val t) { tile(t, line, count); });
  });
}

// Tokens t .. t + 15 of the page times the `width` rows of a matrix, kColumns of them at a time:
// `use(column, count)` finds columns column .. column + count in tile_.
void Expanded::expandTile(const Weights& weights, int64_t width, Buf page, Val t,
                          function_ref<void(Val, int64_t)> use) {
  auto columns = [&](Val column, int64_t count) {
    MatrixTerm term{{{page, t * (rank_ + dim_), k_.idx(rank_ + dim_)}}, {}, rank_ / 2};
    for (int64_t j = 0; j < count / kTileRows; ++j)
      term.right.push_back({weights.halves, (column / kTileRows + j) * tileWords_, kTileRows});
    matrixProduct(k_, term, {tile_, k_.idx(0), k_.idx(kColumns)});
    use(column, count);
  };
  int64_t whole = width / kColumns * kColumns;
  k_.forLoop(k_.idx(0), k_.idx(whole), kColumns, [&](Val column) { columns(column, kColumns); });
  if (whole < width) columns(k_.idx(whole), width - whole);
}

// The same keys and values, from the rows as they lie in the cache.
void Expanded::expandByMatrixUnits(QueryBlock& block, Val page, Val rows) {
  int64_t pageTokens = cache_.pageTokens;
  Buf latents = k_.view(rows_, page, k_.b().getBF16Type());
  k_.forLoop(k_.idx(0), rows, kMatrixRows, [&](Val t) {
    expandTile(uk_, nope_, latents, t, [&](Val column, int64_t count) {
      transposeRows(
          k_, count / 2,
          [&](int64_t r, Val w, Val) {
            Val from = w * 2 + r * kColumns;
            return bitcast(concat(f32ToBf16(k_.load(tile_, from, kLanes)),
                                  f32ToBf16(k_.load(tile_, from + kLanes, kLanes))),
                           k_.i32());
          },
          block.keys, t + column / 2 * pageTokens, pageTokens);
    });
    expandTile(uv_, v_, latents, t, [&](Val column, int64_t count) {
      k_.forLoop(k_.idx(0), k_.idx(kMatrixRows), 2, [&](Val r) {
        for (int64_t c = 0; c < count; c += kLanes) {
          Val pair[2];
          for (int64_t i = 0; i < 2; ++i) {
            Val v = k_.load(tile_, (r + i) * kColumns + c, kLanes);
            pair[i] = select(t + r + i < rows, v, k_.zero());
          }
          block.storeValue(t + r, column + c, pair[0], pair[1]);
        }
      });
    });
  });
}

LogicalResult Expanded::emit() {
  readConfig();
  if (k_.cfg().failed()) return failure();
  Buf q = k_.in(k_.f32()), uk = k_.in(k_.i8()), uv = k_.in(k_.i8());
  Buf sequence = k_.in(k_.i32()), positions = k_.in(k_.i32()), pageTable = k_.in(k_.i32());
  Buf contextLength = k_.in(k_.i32());
  rows_ = k_.in(k_.i8());
  Buf out = k_.out(k_.f32());
  Val tokens = k_.push(), pages = k_.push();
  (void)contextLength;  // positions say it per token

  int64_t pageTokens = cache_.pageTokens;
  // A decoded tile has room for whole superblocks; one that is used in place has none to spare.
  bool inPlace = enc_ == (form_.pairs ? Enc::bf16 : Enc::f32);
  tileWords_ = (inPlace ? rank_ : roundUp(rank_, kSuperblock)) / form_.per() * kLanes;
  if (cache_.bf16 && !form_.pairs) wide_ = k_.scratch(k_.f32(), 4 * pageTokens * rank_);
  int64_t blockRows = k_.profile().amx ? kMatrixBlockRows : kBlockRows;
  QueryBlock block(k_, form_, blockRows, nope_ + dim_, v_, pageTokens, scale_, 0);
  bool matrix = block.byMatrixUnits() && rank_ % 32 == 0 && rank_ <= 1024 && nope_ % 32 == 0;
  if (matrix)
    tile_ = k_.scratch(k_.f32(), 4 * kMatrixRows * kColumns);
  else
    latent_ = k_.scratch(form_.type(k_), 4 * rankWords() * pageTokens);

  Val head = k_.x(), b = k_.y(), base = b * pages, outLd = k_.idx(outLd_);
  auto range = tokensOf(k_, sequence, tokens, b);
  Val end = range.second;
  k_.ifThen(range.first < end, [&] {
    uk_ = weights(uk, nope_, head);
    uv_ = weights(uv, v_, head);
    k_.forLoop(range.first, end, blockRows, [&](Val token0) {
      Val rows = min(end - token0, k_.idx(blockRows));
      block.begin();
      Val none = k_.constant(k_.i32(), 0);
      Val most = k_.forLoop(k_.idx(0), rows, 1, {none}, [&](Val r, ArrayRef<Val> in) {
        Val token = token0 + r;
        Val mine = toIndex(k_.load(sequence, token)) == b;
        Val seen = select(mine, k_.load(positions, token) + 1, none);
        block.setRow(r, seen, q, token * qLd_ + head * qHeadLd_ + qOffset_);
        return Vals{max(in[0], seen)};
      })[0];
      Val padded = block.pad(rows);
      most = toIndex(most);
      k_.forLoop(k_.idx(0), (most + (pageTokens - 1)) / pageTokens, 1, [&](Val p) {
        Val row0 = p * pageTokens, inPage = min(most - row0, k_.idx(pageTokens));
        Val page = cache_.pageAt(k_, pageTable, base, p);
        if (matrix) {
          expandByMatrixUnits(block, page, inPage);
        } else {
          transposePage(page, inPage);
          expandKeys(block);
          expandValues(block, page, inPage);
        }
        Buf words = k_.view(rows_, page, form_.pairs ? k_.i32() : cache_.elem(k_));
        k_.forLoop(k_.idx(0), inPage, kLanes, [&](Val t) {
          transposeRows(
              k_, dim_ / form_.per(),
              [&](int64_t r, Val w, Val count) {
                return rowWordsAt(words, (t + r) * rowWords() + w + rankWords(), count);
              },
              block.keys, t + nope_ / form_.per() * pageTokens, pageTokens);
        });
        block.attend(row0, padded);
      });
      k_.forLoop(k_.idx(0), rows, 1, [&](Val r) {
        Val token = token0 + r;
        k_.ifThen(toIndex(k_.load(sequence, token)) == b,
                  [&] { block.finish(r, out, token * outLd + head * v_); });
      });
    });
  });
  return success();
}

}  // namespace

LogicalResult emitLatentAttentionExpanded(KernelBuilder& k) { return Expanded(k).emit(); }

}  // namespace fathom::kernels
