// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The `experts` kernel: each active expert's weights times the tokens that chose it.
#include "compiler/kernels/ExpertBank.h"
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/LinearPanel.h"

namespace fathom::kernels {

mlir::LogicalResult emitExperts(KernelBuilder& k) {
  Config& cfg = k.cfg();
  LinearConfig c = LinearConfig::read(k, {"store", "swiglu"}, /*matrices=*/1);
  int64_t experts = cfg.in("experts", 1, kMaxExtent);
  int64_t topK = cfg.in("top_k", 1, kMaxExtent);
  bool gather = cfg.b("gather");
  ExpertBank bank = ExpertBank::read(cfg, experts);
  if (cfg.failed()) return mlir::failure();

  LinearPanel panel;
  panel.config = c;
  panel.act = k.in(k.i8());
  panel.weight = k.in(k.i8());
  if (c.swiglu) panel.weight2 = k.in(k.i8());
  Buf plan = k.in(k.i32());
  panel.out = k.out(c.records ? k.i8() : k.f32());
  panel.recordColumn = k.idx(0);
  int64_t outStride = c.records ? c.records.stride : c.outLd;
  k.push();  // T: the plan holds all that this kernel asks of it

  auto planned = [&](Val i) { return toIndex(k.load(plan, i)); };
  Val count = planned(k.idx(0));
  k.ifThen(k.y() < count, [&] {
    // Shared experts are last in the plan and have all tokens. They come first here: who gets such
    // an expert last would keep all others waiting.
    Val active = count - 1 - k.y();
    bank.serve(k, planned(active + 1), [&](Val expert) {
      Val begin = planned(active + (1 + experts)), end = planned(active + (2 + experts));
      panel.matrix = expert * WeightLayout(c.enc, c.rows, c.cols).matrixBytes;
      panel.emit(k, k.x(), begin, end, [&](Val p) {
        Val pair = planned(p + (2 * experts + 2));
        Val from = gather ? pair / topK : p, to = gather ? p : pair;
        return LinearPanel::Row{from * c.actStride, to * outStride, p};
      });
    });
  });
  return mlir::success();
}

}  // namespace fathom::kernels
