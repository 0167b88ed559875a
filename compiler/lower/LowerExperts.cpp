// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lowering of routing and of the grouped experts: route, plan, gate and up, down, weighted sum.
#include "compiler/lower/EntryLowering.h"

using namespace mlir;

namespace fathom::lower {

Value EntryLowering::newPlan(int64_t slots, int64_t experts) {
  return newBuffer("route_plan", T() * (4 * slots) + 4 * (2 * experts + 2));
}

LogicalResult EntryLowering::lower(graph::MoeRouteOp op) {
  auto logits = rowsOf(op.getLogits(), op);
  if (failed(logits)) return failure();
  const int64_t topK = op.getTopK(), experts = logits->width;
  Launch launched{{{logits->buffer, 4 * logits->offset}}, T(), {}, label(op, "route")};
  if (Value bias = op.getBias()) {
    auto value = weight(bias, op);
    if (failed(value)) return failure();
    launched.args.push_back(*value);
  }
  const int64_t slots = topK + op.getShared();
  const Value index = newBuffer("route_index", T() * (4 * slots));
  const Value share = newBuffer("route_weight", T() * (4 * slots));
  launched.args.append({index, share});
  launched.outputs = 2;
  Config config;
  config.set("experts", builder.getI64IntegerAttr(experts));
  config.set("top_k", builder.getI64IntegerAttr(topK));
  config.set("shared", builder.getI64IntegerAttr(op.getShared()));
  config.set("n_group", builder.getI64IntegerAttr(op.getNGroup()));
  config.set("topk_group", builder.getI64IntegerAttr(op.getTopkGroup()));
  config.set("scoring", builder.getStringAttr(graph::stringifyScoring(op.getScoring())));
  config.set("method", builder.getStringAttr(graph::stringifyRouteMethod(op.getMethod())));
  config.set("normalize", builder.getBoolAttr(op.getNormalize()));
  config.set("scale", builder.getF64FloatAttr(op.getScale()));
  config.set("norm_eps", builder.getF64FloatAttr(op.getNormEps()));
  config.set("in_ld", builder.getI64IntegerAttr(logits->ld));
  foldOffset(config, "in_offset", launched.args[0], 4);
  if (fuses(kernels::Fusion::kRoutePlan)) {
    const Value plan = plans[op.getIndex()] = newPlan(slots, experts + op.getShared());
    config.set("plan", builder.getBoolAttr(true));
    launched.args.push_back(plan);
    launched.outputs = 3;
    launched.push = {T()};
    launched.label = label(op, "route_and_plan");
  }
  launch("route", config, std::move(launched));
  routes[op.getIndex()] = index;
  routes[op.getWeight()] = share;
  return success();
}

LogicalResult EntryLowering::lower(graph::MoeExpertsOp op) {
  auto up = cast<RankedTensorType>(op.getWUp().getType());
  const int64_t experts = up.getDimSize(0), inner = up.getDimSize(1), hidden = up.getDimSize(2);
  const int64_t topK = cast<RankedTensorType>(op.getIndex().getType()).getDimSize(1);
  if (!routes.count(op.getIndex()) || !routes.count(op.getWeight()))
    return op.emitOpError("cannot be lowered: index and weight must come from graph.moe_route");
  const Value index = routes[op.getIndex()], share = routes[op.getWeight()];
  const AffineExpr pairs = T() * topK;

  Value plan = plans.lookup(op.getIndex());
  if (!plan) {
    plan = newPlan(topK, experts);
    Config planConfig;
    planConfig.set("experts", builder.getI64IntegerAttr(experts));
    planConfig.set("top_k", builder.getI64IntegerAttr(topK));
    launch("route_plan", planConfig, {{index, plan}, T(), {T()}, label(op, "route_plan")});
  }

  // One projection over the grouped rows. Inactive experts cost nothing: y counts the active ones.
  // Of a bank that is cut, each dispatch serves the pairs of its experts and leaves the rows of others alone.
  auto project = [&](StringRef part, Config config, const Records& act, ArrayRef<Value> weights,
                     bool gather, Value out) -> LogicalResult {
    auto parts = partsOf(weights, op, /*columns=*/false);
    if (failed(parts)) return failure();
    describeMatrix(weights[0], config);
    config.set("experts", builder.getI64IntegerAttr(experts));
    config.set("top_k", builder.getI64IntegerAttr(topK));
    config.set("epilogue", builder.getStringAttr(weights.size() == 2 ? "swiglu" : "store"));
    config.set("gather", builder.getBoolAttr(gather));
    config.set("act_stride", builder.getI64IntegerAttr(act.stride));
    Launch launched{{{act.buffer, act.offset}}, T(), {T()}, label(op, part)};
    foldOffset(config, "act_offset", launched.args[0], 1);
    launched.args.append(weights.size(), Value());
    launched.args.append({plan, out});
    auto cut = [&](const Part& bank, Config& config, Launch&) {
      if (parts->size() == 1) return;
      config.set("first", builder.getI64IntegerAttr(bank.first));
      config.set("bank", builder.getI64IntegerAttr(bank.count));
    };
    return launchParts("experts", config, launched, 1, weights, *parts, cut, op);
  };
  Config gateConfig, downConfig;
  const Activation form = program.activationFor(encodingOf(op.getWUp()));
  auto x = recordsOf(op.getX(), 1, hidden, form, op);
  if (failed(x)) return failure();

  const Activation downForm = program.activationFor(encodingOf(op.getWDown()));
  Records inside;  // what w_down reads
  if (downForm != Activation::kF32 && inner % 64 == 0 && fuses(kernels::Fusion::kRecordsOut)) {
    inside = newRecords(pairs, 1, inner, downForm);
    gateConfig.set("out_act", builder.getStringAttr(name(downForm)));
    gateConfig.set("out_stride", builder.getI64IntegerAttr(inside.stride));
    if (failed(project("experts_gate_up_records", gateConfig, *x, {op.getWGate(), op.getWUp()},
                       /*gather=*/true, inside.buffer)))
      return failure();
  } else {
    const Rows h = newRows("experts_gate_up", pairs, inner);
    gateConfig.set("out_ld", builder.getI64IntegerAttr(h.ld));
    if (failed(project("experts_gate_up", gateConfig, *x, {op.getWGate(), op.getWUp()}, /*gather=*/true,
                       h.buffer)))
      return failure();
    inside = {h.buffer, 0, 4 * h.ld, 0};
    if (downForm != Activation::kF32) {
      inside = newRecords(pairs, 1, inner, downForm);
      encode(h, inside, downForm, label(op, "experts_encode"));
    }
  }
  const Rows y = newRows("experts_down", pairs, hidden);
  downConfig.set("out_ld", builder.getI64IntegerAttr(y.ld));
  if (failed(project("experts_down", downConfig, inside, {op.getWDown()}, /*gather=*/false, y.buffer)))
    return failure();
  return combineExperts(op, y, share);
}

LogicalResult EntryLowering::combineExperts(graph::MoeExpertsOp op, const Rows& y, Value share) {
  // combine adds one row to the weighted sum always and a second one if there is one.
  SmallVector<Value> addends;
  for (Value addend : {op.getResidual(), op.getShared()})
    if (addend) addends.push_back(addend);
  if (addends.empty()) return op.emitOpError("cannot be lowered: expected a residual or a shared addend");
  Config config;
  config.set("n", builder.getI64IntegerAttr(y.width));
  config.set("ld", builder.getI64IntegerAttr(y.ld));
  config.set("top_k", builder.getI64IntegerAttr(cast<RankedTensorType>(op.getIndex().getType()).getDimSize(1)));
  config.set("shared", builder.getBoolAttr(addends.size() == 2));
  Launch launched{{y.buffer, share}, T(), {}, label(op, "experts_combine")};
  for (Value addend : addends) {
    auto value = rowsOf(addend, op);
    if (failed(value)) return failure();
    launched.args.push_back(value->buffer);
  }
  const Rows out = rows[op.getResult()] = newRows("experts", T(), y.width);

  // The norm that the next block begins with.
  graph::RmsNormOp norm;
  if (fuses(kernels::Fusion::kCombineNorm))
    for (Operation* user : op.getResult().getUsers())
      if (auto found = dyn_cast<graph::RmsNormOp>(user); found && found.getGroups() == 1) norm = found;
  const std::optional<Activation> form = norm ? onlyForm(norm.getResult()) : std::nullopt;
  if (!form) {
    launched.args.push_back(out.buffer);
    launch("combine", config, std::move(launched));
    return success();
  }
  auto gamma = weight(norm.getGamma(), norm);
  if (failed(gamma)) return failure();
  config.set("eps", norm.getEpsAttr());
  launched.args.append({*gamma, out.buffer});
  launched.args.push_back(besides(config, "norm", "norm_stride", norm.getResult(), *form, T(), y.width));
  launched.outputs = 2;
  launched.label += "_norm";
  launch("combine", config, std::move(launched));
  done.insert(norm);
  return success();
}

}  // namespace fathom::lower
