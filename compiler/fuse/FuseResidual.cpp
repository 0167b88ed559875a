// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// addf(x, linear) and addf(x, moe_experts) -> the addend becomes an operand of the producer.
#include "compiler/fuse/Passes.h"
#include "dialects/graph/Graph.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Dominance.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace fathom::fuse {
#define GEN_PASS_DEF_FUSERESIDUALPASS
#include "compiler/fuse/Passes.h.inc"
}  // namespace fathom::fuse

using namespace mlir;
using namespace fathom::graph;

namespace {

// Moves the producer of one addend to the place of the addition and hands it the other addend. Operands
// of the producer dominate it, so they dominate the later place too.
struct FoldIntoProducer : OpRewritePattern<arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::AddFOp op, PatternRewriter& rewriter) const override {
    // The experts first: they take two addends, and a projection among them keeps its own residual.
    for (bool expertsFirst : {true, false}) {
      for (auto [made, addend] : {std::pair(op.getRhs(), op.getLhs()), std::pair(op.getLhs(), op.getRhs())}) {
        if (!made.hasOneUse()) continue;
        Operation* producer = made.getDefiningOp();
        if (expertsFirst ? foldIntoExperts(op, dyn_cast_or_null<MoeExpertsOp>(producer), addend, rewriter)
                         : foldIntoLinear(op, dyn_cast_or_null<LinearOp>(producer), addend, rewriter))
          return success();
      }
    }
    return rewriter.notifyMatchFailure(op, "no addend is a projection or experts with room for a residual");
  }

  static bool foldIntoLinear(arith::AddFOp op, LinearOp linear, Value addend, PatternRewriter& rewriter) {
    if (!linear || linear.getResidual() ||
        cast<RankedTensorType>(linear.getW().getType()).getRank() != 2)
      return false;
    rewriter.replaceOpWithNewOp<LinearOp>(op, linear.getX(), linear.getW(), linear.getBias(), addend,
                                          linear.getKeepF32());
    return true;
  }

  static bool foldIntoExperts(arith::AddFOp op, MoeExpertsOp experts, Value addend,
                              PatternRewriter& rewriter) {
    if (!experts || (experts.getShared() && experts.getResidual())) return false;
    Value shared = experts.getShared() ? experts.getShared() : addend;
    Value residual = experts.getShared() ? addend : experts.getResidual();
    rewriter.replaceOpWithNewOp<MoeExpertsOp>(op, experts.getX(), experts.getIndex(), experts.getWeight(),
                                              experts.getWGate(), experts.getWUp(), experts.getWDown(),
                                              shared, residual);
    return true;
  }
};

struct FuseResidual : fathom::fuse::impl::FuseResidualPassBase<FuseResidual> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FoldIntoProducer>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns)))) signalPassFailure();
  }
};

}  // namespace
