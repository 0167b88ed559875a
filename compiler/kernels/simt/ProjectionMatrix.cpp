// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Projections of many tokens by matrix units, which take tile16 words as they are.
//
// A subgroup has two tiles of every weight and all tokens of its workgroup. K goes by chunks of 16
// words of an activation row (64 int8, 32 bf16): while the units work on one, copies of the next
// ones are on their way to workgroup memory, each into a stage of its own.
//
// The 16 bytes of a tile that lane (gid, tig) takes are word j = tig of the rows 4 rq .. 4 rq + 3,
// where gid = 4 T + rq and T is the tile. Of two products p = 0, 1 the unit's row gid is row
// 4 rq + 2 p of tile T and its row gid + 8 the one after it: a lane ends with four rows that follow
// each other for the tokens 2 tig and 2 tig + 1 of each eight, and no word was moved between lanes.
// The low nibbles of a q4 word are columns 4 j .. of its group and the high ones 16 + 4 j .., which
// are words j and 4 + j of an activation row: what a lane needs of A.
#include "compiler/kernels/simt/MatrixUnits.h"
#include "compiler/kernels/simt/Projection.h"

using namespace mlir;

namespace fathom::kernels::simt {

namespace {

constexpr int64_t kChunkWords = 16;  // of an activation row
constexpr int64_t kUnitWords = 4;    // of a copy
constexpr int64_t kRowUnits = kChunkWords / kUnitWords;
constexpr int64_t kParts = 2;    // of a chunk: 8 words, one product each
constexpr int64_t kColumns = 8;  // tokens of a product

// Workgroup memory has 32 banks of a word, and eight lanes take 16 bytes each at a time: they
// should be of different banks. Both permutations stay within a few units.
Val shuffledLine(Val unit) { return unit ^ shl(shr(unit, 3) & 1, 1); }
Val shuffledUnit(Val token, Val unit) { return unit ^ (shr(token, 1) & 3); }

}  // namespace

/// One workgroup's walk along K.
class Projection::MatrixWalk {
 public:
  MatrixWalk(Projection& p, Val panel, Val matrix, Val first, Val end, function_ref<Row(Val)> at)
      : p_(p), k_(p.k_), units_(p.k_), n_(p.weights_.size()) {
    const WeightLayout& layout = p.weights_[0].layout();
    int8_ = p.actForm_ == Act::i8;
    nibbles_ = p.enc_ == Enc::q4;
    padded_ = roundUp(p.cols_, kSuperblock);
    chunks_ = int8_ ? padded_ / kSuperblock : ceilDiv(p.cols_, 2 * kChunkWords);
    steps_ = layout.steps;
    tileWords_ = int8_ ? layout.stepBytes / 4 : kChunkWords * kTileRows;
    weightWords_ = n_ * p.shape_.tiles * tileWords_;
    int64_t tokens = p.shape_.tokens;
    stageWords_ = weightWords_ + tokens * (kChunkWords + (int8_ ? 2 * kParts : 0));
    stages_ = std::clamp<int64_t>(k_.gpu().sharedBytes / (4 * stageWords_), 2, 4);
    // Outputs that become records lie there when K is done with.
    int64_t staged = p.staged() ? p.stageFloats() : 0;
    if (!p.stage_.mem)
      p.stage_ = k_.shared(k_.f32(), std::max(roundUp(staged, 4), stages_ * stageWords_));
    lane_ = k_.lane() % 32;
    placeCopies(panel, matrix, first, end, at);
  }

  /// Sums of four rows: [(w * tokens / 8 + eight) * 2 + e] for the tokens 2 tig + e of an eight.
  Vals run() {
    // Lanes may still read what the tokens before these left.
    k_.barrier();
    for (int64_t c = 0; c + 1 < stages_; ++c) {
      if (c < chunks_) copyChunk(k_.idx(c), k_.idx(c * stageWords_));
      units_.endGroup();
    }
    int64_t sums = n_ * p_.shape_.tokens / kColumns * 2;
    Vals carried = int8_ ? Vals(sums, k_.zero(4)) : Vals(4 * sums, k_.constant(k_.f32(), 0));
    carried.push_back(k_.idx(0));
    carried = k_.forLoop(k_.idx(0), k_.idx(chunks_), 1, carried, [&](Val c, ArrayRef<Val> in) {
      Val stage = in.back(), ahead = c + (stages_ - 1);
      units_.waitForGroups(stages_ - 2);
      k_.barrier();
      // The stage before this one in the ring: all lanes are done with it.
      k_.ifThen(ahead < chunks_, [&] {
        Val before = select(stage == 0, k_.idx(stages_ - 1), stage - 1);
        copyChunk(ahead, before * stageWords_);
      });
      units_.endGroup();
      Vals out = chunk(stage * stageWords_, in.drop_back());
      out.push_back(select(stage == stages_ - 1, k_.idx(0), stage + 1));
      return out;
    });
    carried.pop_back();
    return int8_ ? carried : byRows(carried);
  }

