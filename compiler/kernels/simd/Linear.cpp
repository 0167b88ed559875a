// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The `linear` kernel: out = act w^T (+ bias) (+ residual), or silu(gate) * up of two weights.
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/LinearPanel.h"

namespace fathom::kernels {

mlir::LogicalResult emitLinear(KernelBuilder& k) {
  Config& cfg = k.cfg();
  LinearConfig c = LinearConfig::read(k, {"store", "residual", "swiglu"});
  bool residual = cfg.s("epilogue") == "residual";
  bool bias = cfg.b("bias", false);
  int64_t batch = cfg.in("batch", 1, kMaxExtent, 1, 1);
  int64_t actBatchStride =
      cfg.in("act_batch_stride", 0, kMaxStride, 4, batch > 1 ? std::nullopt : std::optional(0l));
  if (cfg.failed()) return mlir::failure();
  cfg.require(!(bias && c.swiglu), "config entry 'bias' must be false with epilogue = 'swiglu'");
  if (batch > 1) {
    cfg.require(c.rows % kTileRows == 0,
                "config entry 'rows' must be a multiple of 16 with batch > 1");
    cfg.require(batch * c.rows <= c.outLd, "config entry 'out_ld' must be at least batch x rows");
  }
  if (cfg.failed()) return mlir::failure();

  LinearPanel panel{c, {}, {}, {}, {}, {}, {}, {}};
  panel.act = k.in(k.i8());
  panel.weight = k.in(k.i8());
  if (c.swiglu) panel.weight2 = k.in(k.i8());
  if (bias) panel.bias = k.in(k.f32());
  if (residual) panel.residual = k.in(k.f32(), /*mayAlias=*/true);
  panel.out = k.out(k.f32(), /*mayAlias=*/residual);
  Val tokens = k.push();

  panel.matrix = k.y() * WeightLayout(c.enc, c.rows, c.cols).matrixBytes;
  Val actFrom = k.y() * actBatchStride, outFrom = k.y() * c.rows;
  panel.emit(k, k.x(), k.idx(0), tokens, [&](Val t) {
    return LinearPanel::Row{actFrom + t * c.actStride, outFrom + t * c.outLd};
  });
  return mlir::success();
}

}  // namespace fathom::kernels
