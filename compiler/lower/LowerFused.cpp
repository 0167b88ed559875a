// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What one kernel does for its neighbours (kernels::Fusion): which ops have such neighbours.
#include "compiler/lower/EntryLowering.h"

using namespace mlir;
using fathom::kernels::Fusion;

namespace fathom::lower {
namespace {

// The part [T, heads, cols] that begins every head of `q`, as a row; null if that is not read.
// `heads` and `width` describe q.
Value firstPartOfHeads(Value q, int64_t& heads, int64_t& width, int64_t& cols) {
  for (Operation* user : q.getUsers()) {
    auto expanded = dyn_cast<tensor::ExpandShapeOp>(user);
    if (!expanded || expanded.getResultType().getRank() != 3) continue;
    for (Operation* inner : expanded.getResult().getUsers()) {
      auto part = dyn_cast<tensor::ExtractSliceOp>(inner);
      if (!part || part.getType().getRank() != 3 || part.getStaticOffsets().back() != 0 ||
          !part.getResult().hasOneUse())
        continue;
      auto row = dyn_cast<tensor::CollapseShapeOp>(*part.getResult().user_begin());
      if (!row) continue;
      heads = expanded.getResultType().getDimSize(1);
      width = expanded.getResultType().getDimSize(2);
      cols = part.getType().getDimSize(2);
      return row.getResult();
    }
  }
  return {};
}

bool isColumnSlice(tensor::ExtractSliceOp slice) {
  return slice && slice.getType().getRank() == 2 && slice.getStaticOffsets()[0] == 0;
}

}  // namespace

std::optional<Activation> EntryLowering::onlyForm(Value value, Operation* except) {
  const Wanted wanted = wantedOf(value, except);
  if (wanted.f32 + wanted.bf16 + wanted.i8 != 1) return {};
  return wanted.f32 ? Activation::kF32 : wanted.bf16 ? Activation::kBf16 : Activation::kI8;
}

Value EntryLowering::besides(Config& config, StringRef formName, StringRef strideName, Value value,
                             Activation form, AffineExpr count, int64_t width) {
  config.set(formName, builder.getStringAttr(name(form)));
  Value buffer;
  int64_t stride = 4 * ld(width);
  if (form == Activation::kF32) {
    buffer = (rows[value] = newRows("norm", count, width)).buffer;
  } else {
    const Records made = newRecords(count, 1, width, form);
    records[value][static_cast<int>(form)] = made;
    stride = made.stride;
    buffer = made.buffer;
  }
  config.set(strideName, builder.getI64IntegerAttr(stride));
  return buffer;
}

bool EntryLowering::writeRecords(Config& config, Launch& launched, Value result, AffineExpr count,
                                 int64_t matrices, int64_t rows) {
  const std::optional<Activation> form = onlyForm(result);
  if (!fuses(Fusion::kRecordsOut) || !form || form == Activation::kF32) return false;
  // Whole groups, and none behind the last that would have to be filled.
  if (rows % 32 != 0 || matrices * rows % 64 != 0) return false;
  for (Operation* user : result.getUsers())
    if (auto linear = dyn_cast<graph::LinearOp>(user))
      if (linear.getW().getType().getRank() == 3) return false;  // reads a record for each head
  const Records made = newRecords(count, 1, matrices * rows, *form);
  records[result][static_cast<int>(*form)] = made;
  config.set("out_act", builder.getStringAttr(name(*form)));
  config.set("out_stride", builder.getI64IntegerAttr(made.stride));
  config.erase("out_ld");
  launched.args.push_back(made.buffer);
  launched.label += "_records";
  return true;
}

void EntryLowering::writeHeadRecords(Config& config, Launch& launched, Value result) {
  if (!fuses(Fusion::kHeadRecords)) return;
  SmallVector<Value> queries{result};
  for (Operation* user : result.getUsers())
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(user);
        isColumnSlice(slice) && slice.getStaticOffsets()[1] == 0)
      queries.push_back(slice.getResult());
  for (Value q : queries)
    for (Operation* user : q.getUsers()) {
      auto rope = dyn_cast<graph::RopeOp>(user);
      if (!rope || rope.getX() != q) continue;
      int64_t heads = 0, width = 0, cols = 0;
      const Value part = firstPartOfHeads(rope.getResult(), heads, width, cols);
      // The rotation must leave that part as it is.
      if (!part || static_cast<int64_t>(rope.getOffset()) < cols || cols % 32 || width % 32)
        continue;
      const std::optional<Activation> form = onlyForm(part);
      if (!form || form == Activation::kF32) continue;
      const Records made = newRecords(T(), heads, cols, *form);
      records[part][static_cast<int>(*form)] = made;
      config.set("head_act", builder.getStringAttr(name(*form)));
      config.set("heads", builder.getI64IntegerAttr(heads));
      config.set("head_width", builder.getI64IntegerAttr(width));
      config.set("head_cols", builder.getI64IntegerAttr(cols));
      config.set("head_act_stride", builder.getI64IntegerAttr(made.stride));
      config.set("head_act_batch_stride", builder.getI64IntegerAttr(made.batchStride));
      launched.args.push_back(made.buffer);
      launched.outputs = 2;
      launched.label += "_heads";
      return;
    }
}