 private:
  // Copies of 16 bytes: where the lane's first one begins in a stage and, for chunk 0, in the
  // buffer.
  struct Copy {
    size_t weight = 0;
    Val to, from;
  };

  // A subgroup copies the tiles that it works on, each lane every 32nd unit of both: the places of
  // all but the first one are known distances away.
  void placeCopies(Val panel, Val matrix, Val first, Val end, function_ref<Row(Val)> at) {
    int64_t tiles = p_.shape_.tiles, lanes = k_.lanes();
    for (size_t w = 0; w < n_; ++w)
      for (int64_t i = 0; i < 2; ++i) {
        Val tile = k_.lane() / 32 * 2 + i;
        Val number = min(panel * tiles + tile, k_.idx(p_.weights_[0].layout().tiles - 1));
        Copy copy;
        copy.weight = w;
        copy.from = matrix + number * p_.weights_[0].tileWords() + lane_ * kUnitWords;
        copy.to = (tile + static_cast<int64_t>(w) * tiles) * tileWords_ +
                  shuffledLine(lane_) * kUnitWords;
        weightCopies_.push_back(copy);
      }
    unit_ = k_.lane() % kRowUnits;
    for (int64_t begin = 0; begin < p_.shape_.tokens; begin += lanes / kRowUnits) {
      Val token = k_.lane() / kRowUnits + begin;
      Row row = at(min(first + token, end - 1));
      rows_.push_back(row.act + p_.actOffset_ / 4);
      Copy copy;
      copy.from = rows_.back() + unit_ * kUnitWords;
      copy.to = token * kChunkWords + shuffledUnit(token, unit_) * kUnitWords + weightWords_;
      actCopies_.push_back(copy);
    }
  }

  void copyChunk(Val c, Val stage) {
    bool whole = int8_ || p_.cols_ % (2 * kChunkWords) == 0;
    SimtBuilder::Binding bindings[] = {p_.weight, p_.weight2};
    int64_t units = tileWords_ / kUnitWords;
    auto copyWeights = [&](int64_t distance) {
      for (const Copy& copy : weightCopies_) {
        // bf16 weights end with their last step of two columns.
        Val there;
        if (!whole) {
          Val step = c * kChunkWords + (lane_ + distance) / 4;
          there = select(step < steps_, k_.idx(16), k_.idx(0));
        }
        units_.copy(p_.stage_, stage + copy.to + distance * kUnitWords,
                    k_.i32View(bindings[copy.weight]),
                    copy.from + c * tileWords_ + distance * kUnitWords, 16, there);
      }
    };
    for (int64_t i = 0; i < units / 32; ++i) copyWeights(32 * i);
    if (units % 32) k_.ifThen(lane_ < units % 32, [&] { copyWeights(units / 32 * 32); });
    Buf words = k_.i32View(p_.input.binding);
    for (const Copy& copy : actCopies_) {
      Val there;
      if (!whole) {
        Val left = k_.idx(2 * roundUp(p_.cols_, 2)) - (c * kChunkWords + unit_ * kUnitWords) * 4;
        there = max(min(left, k_.idx(16)), k_.idx(0));
      }
      units_.copy(p_.stage_, stage + copy.to, words, copy.from + c * kChunkWords, 16, there);
    }
    if (int8_) copyScales(c, stage, words);
  }

