// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of one unit of K for every weight encoding and activation form, on GPUs.
#include "compiler/kernels/simt/Projection.h"

using namespace mlir;

namespace fathom::kernels::simt {

void Projection::unit(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc) {
  if (actForm_ == Act::i8)
    integerUnit(u, tileAt, quad, acc);
  else if (quantised())
    groupUnits(u, columns, tileAt, quad, acc);
  else
    plainUnit(u, columns, tileAt, quad, acc);
}

// f32 and bf16 weights: up to four columns.
void Projection::plainUnit(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc) {
  size_t n = weights_.size();
  Columns w(n);
  for (size_t i = 0; i < n; ++i) {
    if (enc_ == Enc::f32) {
      for (int64_t c = 0; c < columns; ++c)
        w[i].push_back(weights_[i].fourFloats(tileAt + (u * 4 + c) * kTileRows + quad * 4));
      continue;
    }
    for (int64_t c = 0; c < columns; c += 2) {
      Val pair = weights_[i].fourWords(tileAt + (u * 2 + c / 2) * kTileRows + quad * 4);
      w[i].push_back(lowBf16(pair));
      w[i].push_back(highBf16(pair));
    }
  }
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    Vals x = input.elements(places_[t].act, u * 4, columns);
    for (int64_t c = 0; c < columns; ++c)
      for (size_t i = 0; i < n; ++i) acc[t * n + i] = fma(w[i][c], splat(x[c], 4), acc[t * n + i]);
  }
}

// Of many tokens one matrix at a time: sums within the group of both are too many for registers.
void Projection::groupUnits(Val u, int64_t columns, Val tileAt, Val quad, Vals& acc) {
  size_t n = weights_.size();
  if (n == 1 || shape_.tokens == 1) return groupUnit(u, columns, tileAt, quad, weights_, acc);
  for (size_t i = 0; i < n; ++i) {
    Vals own;
    for (size_t at = i; at < acc.size(); at += n) own.push_back(acc[at]);
    groupUnit(u, columns, tileAt, quad, weights_[i], own);
    for (size_t t = 0; t < own.size(); ++t) acc[t * n + i] = own[t];
  }
}

// q4 and q8 weights, float32 activations: the first `columns` of a group. Plain products first, one
// scaling at the end.
void Projection::groupUnit(Val u, int64_t columns, Val tileAt, Val quad, ArrayRef<Weights> weights,
                           Vals& acc) {
  size_t n = weights.size();
  bool nibbles = enc_ == Enc::q4;
  int64_t lines = nibbles ? 4 : 8;
  Val group = u % 2, block = tileAt + u / 2 * weights[0].stepWords();
  Val values = block + group * (lines * kTileRows) + quad * 4 + kScaleBytes / 4;
  // Columns 4 j .. 4 j + 3 and, of nibbles, as many from 16 + 4 j on.
  auto line = [&](Val j, Vals& sum, function_ref<int64_t(int64_t part)> columnsOf) {
    for (int64_t part = 0; part < (nibbles ? 2 : 1); ++part) {
      int64_t count = columnsOf(part);
      if (count <= 0) continue;
      Columns w(n);
      for (size_t i = 0; i < n; ++i) {
        Val words = weights[i].fourWords(values + j * kTileRows);
        for (int64_t c = 0; c < count; ++c) {
          int shift = static_cast<int>(8 * c + 4 * part);
          Val bits = (shift ? shr(words, shift) : words) & (nibbles ? 15 : 255);
          w[i].push_back(toFloat(bits - (nibbles ? 8 : 128)));
        }
      }
      for (int64_t t = 0; t < shape_.tokens; ++t) {
        Vals x = input.elements(places_[t].act, u * kGroup + j * 4 + 16 * part, count);
        for (int64_t c = 0; c < count; ++c)
          for (size_t i = 0; i < n; ++i)
            sum[t * n + i] = fma(w[i][c], splat(x[c], 4), sum[t * n + i]);
      }
    }
  };
  Vals sum(acc.size(), k_.zero(4));
  if (columns == kGroup) {
    sum = k_.forLoop(k_.idx(0), k_.idx(lines), 1, sum, [&](Val j, ArrayRef<Val> in) {
      Vals out(in.begin(), in.end());
      line(j, out, [](int64_t) { return 4; });
      return out;
    });
  } else {
    for (int64_t j = 0; j < lines; ++j)
      line(k_.idx(j), sum,
           [&](int64_t part) { return std::min<int64_t>(4, columns - 4 * j - 16 * part); });
  }
  for (size_t i = 0; i < n; ++i) {
    Val scale = weights[i].fourScales(block + group * 8 + quad * 2);
    for (int64_t t = 0; t < shape_.tokens; ++t)
      acc[t * n + i] = fma(sum[t * n + i], scale, acc[t * n + i]);
  }
}

