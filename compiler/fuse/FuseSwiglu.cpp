// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// swiglu(linear(x, wg), linear(x, wu)) -> linear_swiglu(x, wg, wu).
#include "compiler/fuse/Passes.h"
#include "dialects/graph/Graph.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace fathom::fuse {
#define GEN_PASS_DEF_FUSESWIGLUPASS
#include "compiler/fuse/Passes.h.inc"
}  // namespace fathom::fuse

using namespace mlir;

namespace {

struct MergeProjections : OpRewritePattern<fathom::graph::SwigluOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(fathom::graph::SwigluOp op, PatternRewriter& rewriter) const override {
    auto gate = op.getGate().getDefiningOp<fathom::graph::LinearOp>();
    auto up = op.getUp().getDefiningOp<fathom::graph::LinearOp>();
    if (!gate || !up) return rewriter.notifyMatchFailure(op, "gate and up are not both projections");
    if (gate == up || !gate->hasOneUse() || !up->hasOneUse())
      return rewriter.notifyMatchFailure(op, "a projection has another user");
    if (gate.getX() != up.getX()) return rewriter.notifyMatchFailure(op, "the inputs differ");
    if (gate.getBias() || up.getBias() || gate.getResidual() || up.getResidual())
      return rewriter.notifyMatchFailure(op, "a projection has an epilogue of its own");
    auto type = dyn_cast<RankedTensorType>(gate.getW().getType());
    if (type.getRank() != 2 || gate.getW().getType() != up.getW().getType())
      return rewriter.notifyMatchFailure(op, "the weights are of different types");
    rewriter.replaceOpWithNewOp<fathom::graph::LinearSwigluOp>(op, gate.getX(), gate.getW(), up.getW());
    return success();
  }
};

struct FuseSwiglu : fathom::fuse::impl::FuseSwigluPassBase<FuseSwiglu> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<MergeProjections>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns)))) signalPassFailure();
  }
};

}  // namespace