  // Of a token and a chunk: two scales; behind those of all tokens the two biases of each. Lanes
  // 4 i .. 4 i + 3 copy both of the one or two tokens whose rows they have.
  void copyScales(Val c, Val stage, Buf words) {
    int64_t tokens = p_.shape_.tokens, scales = weightWords_ + tokens * kChunkWords;
    Val second = unit_ / 2, which = unit_ % 2;
    Val row = rows_.size() > 1 ? select(second == 0, rows_[0], rows_[1]) : rows_[0];
    Val token = k_.lane() / kRowUnits + second * (k_.lanes() / kRowUnits);
    auto start = [&] {
      Val from = row + c * kParts + (which * (padded_ / kGroup) + padded_ / 4);
      units_.copy(p_.stage_, stage + token * kParts + (which * (kParts * tokens) + scales), words,
                  from, 8);
    };
    rows_.size() > 1 ? start() : k_.ifThen(unit_ < 2, start);
  }

  // A's words of the lane for both products of part `g` of a chunk.
  std::array<Vals, 2> fragmentsOfA(Val tileAt, int64_t g) {
    Val gid = lane_ / 4, tig = lane_ % 4;
    int64_t head = int8_ ? kScaleBytes / 16 : 0, lines = nibbles_ ? 4 : 8;
    auto line = [&](int64_t j) {
      Val unit = (tig + j) * 4 + gid % 4 + (head + g * lines * 4);
      return units_.words(p_.stage_, tileAt + shuffledLine(unit) * kUnitWords, 4);
    };
    Val low = line(0), high;
    if (nibbles_) {
      high = shr(low, 4) & 0x0f0f0f0f;
      low = low & 0x0f0f0f0f;
    } else {
      high = line(4);
    }
    std::array<Vals, 2> a;
    for (int64_t p = 0; p < 2; ++p)
      a[p] = {kernels::lane(low, 2 * p), kernels::lane(low, 2 * p + 1), kernels::lane(high, 2 * p),
              kernels::lane(high, 2 * p + 1)};
    return a;
  }

  Vals chunk(Val stage, ArrayRef<Val> in) {
    Vals acc(in.begin(), in.end());
    Val gid = lane_ / 4;
    SmallVector<std::array<Vals, 2>, 4> a;  // [w * kParts + g]
    Vals scales;
    for (size_t w = 0; w < n_; ++w) {
      Val tile = k_.lane() / 32 * 2 + gid / 4 + static_cast<int64_t>(w) * p_.shape_.tiles;
      Val tileAt = stage + tile * tileWords_;
      for (int64_t g = 0; g < kParts; ++g) {
        a.push_back(fragmentsOfA(tileAt, g));
        if (!int8_) continue;
        Val halves = units_.words(p_.stage_, tileAt + (gid % 4 * 2 + g * 8), 2);
        auto low = k_.unpackF16(kernels::lane(halves, 0));
        auto high = k_.unpackF16(kernels::lane(halves, 1));
        scales.push_back(fromLanes({low.first, low.second, high.first, high.second}));
      }
    }
    // A lane says where row lane % 8 of matrix lane / 8 is: words 0 .. 3 and 4 .. 7 of eight
    // tokens, then of the next eight.
    for (int64_t pair = 0; pair < p_.shape_.tokens / (2 * kColumns); ++pair) {
      Val token = lane_ % 8 + lane_ / 16 * 8 + pair * 2 * kColumns;
      SmallVector<Vals, 2> b;
      for (int64_t g = 0; g < kParts; ++g) {
        Val unit = lane_ / 8 % 2 + 2 * g;
        b.push_back(units_.matrices(
            p_.stage_,
            stage + token * kChunkWords + shuffledUnit(token, unit) * kUnitWords + weightWords_));
      }
      for (int64_t i = 0; i < 2; ++i)
        int8_ ? integerEight(2 * pair + i, stage, a, scales, b, acc)
              : bf16Eight(2 * pair + i, a, b, acc);
    }
    return acc;
  }

  using PartsOfA = SmallVectorImpl<std::array<Vals, 2>>;