// q4 and q8 weights, int8 records: exact sums of a group's 32 products, scaled by one fma. Of the
// superblock at `block` its group `group`.
Projection::IntegerWeights Projection::integerWeights(Val block, Val group, Val quad) {
  bool nibbles = enc_ == Enc::q4;
  int64_t lines = nibbles ? 4 : 8;
  Val values = block + group * (lines * kTileRows) + quad * 4 + kScaleBytes / 4;
  IntegerWeights out;
  for (const Weights& weights : weights_) {
    Vals& words = out.words.emplace_back();
    for (int64_t j = 0; j < lines; ++j) {
      Val w = weights.fourWords(values + j * kTileRows);
      if (inPairs()) {
        for (int shift : {0, 8, 4, 12})
          words.push_back((shift ? shr(w, shift) : w) & 0x000f000f);
      } else if (nibbles) {
        words.push_back(w & 0x0f0f0f0f);
        words.push_back(shr(w, 4) & 0x0f0f0f0f);
      } else {
        words.push_back(w ^ number(w, -2139062144.0));  // 0x80808080: byte - 128, signed
      }
    }
    out.scales.push_back(weights.fourScales(block + group * 8 + quad * 2));
  }
  return out;
}

// Of one token: acc has a sum for each weight. `bias` = -8 sum(x) is what the nibbles' offset of 8
// adds.
void Projection::addInteger(const IntegerWeights& weights, Vals x, Val scale, Val bias,
                            MutableArrayRef<Val> acc) {
  // Low nibbles are columns 4 j .. 4 j + 3, high ones those 16 later.
  if (enc_ == Enc::q4) x = {x[0], x[4], x[1], x[5], x[2], x[6], x[3], x[7]};
  if (inPairs()) x = swappedPairs(x);
  for (size_t i = 0; i < acc.size(); ++i) {
    Val sum = inPairs() ? sumOfPairs(weights.words[i], x) + splat(bias, 4)
                        : dotOfRows(bias, weights.words[i], x);
    acc[i] = fma(toFloat(sum), weights.scales[i] * splat(scale, 4), acc[i]);
  }
}

void Projection::integerUnit(Val u, Val tileAt, Val quad, Vals& acc) {
  size_t n = weights_.size();
  IntegerWeights weights = integerWeights(tileAt + u / 2 * weights_[0].stepWords(), u % 2, quad);
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    Val row = places_[t].act;
    Vals x = input.group(row, u);
    Val scale = input.scale(row, u);
    Val bias = enc_ == Enc::q4 ? input.bias(row, u) : k_.constant(k_.i32(), 0);
    addInteger(weights, x, scale, bias, MutableArrayRef<Val>(acc).slice(t * n, n));
  }
}

// start + the products of signed bytes of `words`, of four rows each, with those of x.
Val Projection::dotOfRows(Val start, ArrayRef<Val> words, ArrayRef<Val> x) {
  Vals each;
  for (int64_t r = 0; r < 4; ++r) {
    Val sum = start;
    for (size_t j = 0; j < words.size(); ++j)
      sum = k_.dotS8(sum, kernels::lane(words[j], r), x[j]);
    each.push_back(sum);
  }
  return fromLanes(each);
}

// Without a dot product one multiplication makes two: of a + b 2^16 and y + x 2^16 the upper half is
// a x + b y, plus what the lower half, a y, borrows, which can be told from the sum of several.

// Bytes 0 and 2, then 1 and 3, of each word: signed, the first one 16 bits above the second.
Vals Projection::swappedPairs(ArrayRef<Val> words) {
  Vals pairs;
  for (Val w : words)
    for (int low : {2, 3})
      pairs.push_back(shl(signedByte(w, low - 2), 16) + signedByte(w, low));
  return pairs;
}

// The sum of all products: eight at a time, each half of which stays below 2^15.
Val Projection::sumOfPairs(ArrayRef<Val> nibbles, ArrayRef<Val> pairs) {
  constexpr size_t kAtOnce = 8;
  Val all;
  for (size_t from = 0; from < nibbles.size(); from += kAtOnce) {
    Val sum;
    for (size_t j = from; j < from + kAtOnce; ++j) {
      Val product = nibbles[j] * splat(pairs[j], 4);
      sum = sum ? sum + product : product;
    }
    Val upper = sar(sum + (1 << 15), 16);
    all = all ? all + upper : upper;
  }
  return all;
}

}  // namespace fathom::kernels::simt
