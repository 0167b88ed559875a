// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// linear(x, a), linear(x, b) -> column slices of linear(x, [a; b]).
#include "compiler/fuse/Passes.h"
#include "compiler/fuse/Views.h"
#include "dialects/graph/Graph.h"
#include "llvm/ADT/MapVector.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace fathom::fuse {
#define GEN_PASS_DEF_MERGEPROJECTIONSPASS
#include "compiler/fuse/Passes.h.inc"
}  // namespace fathom::fuse

using namespace mlir;
using namespace fathom::fuse;
using fathom::graph::LinearOp;

namespace {

constexpr int64_t kTileRows = 16;

int64_t rowsOf(LinearOp op) { return op.getW().getType().getDimSize(0); }

// Moves what `value` is made of before `place`: weights depend on no activation.
void hoist(Value value, Operation* place) {
  llvm::SetVector<Operation*> ops;
  BackwardSliceOptions options;
  options.inclusive = true;
  (void)getBackwardSlice(value, &ops, options);
  for (Operation* op : ops)
    if (place->isBeforeInBlock(op)) op->moveBefore(place);
}

void merge(ArrayRef<LinearOp> projections) {
  LinearOp first = projections.front();
  SmallVector<Value> sources;
  for (LinearOp op : projections) {
    hoist(sourceOf(op.getW()), first);
    sources.push_back(sourceOf(op.getW()));
  }
  ImplicitLocOpBuilder b(first.getLoc(), first);
  Value all = LinearOp::create(b, first.getX(), concatEncoded(b, sources, first.getW()), Value(),
                               Value(), first.getKeepF32());
  int64_t offset = 0;
  for (LinearOp op : projections) {
    const int64_t rows = rowsOf(op);
    op.getResult().replaceAllUsesWith(sliceOf(b, all, 1, offset, rows));
    offset += rows;
  }
  for (LinearOp op : projections) op.erase();
}

struct MergeProjections : fathom::fuse::impl::MergeProjectionsPassBase<MergeProjections> {
  void runOnOperation() override {
    // Projections of one kind: the input, the weight's encoding and stored type, keep_f32.
    using Kind = std::tuple<Value, Attribute, Type, unsigned>;
    llvm::MapVector<Kind, SmallVector<LinearOp>> kinds;
    for (LinearOp op : getOperation().getOps<LinearOp>()) {
      auto type = op.getW().getType();
      if (op.getBias() || op.getResidual() || type.getRank() != 2 || !sourceOf(op.getW())) continue;
      auto source = cast<RankedTensorType>(sourceOf(op.getW()).getType());
      kinds[{op.getX(), type.getEncoding(), source.getElementType(), op.getKeepF32()}].push_back(op);
    }
    for (auto& [kind, projections] : kinds) {
      // One whose rows end inside a tile can only be the last.
      SmallVector<LinearOp> merged;
      for (LinearOp op : projections) {
        merged.push_back(op);
        if (rowsOf(op) % kTileRows != 0) break;
      }
      if (merged.size() > 1) merge(merged);
    }
  }
};

}  // namespace
