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

// q4 and q8 weights, int8 records: exact sums of a group's 32 products, scaled by one fma.
void Projection::integerUnit(Val u, Val tileAt, Val quad, Vals& acc) {
  size_t n = weights_.size();
  bool nibbles = enc_ == Enc::q4;
  int64_t lines = nibbles ? 4 : 8;
  Val group = u % 2, block = tileAt + u / 2 * weights_[0].stepWords();
  Val values = block + group * (lines * kTileRows) + quad * 4 + kScaleBytes / 4;
  // words[i][j]: word j of the group (columns 4 j .. 4 j + 3) of four rows.
  Columns words(n);
  Vals scales;
  for (size_t i = 0; i < n; ++i) {
    words[i].resize(8);
    for (int64_t j = 0; j < lines; ++j) {
      Val w = weights_[i].fourWords(values + j * kTileRows);
      if (nibbles) {
        words[i][j] = w & 0x0f0f0f0f;
        words[i][j + 4] = shr(w, 4) & 0x0f0f0f0f;
      } else {
        words[i][j] = w ^ number(w, -2139062144.0);  // 0x80808080: byte - 128, signed
      }
    }
    scales.push_back(weights_[i].fourScales(block + group * 8 + quad * 2));
  }
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    Val row = places_[t].act;
    Vals x = input.group(row, u);
    Val scale = input.scale(row, u);
    // bias = -8 sum(q) is what the nibbles' offset of 8 adds.
    Val start = nibbles ? input.bias(row, u) : k_.constant(k_.i32(), 0);
    for (size_t i = 0; i < n; ++i) {
      Vals each;
      for (int64_t r = 0; r < 4; ++r) {
        Val sum = start;
        for (int64_t j = 0; j < 8; ++j) sum = k_.dotS8(sum, kernels::lane(words[i][j], r), x[j]);
        each.push_back(sum);
      }
      acc[t * n + i] = fma(toFloat(fromLanes(each)), scales[i] * splat(scale, 4), acc[t * n + i]);
    }
  }
}

}  // namespace fathom::kernels::simt
