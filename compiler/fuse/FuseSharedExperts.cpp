// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe_experts(x, ...) shared(mlp(x)) -> the MLP's rows are more experts, always chosen.
#include "compiler/fuse/Passes.h"
#include "compiler/fuse/Views.h"
#include "dialects/graph/Graph.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace fathom::fuse {
#define GEN_PASS_DEF_FUSESHAREDEXPERTSPASS
#include "compiler/fuse/Passes.h.inc"
}  // namespace fathom::fuse

using namespace mlir;
using namespace fathom::fuse;
using namespace fathom::graph;

namespace {

Attribute encodingOf(Value weight) { return cast<RankedTensorType>(weight.getType()).getEncoding(); }
Type elementOf(Value weight) { return cast<RankedTensorType>(weight.getType()).getElementType(); }

struct JoinExperts : OpRewritePattern<MoeExpertsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MoeExpertsOp op, PatternRewriter& rewriter) const override {
    if (!op.getShared()) return rewriter.notifyMatchFailure(op, "there are no shared experts");
    auto down = op.getShared().getDefiningOp<LinearOp>();
    auto up = down ? down.getX().getDefiningOp<LinearSwigluOp>() : LinearSwigluOp();
    if (!up || !down->hasOneUse() || !up->hasOneUse() || down.getBias() || down.getResidual() ||
        up.getX() != op.getX())
      return rewriter.notifyMatchFailure(op, "the shared addend is not an MLP of the same input");
    auto route = op.getIndex().getDefiningOp<MoeRouteOp>();
    if (!route || route.getWeight() != op.getWeight() || !route.getIndex().hasOneUse() ||
        !route.getWeight().hasOneUse())
      return rewriter.notifyMatchFailure(op, "the router has another user");
    const int64_t inner = op.getWGate().getType().getDimSize(1);
    const int64_t sharedInner = up.getWGate().getType().getDimSize(0);
    if (sharedInner % inner != 0)
      return rewriter.notifyMatchFailure(op, "the shared width is no multiple of an expert's");

    const std::pair<Value, Value> pairs[] = {{op.getWGate(), up.getWGate()},
                                             {op.getWUp(), up.getWUp()},
                                             {op.getWDown(), down.getW()}};
    for (auto [routed, shared] : pairs)
      if (!sourceOf(routed) || !sourceOf(shared) || encodingOf(routed) != encodingOf(shared) ||
          elementOf(sourceOf(routed)) != elementOf(sourceOf(shared)))
        return rewriter.notifyMatchFailure(op, "the weights are encoded or stored differently");

    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    const int64_t count = sharedInner / inner;
    Value joined[3];
    for (int i = 0; i < 3; ++i) {
      auto [routed, shared] = pairs[i];
      SmallVector<Value> sources{sourceOf(routed)};
      if (i < 2) {
        sources.push_back(stackOf(b, sourceOf(shared), inner));
      } else {  // the columns of w_down belong to the experts
        const int64_t hidden = op.getWDown().getType().getDimSize(1);
        for (int64_t e = 0; e < count; ++e)
          sources.push_back(stackOf(b, sliceOf(b, sourceOf(shared), 1, e * inner, inner), hidden));
      }
      joined[i] = concatEncoded(b, sources, routed);
    }
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(route);
    auto wider = MoeRouteOp::create(
        rewriter, route.getLoc(), route.getLogits(), route.getBias(), route.getScoring(),
        route.getMethod(), route.getTopK(), route.getNGroup(), route.getTopkGroup(),
        route.getNormalize(), route.getScale(), route.getNormEps(), route.getShared() + count);
    rewriter.setInsertionPoint(op);
    rewriter.replaceOpWithNewOp<MoeExpertsOp>(op, op.getX(), wider.getIndex(), wider.getWeight(),
                                              joined[0], joined[1], joined[2], Value(),
                                              op.getResidual());
    for (Operation* dead : {route.getOperation(), down.getOperation(), up.getOperation()})
      rewriter.eraseOp(dead);
    return success();
  }
};

struct FuseSharedExperts : fathom::fuse::impl::FuseSharedExpertsPassBase<FuseSharedExperts> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<JoinExperts>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns)))) signalPassFailure();
  }
};

}  // namespace
