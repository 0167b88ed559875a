// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// linear and experts on GPUs: what their workgroups make of the grid.
#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Projection.h"

using namespace mlir;

namespace fathom::kernels::simt {

LogicalResult emitLinear(SimtBuilder& k) {
  Config& cfg = k.cfg();
  Projection p(k, {"store", "residual", "swiglu"});
  bool bias = cfg.b("bias", false);
  int64_t batch = cfg.in("batch", 1, kMaxExtent, 1, 1);
  int64_t actBatchStride =
      cfg.in("act_batch_stride", 0, kMaxOffset, 4, batch > 1 ? std::nullopt : std::optional(0l));
  if (cfg.failed()) return failure();
  cfg.require(!(bias && p.swiglu()), "config entry 'bias' must be false with epilogue = 'swiglu'");
  if (batch > 1) {
    cfg.require(p.rows() % kTileRows == 0,
                "config entry 'rows' must be a multiple of 16 with batch > 1");
    cfg.require(batch * p.rows() <= p.outLd(),
                "config entry 'out_ld' must be at least batch x rows");
    p.usesOffset(actBatchStride);
  }
  if (cfg.failed()) return failure();

  p.act = k.binding();
  p.weight = k.binding();
  if (p.swiglu()) p.weight2 = k.binding();
  if (bias) p.bias = k.binding();
  if (cfg.s("epilogue") == "residual") p.residual = k.binding();
  p.out = k.binding();
  Val tokens = k.push();
  int64_t matrixWords = WeightLayout(readEnc(cfg), p.rows(), cfg.i("cols")).matrixBytes / 4;
  Val actFrom = k.y() * (actBatchStride / 4), outFrom = k.y() * p.rows();
  p.emit(k.x(), k.y() * matrixWords, k.z() * p.shape().tokens, tokens, [&](Val t) {
    return Projection::Row{actFrom + t * (p.actStride() / 4), outFrom + t * p.outLd()};
  });
  return success();
}

LogicalResult emitExperts(SimtBuilder& k) {
  Config& cfg = k.cfg();
  Projection p(k, {"store", "swiglu"});
  int64_t experts = cfg.in("experts", 1, kMaxExtent);
  int64_t topK = cfg.in("top_k", 1, kMaxExtent);
  bool gather = cfg.b("gather");
  if (cfg.failed()) return failure();
  p.act = k.binding();
  p.weight = k.binding();
  if (p.swiglu()) p.weight2 = k.binding();
  Buf plan = k.i32View(k.binding());
  p.out = k.binding();
  k.push();  // T: the plan holds all that this kernel asks of it

  int64_t matrixWords = WeightLayout(readEnc(cfg), p.rows(), cfg.i("cols")).matrixBytes / 4;
  auto planned = [&](Val i) { return toIndex(k.load(plan, i)); };
  Val active = k.y();
  k.ifThen(active < planned(k.idx(0)), [&] {
    Val matrix = planned(active + 1) * matrixWords;
    Val begin = planned(active + (1 + experts)), end = planned(active + (2 + experts));
    k.forLoop(begin, end, p.shape().tokens, [&](Val first) {
      p.emit(k.x(), matrix, first, end, [&](Val row) {
        Val pair = planned(row + (2 * experts + 2));
        Val from = gather ? pair / topK : row, to = gather ? row : pair;
        return Projection::Row{from * (p.actStride() / 4), to * p.outLd()};
      });
    });
  });
  return success();
}

}  // namespace fathom::kernels::simt