  // Tokens 8 eight ..: exact sums of a group's 32 products, scaled by one fma like everywhere.
  void integerEight(int64_t eight, Val stage, PartsOfA& a, ArrayRef<Val> weightScales,
                    ArrayRef<Vals> b, Vals& acc) {
    int64_t tokens = p_.shape_.tokens, at = weightWords_ + tokens * kChunkWords;
    Val own = stage + (lane_ % 4 * 2 + eight * kColumns) * kParts;
    Val scales = bitcast(units_.words(p_.stage_, own + at, 4), k_.f32());
    Val biases = units_.words(p_.stage_, own + (at + tokens * kParts), 4);
    if (!nibbles_) biases = shl(biases, 4);  // -128 sum(q)
    int64_t from = eight % 2 * 2;
    for (int64_t g = 0; g < kParts; ++g) {
      Val start[2] = {kernels::lane(biases, g), kernels::lane(biases, kParts + g)};
      for (size_t w = 0; w < n_; ++w) {
        Vals d[2];
        for (int64_t p = 0; p < 2; ++p)
          d[p] = units_.multiplyInt8(a[w * kParts + g][p], false, {b[g][from], b[g][from + 1]},
                                     {start[0], start[1], start[0], start[1]});
        for (int64_t e = 0; e < 2; ++e) {
          Val& sum = acc[(w * (tokens / kColumns) + eight) * 2 + e];
          Val products = toFloat(fromLanes({d[0][e], d[0][2 + e], d[1][e], d[1][2 + e]}));
          Val scale = splat(kernels::lane(scales, e * kParts + g), 4);
          sum = fma(products, weightScales[w * kParts + g] * scale, sum);
        }
      }
    }
  }

  // The units keep these sums in float32 themselves.
  void bf16Eight(int64_t eight, PartsOfA& a, ArrayRef<Vals> b, Vals& acc) {
    int64_t from = eight % 2 * 2;
    for (size_t w = 0; w < n_; ++w)
      for (int64_t p = 0; p < 2; ++p) {
        size_t at = ((w * (p_.shape_.tokens / kColumns) + eight) * 2 + p) * 4;
        for (int64_t g = 0; g < kParts; ++g) {
          Vals d = units_.multiplyBf16(a[w * kParts + g][p], {b[g][from], b[g][from + 1]},
                                       ArrayRef<Val>(acc).slice(at, 4));
          std::copy(d.begin(), d.end(), acc.begin() + at);
        }
      }
  }

  Vals byRows(const Vals& acc) {
    Vals out;
    for (size_t i = 0; i < acc.size(); i += 8)
      for (int64_t e = 0; e < 2; ++e)
        out.push_back(fromLanes({acc[i + e], acc[i + 2 + e], acc[i + 4 + e], acc[i + 6 + e]}));
    return out;
  }

  Projection& p_;
  SimtBuilder& k_;
  MatrixUnits units_;
  size_t n_;  // weights
  bool int8_ = false, nibbles_ = false;
  int64_t padded_ = 0, chunks_ = 0, steps_ = 0;
  int64_t tileWords_ = 0, weightWords_ = 0, stageWords_ = 0;  // of one stage
  int64_t stages_ = 2;
  Val lane_, unit_;  // of the subgroup; of the token that the lane copies
  Vals rows_;        // where the rows of those tokens begin
  SmallVector<Copy, 16> weightCopies_, actCopies_;
};

void Projection::emitByMatrixUnits(Val panel, Val matrix, Val first, Val end,
                                   function_ref<Row(Val)> at) {
  Vals sums = MatrixWalk(*this, panel, matrix, first, end, at).run();
  Val lane = k_.lane() % 32;
  Val inPanel = k_.lane() / 16 * kTileRows + lane / 4 % 4 * 4;
  Val column = panel * (shape_.tiles * kTileRows) + inPanel;
  Val there = column < roundUp(rows_, kTileRows), addend = biasOf(column, 4);
  size_t each = sums.size() / weights_.size();
  if (staged()) k_.barrier();
  for (size_t i = 0; i < each; ++i) {
    Val token = lane % 4 * 2 + static_cast<int64_t>(i / 2 * kColumns + i % 2);
    Vals own;
    for (size_t w = 0; w < weights_.size(); ++w) own.push_back(sums[w * each + i]);
    k_.ifThen(there & (first + token < end), [&] {
      Val to = makesRecords() ? Val() : at(first + token).out + column;
      put(output(own, addend), token, to, inPanel, 4);
    });
  }
  if (staged()) writeRecords(panel, first, end, at);
}

}  // namespace fathom::kernels::simt
