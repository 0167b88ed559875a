// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// add, swiglu and combine on GPUs: a workgroup per row, a lane per column.
#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Norm.h"

using namespace mlir;

namespace fathom::kernels::simt {

LogicalResult emitAdd(SimtBuilder& k) {
  int64_t n = k.cfg().in("n", 1, kMaxWidth);
  int64_t ld = k.cfg().in("ld", n, kMaxWidth);
  if (k.cfg().failed()) return failure();
  Buf a = k.f32View(k.binding()), b = k.f32View(k.binding()), out = k.f32View(k.binding());
  Val row = k.x() * ld;
  k.forLanes(n, [&](Val i) { k.store(k.load(a, row + i) + k.load(b, row + i), out, row + i); });
  return success();
}

LogicalResult emitSwiglu(SimtBuilder& k) {
  int64_t n = k.cfg().in("n", 1, kMaxWidth);
  int64_t gateLd = k.cfg().in("gate_ld", n, kMaxWidth);
  int64_t upLd = k.cfg().in("up_ld", n, kMaxWidth);
  int64_t outLd = k.cfg().in("out_ld", n, kMaxWidth);
  int64_t gateOffset = k.cfg().in("gate_offset", 0, kMaxWidth, 1, 0);
  int64_t upOffset = k.cfg().in("up_offset", 0, kMaxWidth, 1, 0);
  if (k.cfg().failed()) return failure();
  Buf gate = k.f32View(k.binding()), up = k.f32View(k.binding()), out = k.f32View(k.binding());
  Val t = k.x();
  k.forLanes(n, [&](Val i) {
    Val g = k.load(gate, t * gateLd + i + gateOffset), u = k.load(up, t * upLd + i + upOffset);
    k.store(silu(g) * u, out, t * outLd + i);
  });
  return success();
}

// out[t] = residual[t] + sum_j weight[t, j] y[t top_k + j] (+ shared[t]), and its norm beside it.
LogicalResult emitCombine(SimtBuilder& k) {
  int64_t n = k.cfg().in("n", 1, kMaxWidth);
  int64_t ld = k.cfg().in("ld", n, kMaxWidth);
  int64_t topK = k.cfg().in("top_k", 1, 256);
  bool withShared = k.cfg().b("shared");
  NormedRow normed(k, "norm", "norm_stride", n);
  double eps = normed ? k.cfg().f("eps") : 0;
  if (k.cfg().failed()) return failure();
  Buf y = k.f32View(k.input()), weight = k.f32View(k.input());
  Buf residual = k.f32View(k.binding()), shared;
  if (withShared) shared = k.f32View(k.input());
  Buf gamma;
  if (normed) gamma = k.f32View(k.input());
  Buf out = k.f32View(k.binding());
  if (normed) normed.bind();
  Val t = k.x();
  k.forLanes(n, [&](Val i) {
    Val sum = k.forLoop(k.idx(0), k.idx(topK), 1, {k.load(residual, t * ld + i)},
                        [&](Val j, ArrayRef<Val> in) {
                          Val pair = t * topK + j;
                          return Vals{fma(k.load(y, pair * ld + i), k.load(weight, pair), in[0])};
                        })[0];
    if (withShared) sum = sum + k.load(shared, t * ld + i);
    k.store(sum, out, t * ld + i);
  });
  if (!normed) return success();
  // A lane reads back what it wrote itself.
  Val scale = inverseRms(k, out, t * ld, n, eps);
  normed.write(t, [&](Val i) { return k.load(out, t * ld + i) * scale * k.load(gamma, i); });
  return success();
}

}  // namespace fathom::kernels::simt
