// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Word products, transposes and packing of rows for the attention kernels.
#include "compiler/kernels/simd/AttentionTile.h"

#include <numbers>

#include "compiler/kernels/simd/SplitShape.h"

using namespace mlir;

namespace fathom::kernels {

Vals product(KernelBuilder& k, Words form, const Operand& a, const Operand& b, int64_t rows,
             int64_t vecs, int64_t words, Vals c) {
  int64_t unroll = words % 4 == 0 ? 4 : words % 2 == 0 ? 2 : 1;
  return k.forLoop(k.idx(0), k.idx(words), unroll, c, [&](Val w, ArrayRef<Val> carried) {
    Vals acc(carried.begin(), carried.end());
    Val aw = a.at + w * a.inner, bw = b.at + w * b.inner;
    for (int64_t u = 0; u < unroll; ++u) {
      Vals right;
      for (int64_t j = 0; j < vecs; ++j)
        right.push_back(k.load(b.buf, bw + (u * b.inner + j * b.outer), 16));
      for (int64_t r = 0; r < rows; ++r) {
        Val left = splat(k.load(a.buf, aw + (u * a.inner + r * a.outer)));
        for (int64_t j = 0; j < vecs; ++j)
          acc[r * vecs + j] = form.dot(acc[r * vecs + j], right[j], left);
      }
    }
    return acc;
  });
}

// Per 128-bit lane l: elements `first` and `first` + 1 of a and b, alternating.
static Val unpack32(Val a, Val b, int64_t first) {
  SmallVector<int64_t> pick;
  for (int64_t l = 0; l < 16; l += 4)
    for (int64_t i = first; i < first + 2; ++i) pick.append({l + i, 16 + l + i});
  return permute(a, b, pick);
}
static Val unpack64(Val a, Val b, int64_t first) {
  SmallVector<int64_t> pick;
  for (int64_t l = first; l < 16; l += 4) pick.append({l, l + 1, 16 + l, 17 + l});
  return permute(a, b, pick);
}
// 128-bit lanes `first` and `first` + 2 of a, then of b.
static Val lanes128(Val a, Val b, int64_t first) {
  SmallVector<int64_t> pick;
  for (int64_t base : {0, 16})
    for (int64_t l : {first, first + 2})
      for (int64_t i = 0; i < 4; ++i) pick.push_back(base + 4 * l + i);
  return permute(a, b, pick);
}

Vals transpose4(ArrayRef<Val> r) {
  Val low[2], high[2];
  for (int i = 0; i < 2; ++i) {
    low[i] = unpack32(r[2 * i], r[2 * i + 1], 0);
    high[i] = unpack32(r[2 * i], r[2 * i + 1], 2);
  }
  return {unpack64(low[0], low[1], 0), unpack64(low[0], low[1], 2), unpack64(high[0], high[1], 0),
          unpack64(high[0], high[1], 2)};
}

Vals transpose16(ArrayRef<Val> rows) {
  Vals r, out(16);
  // r[4 i + c]: in 128-bit lane l, column 4 l + c of rows 4 i .. 4 i + 3.
  for (int i = 0; i < 4; ++i) r.append(transpose4(rows.slice(4 * i, 4)));
  for (int c = 0; c < 4; ++c) {
    Val even[2], odd[2];
    for (int half = 0; half < 2; ++half) {
      even[half] = lanes128(r[8 * half + c], r[8 * half + 4 + c], 0);
      odd[half] = lanes128(r[8 * half + c], r[8 * half + 4 + c], 1);
    }
    out[c] = lanes128(even[0], even[1], 0);
    out[8 + c] = lanes128(even[0], even[1], 1);
    out[4 + c] = lanes128(odd[0], odd[1], 0);
    out[12 + c] = lanes128(odd[0], odd[1], 1);
  }
  return out;
}

using Combine = function_ref<Val(Val, Val)>;

// Four rows combined within each 128-bit lane: element 4 l + i holds a part of row i.
static Val reduceFour(ArrayRef<Val> r, Combine with) {
  Val even = with(unpack32(r[0], r[2], 0), unpack32(r[0], r[2], 2));
  Val odd = with(unpack32(r[1], r[3], 0), unpack32(r[1], r[3], 2));
  return with(unpack32(even, odd, 0), unpack32(even, odd, 2));
}

static Val reduceFourWhole(ArrayRef<Val> rows, Combine with) {
  Val v = reduceFour(rows, with);
  v = with(slice(v, 0, 8), slice(v, 8, 8));
  return with(slice(v, 0, 4), slice(v, 4, 4));
}

Val largestOfRows(ArrayRef<Val> rows) {
  return reduceFourWhole(rows, [](Val a, Val b) { return max(a, b); });
}

Val reduceQuads(ArrayRef<Val> rows) {
  // One operand of each sum is a blend, which keeps lanes in their places.
  auto halves = [](Val a, Val b) {
    return permute(a, b, {0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31}) +
           permute(a, b, {8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23});
  };
  Val a = halves(rows[0], rows[1]), b = halves(rows[2], rows[3]);
  Val rest = permute(a, b, {16, 17, 18, 19, 4, 5, 6, 7, 24, 25, 26, 27, 12, 13, 14, 15});
  return permute(a, b, {0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31}) +
         permute(rest, rest, {4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
}

Val reduceRows(ArrayRef<Val> rows) {
  auto add = [](Val a, Val b) { return a + b; };
  if (rows.size() == 4) return reduceFourWhole(rows, add);
  Val four[4];
  for (int i = 0; i < 4; ++i) four[i] = reduceFour(rows.slice(4 * i, 4), add);
  Val low = lanes128(four[0], four[1], 0) + lanes128(four[0], four[1], 1);
  Val high = lanes128(four[2], four[3], 0) + lanes128(four[2], four[3], 1);
  return lanes128(low, high, 0) + lanes128(low, high, 1);
}

std::pair<Val, Val> tangle(Val a, Val b) {
  SmallVector<int64_t> low, high;
  for (int64_t l = 0; l < 32; l += 8)
    for (int64_t i = 0; i < 4; ++i) {
      low.append({l + i, 32 + l + i});
      high.append({l + 4 + i, 36 + l + i});
    }
  Type word = a.k().i32();
  return {bitcast(permute(a, b, low), word), bitcast(permute(a, b, high), word)};
}

std::pair<Val, Val> untangle(Val first, Val second) {
  SmallVector<int64_t> low, high;
  for (int64_t l = 0; l < 8; l += 4)
    for (int64_t base : {0, 16})
      for (int64_t i = 0; i < 4; ++i) {
        low.push_back(base + l + i);
        high.push_back(base + 8 + l + i);
      }
  return {permute(first, second, low), permute(first, second, high)};
}

void transposeRows(KernelBuilder& k, int64_t words, function_ref<Val(int64_t, Val, Val)> load,
                   Buf to, Val toAt, int64_t toStride) {
  k.forRow(words, 16, [&](Val w, Val count) {
    Vals rows;
    for (int64_t r = 0; r < 16; ++r) rows.push_back(load(r, w, count));
    Vals lines = transpose16(rows);
    int64_t kept = count ? words % 16 : 16;
    for (int64_t i = 0; i < kept; ++i) k.store(lines[i], to, toAt + (w + i) * toStride);
  });
}

Val splitsForWorkers(KernelBuilder& k, Val pages, int64_t most, int64_t even) {
  if (2 * even > most) return k.idx(even);
  return select(pages >= 2 * even * SplitShape::kPages, k.idx(2 * even), k.idx(even));
}

Val loadQuery(KernelBuilder& k, Words form, Buf x, Val from, int64_t elements, double scale) {
  auto part = [&](int64_t first) {
    int64_t left = std::clamp<int64_t>(elements - first, 0, 16);
    if (left == 0) return k.zero();
    return k.load(x, from + first, 16, left < 16 ? k.idx(left) : Val()) * scale;
  };
  if (!form.pairs) return part(0);
  return bitcast(concat(f32ToBf16(part(0)), f32ToBf16(part(16))), k.i32());
}

Val expOfWeight(Val x) {
  x = max(x, number(x, -87));
  auto [n, bits] = x.k().roundProduct(x, std::numbers::log2e);
  // n ln2 is off by 2e-9 n, no more.
  Val r = fma(n, number(x, -std::numbers::ln2), x);
  Val p = polynomial(
      r, {4.151384712683976e-2, 0.1678747336214042, 0.5000301364956686, 0.9999668365262218, 1.0});
  return timesPowerOf2(p, bits);
}

Val exp2OfWeight(Val x) {
  x = max(x, number(x, -127));
  auto [n, bits] = x.k().roundProduct(x, 1);
  Val p = polynomial(x - n, {9.58285299e-3, 5.590642474e-2, 0.2402409861, 0.6931241934, 1.0});
  return timesPowerOf2(p, bits);
}

}  // namespace fathom::kernels
