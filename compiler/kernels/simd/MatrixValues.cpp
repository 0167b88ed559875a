// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weighted sums of cache rows in tiles, and the order in which their elements lie.
#include "compiler/kernels/simd/MatrixValues.h"

using namespace mlir;

namespace fathom::kernels {

constexpr int64_t kLanes = 16;

MatrixValues::MatrixValues(KernelBuilder& k, int64_t heads, int64_t width, int64_t tokens)
    : k_(k), heads_(heads), width_(width), tokens_(tokens) {
  Buf bytes = k.scratch(k.i8(), 4 * heads * 2 * tokens);
  weight_ = k.view(bytes, k.idx(0), k.i32());
  weightHalves_ = k.view(bytes, k.idx(0), k.b().getBF16Type());
  sum_ = k.scratch(k.f32(), 4 * heads * headSums());
}

void MatrixValues::clear() {
  k_.forLoop(k_.idx(0), k_.idx(heads_ * headSums()), kLanes,
             [&](Val i) { k_.store(k_.zero(), sum_, i); });
}

void MatrixValues::weigh(Val group, int64_t h, Val token, Val p) {
  Val to = (group * 2 + h) * tokens_ + token;
  k_.store(p, weight_, to);
  k_.store(shl(p, 16), weight_, to + kGroup * tokens_);
}

// The sums of a chunk are lines of kPair: the even elements of 16 heads, then the odd ones.
void MatrixValues::rescale(Val group, int64_t heads, Buf alpha) {
  Val at = group * headSums();
  k_.forLoop(k_.idx(0), k_.idx(heads), 1, [&](Val h) {
    Val factor = splat(k_.load(alpha, group + h));
    k_.forLoop(h * kPair, k_.idx(kGroup * headSums()), kGroup * kPair, [&](Val i) {
      for (int64_t j = 0; j < kPair; j += kLanes)
        k_.store(k_.load(sum_, at + i + j, kLanes) * factor, sum_, at + i + j);
    });
  });
}

// A word of K is a token here.
MatrixTerm MatrixValues::term(Val group, Val token, int64_t tokens, Buf halves, Val at,
                              int64_t lineWords, int64_t columns) const {
  MatrixTerm term;
  term.words = tokens;
  for (int64_t odd = 0; odd < 2; ++odd) {
    Val from = (group * 2 + odd * kGroup) * tokens_ + token;
    term.left.push_back({weightHalves_, from * 2, k_.idx(2 * tokens_)});
  }
  for (int64_t c = 0; c < columns; c += kPair)
    term.right.push_back({halves, at + c / 2, lineWords});
  return term;
}

MatrixSums MatrixValues::sums(Val group, Val chunk) const {
  return {sum_, group * headSums() + chunk * kChunkSums, k_.idx(kPair), /*accumulate=*/true};
}

void MatrixValues::read(Val h, function_ref<void(Val i, Val v)> use) const {
  SmallVector<int64_t> first, second;
  for (int64_t i = 0; i < kLanes / 2; ++i) {
    first.append({i, kLanes + i});
    second.append({kLanes / 2 + i, kLanes + kLanes / 2 + i});
  }
  Val head = h / kGroup * (kGroup * headSums()) + h % kGroup * kPair;
  k_.forLoop(k_.idx(0), k_.idx(width_), kPair, [&](Val i) {
    Val at = head + i / kChunk * kChunkSums + i % kChunk / 2;
    Val even = k_.load(sum_, at, kLanes), odd = k_.load(sum_, at + kChunkSums / 2, kLanes);
    use(i, permute(even, odd, first));
    use(i + kLanes, permute(even, odd, second));
  });
}

}  // namespace fathom::kernels
