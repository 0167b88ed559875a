// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// add, swiglu and combine: kernels that go once over the rows they read.
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/Norm.h"

using namespace mlir;

namespace fathom::kernels {

LogicalResult emitAdd(KernelBuilder& k) {
  int64_t n = k.cfg().in("n", 1, kMaxWidth);
  int64_t ld = k.cfg().in("ld", n, kMaxStride);
  if (k.cfg().failed()) return failure();
  Buf a = k.in(k.f32(), true), b = k.in(k.f32(), true), out = k.out(k.f32(), true);
  Val row = k.x() * ld;
  k.forRow(n, 16, [&](Val i, Val count) {
    k.store(k.load(a, row + i, 16, count) + k.load(b, row + i, 16, count), out, row + i, count);
  });
  return success();
}

LogicalResult emitSwiglu(KernelBuilder& k) {
  int64_t n = k.cfg().in("n", 1, kMaxWidth);
  int64_t gateLd = k.cfg().in("gate_ld", n, kMaxStride);
  int64_t upLd = k.cfg().in("up_ld", n, kMaxStride);
  int64_t outLd = k.cfg().in("out_ld", n, kMaxStride);
  if (k.cfg().failed()) return failure();
  Buf gate = k.in(k.f32(), true), up = k.in(k.f32(), true), out = k.out(k.f32(), true);
  Val t = k.x();
  k.forRow(n, 16, [&](Val i, Val count) {
    Val g = k.load(gate, t * gateLd + i, 16, count), u = k.load(up, t * upLd + i, 16, count);
    k.store(silu(g) * u, out, t * outLd + i, count);
  });
  return success();
}

// out[t] = residual[t] + sum_j weight[t, j] y[t top_k + j] (+ shared[t]), and with `norm` its
// normalised row.
LogicalResult emitCombine(KernelBuilder& k) {
  int64_t n = k.cfg().in("n", 1, kMaxWidth);
  int64_t ld = k.cfg().in("ld", n, kMaxStride);
  int64_t topK = k.cfg().in("top_k", 1, 256);
  bool withShared = k.cfg().b("shared");
  RowOutput norm = RowOutput::read(k.cfg(), "norm", "norm_stride", n, kMaxStride);
  double eps = norm ? k.cfg().f("eps") : 0;
  if (k.cfg().failed()) return failure();
  Buf y = k.in(k.f32()), weight = k.in(k.f32()), residual = k.in(k.f32(), true), shared;
  if (withShared) shared = k.in(k.f32(), true);
  Buf gamma, normed;
  if (norm) gamma = k.in(k.f32());
  Buf out = k.out(k.f32(), true);
  if (norm) normed = k.out(norm.isRecord() ? k.i8() : k.f32());
  Val t = k.x();
  Vals w;
  for (int64_t j = 0; j < topK; ++j) w.push_back(k.load(weight, t * topK + j));
  k.forRow(n, 16, [&](Val i, Val count) {
    Val sum = k.load(residual, t * ld + i, 16, count);
    for (int64_t j = 0; j < topK; ++j)
      sum = fma(k.load(y, (t * topK + j) * ld + i, 16, count), w[j], sum);
    if (withShared) sum = sum + k.load(shared, t * ld + i, 16, count);
    k.store(sum, out, t * ld + i, count);
  });
  if (norm) {
    RowSink sink = RowSink::at(k, norm, normed, t);
    normaliseRow(k, out, t * ld, gamma, n, eps, sink);
  }
  return success();
}

}  // namespace fathom::kernels
