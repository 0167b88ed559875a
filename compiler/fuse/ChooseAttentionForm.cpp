// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Latent attention of form auto: absorbed in decode, expanded in prefill.
#include "dialects/graph/Graph.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "compiler/fuse/Passes.h"
#include "compiler/fuse/Views.h"

namespace fathom::fuse {
#define GEN_PASS_DEF_CHOOSEATTENTIONFORMPASS
#include "compiler/fuse/Passes.h.inc"
}  // namespace fathom::fuse

using namespace mlir;
using fathom::fuse::sliceOf;

namespace {

struct HalvesOfKvB {
  Value uk;  // (heads, nope, rank)
  Value uv;  // (heads, v_dim, rank)
};

HalvesOfKvB split(ImplicitLocOpBuilder& b, fathom::graph::LatentAttentionOp op) {
  auto type = cast<RankedTensorType>(op.getKvB().getType());
  const int64_t heads = op.getHeads(), nope = op.getNope(), vDim = op.getVDim(), rank = op.getRank();
  Value perHead = tensor::ExpandShapeOp::create(
      b, RankedTensorType::get({heads, nope + vDim, rank}, type.getElementType()), op.getKvB(),
      SmallVector<ReassociationIndices>{{0, 1}, {2}});
  return {sliceOf(b, perHead, 1, 0, nope), sliceOf(b, perHead, 1, nope, vDim)};
}

// (heads, nope, rank) -> (heads, rank, nope).
Value transposeLastTwo(ImplicitLocOpBuilder& b, Value matrices) {
  auto type = cast<RankedTensorType>(matrices.getType());
  ArrayRef<int64_t> shape = type.getShape();
  Value init = tensor::EmptyOp::create(b, ArrayRef<int64_t>{shape[0], shape[2], shape[1]},
                                       type.getElementType());
  return linalg::TransposeOp::create(b, matrices, init, ArrayRef<int64_t>{0, 2, 1})->getResult(0);
}

// The nope part of every head of q: [T, heads (nope + rope)] -> [T, heads nope].
Value nopeOf(ImplicitLocOpBuilder& b, fathom::graph::LatentAttentionOp op) {
  auto type = cast<RankedTensorType>(op.getQ().getType());
  const int64_t heads = op.getHeads(), headDim = op.getNope() + op.getRopeDim();
  Value count = tensor::DimOp::create(b, op.getQ(), 0);
  SmallVector<OpFoldResult> shape{count, b.getIndexAttr(heads), b.getIndexAttr(headDim)};
  Value perHead = tensor::ExpandShapeOp::create(
      b, RankedTensorType::get({type.getDimSize(0), heads, headDim}, type.getElementType()), op.getQ(),
      SmallVector<ReassociationIndices>{{0}, {1, 2}}, shape);
  return tensor::CollapseShapeOp::create(b, sliceOf(b, perHead, 2, 0, op.getNope()),
                                         SmallVector<ReassociationIndices>{{0}, {1, 2}});
}

struct ChooseAttentionForm
    : fathom::fuse::impl::ChooseAttentionFormPassBase<ChooseAttentionForm> {
  void runOnOperation() override {
    const bool decode = getOperation().getName() == "decode";
    getOperation().walk([&](fathom::graph::LatentAttentionOp op) {
      using fathom::graph::AttentionForm;
      if (!op.getKvB()) return;
      const AttentionForm form = op.getForm() != AttentionForm::Auto ? op.getForm()
                                 : decode                            ? AttentionForm::Absorbed
                                                                     : AttentionForm::Expanded;
      ImplicitLocOpBuilder b(op.getLoc(), op);
      const HalvesOfKvB halves = split(b, op);
      Value result;
      if (form == AttentionForm::Absorbed) {
        Value latent = fathom::graph::LinearOp::create(b, nopeOf(b, op), transposeLastTwo(b, halves.uk));
        Value u = fathom::graph::LatentAttentionAbsorbedOp::create(
            b, latent, op.getQ(), op.getPositions(), op.getSequence(), op.getPageTable(),
            op.getContextLength(), op.getLayer(), op.getHeads(), op.getRank(), op.getNope(),
            op.getRopeDim(), op.getScale());
        result = fathom::graph::LinearOp::create(b, u, halves.uv);
      } else {
        result = fathom::graph::LatentAttentionOp::create(
            b, op.getQ(), Value(), halves.uk, halves.uv, op.getPositions(), op.getSequence(),
            op.getPageTable(), op.getContextLength(), op.getLayer(), op.getHeads(), op.getRank(),
            op.getNope(), op.getRopeDim(), op.getVDim(), op.getScale(), form);
      }
      op.getResult().replaceAllUsesWith(result);
      op.erase();
    });
  }
};

}  // namespace