graph::RopeOp EntryLowering::rotatedByAttention(Value q) {
  auto rope = q.getDefiningOp<graph::RopeOp>();
  if (!rope || !fuses(Fusion::kRotateQuery)) return {};
  bool attends = false;
  for (Operation* user : q.getUsers()) {
    if (isa<tensor::DimOp>(user)) continue;
    if (auto attention = dyn_cast<graph::LatentAttentionAbsorbedOp>(user)) {
      if (attention.getQ() != q || attention.getNope() != rope.getOffset() ||
          attention.getRopeDim() != rope.getDim() || attention.getHeads() != rope.getHeads())
        return {};
      attends = true;
      continue;
    }
    if (auto attention = dyn_cast<graph::AttentionOp>(user)) {
      if (attention.getQ() != q || rope.getOffset() != 0 ||
          attention.getHeads() != rope.getHeads() || attention.getHeadDim() != rope.getHeadDim())
        return {};
      attends = true;
      continue;
    }
    auto expanded = dyn_cast<tensor::ExpandShapeOp>(user);
    if (!expanded || expanded.getResultType().getRank() != 3) return {};
    // Other readers must not see what is rotated.
    for (Operation* inner : expanded.getResult().getUsers()) {
      if (isa<tensor::DimOp>(inner)) continue;
      auto part = dyn_cast<tensor::ExtractSliceOp>(inner);
      if (!part || part.getType().getRank() != 3) return {};
      const int64_t end = part.getStaticOffsets()[2] + part.getType().getDimSize(2);
      if (end > static_cast<int64_t>(rope.getOffset())) return {};
    }
  }
  return attends ? rope : graph::RopeOp();
}

FailureOr<bool> EntryLowering::lowerWithRouter(graph::RmsNormOp op) {
  if (!fuses(Fusion::kNormLinear) || op.getGroups() != 1) return false;
  graph::LinearOp router;
  for (Operation* user : op.getResult().getUsers()) {
    auto linear = dyn_cast<graph::LinearOp>(user);
    if (!linear || linear.getX() != op.getResult() || linear.getResidual()) continue;
    if (llvm::any_of(linear.getResult().getUsers(), llvm::IsaPred<graph::MoeRouteOp>))
      router = linear;
  }
  if (!router || router.getW().getType().getRank() != 2 || !bindsWhole(router.getW()) ||
      program.activationFor(encodingOf(router.getW())) != Activation::kF32)
    return false;
  const std::optional<Activation> form = onlyForm(op.getResult(), router);
  auto x = rowsOf(op.getX(), op);
  if (failed(x)) return failure();
  if (!form || x->offset != 0 || x->groups != 1) return false;

  Config config;
  auto gamma = weight(op.getGamma(), op);
  auto w = matrix(router.getW(), router, config);
  if (failed(gamma) || failed(w)) return failure();
  const Rows out = rows[router.getResult()] =
      newRows("linear", T(), router.getW().getType().getDimSize(0));
  setProjection(config, "store", 1, {x->buffer, 0, 4 * x->ld, 0}, out.ld,
                static_cast<bool>(router.getBias()));
  config.set("eps", op.getEpsAttr());
  Launch launched{{x->buffer, *w, *gamma}, T(), {T()}, label(router, "norm_linear"), 2};
  if (Value bias = router.getBias()) {
    auto value = weight(bias, router);
    if (failed(value)) return failure();
    launched.args.push_back(*value);
  }
  launched.args.push_back(out.buffer);
  launched.args.push_back(
      besides(config, "norm", "norm_stride", op.getResult(), *form, T(), x->width));
  launch("linear", config, std::move(launched));
  done.insert(router);
  return true;
}

FailureOr<bool> EntryLowering::lowerWithAppend(graph::RmsNormOp op) {
  if (!fuses(Fusion::kAppendNorm) || op.getGroups() != 1 || !onlyForm(op.getResult())) return false;
  auto slice = op.getX().getDefiningOp<tensor::ExtractSliceOp>();
  if (!isColumnSlice(slice)) return false;
  for (Operation* user : slice.getSource().getUsers()) {
    auto other = dyn_cast<tensor::ExtractSliceOp>(user);
    if (other == slice || !isColumnSlice(other) || !other.getResult().hasOneUse()) continue;
    auto compress = dyn_cast<graph::LatentCompressOp>(*other.getResult().user_begin());
    if (!compress || !compress.getResult().hasOneUse() || !rows.count(compress.getX())) continue;
    auto append = dyn_cast<graph::CacheAppendOp>(*compress.getResult().user_begin());
    if (!append || append.getRows().size() != 1) continue;
    if (failed(appendLatent(append, op))) return failure();
    done.insert(append);
    return true;
  }
  return false;
}

}  // namespace fathom::lower
