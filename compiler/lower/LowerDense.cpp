// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lowering of the ops on rows: lookup, projections, norms, positions, logits, views.
#include "compiler/lower/EntryLowering.h"

using namespace mlir;

namespace fathom::lower {

LogicalResult EntryLowering::lower(graph::EmbedOp op) {
  Config config;
  auto type = cast<RankedTensorType>(op.getW().getType());
  auto parts = partsOf(op.getW(), op);
  if (failed(parts)) return failure();
  const int64_t hidden = type.getDimSize(1);
  config.set("enc", builder.getStringAttr(graph::stringifyEncoding(encodingOf(op.getW()))));
  config.set("hidden", builder.getI64IntegerAttr(hidden));
  config.set("out_ld", builder.getI64IntegerAttr(ld(hidden)));
  const Rows out = newRows("embed", T(), hidden);
  rows[op.getResult()] = out;
  auto cut = [&](const Part& part, Config& config, Launch&) {
    config.set("vocab", builder.getI64IntegerAttr(part.count));
    if (parts->size() > 1) config.set("first", builder.getI64IntegerAttr(part.first));
  };
  return launchParts("embed", config, {{tokens, Value(), out.buffer}, T(), {}, label(op, "embed")}, 1,
                     op.getW(), *parts, cut, op);
}

void EntryLowering::setProjection(Config& config, StringRef epilogue, int64_t batch, const Records& x,
                                  int64_t outLd, bool bias) {
  config.set("bias", builder.getBoolAttr(bias));
  config.set("epilogue", builder.getStringAttr(epilogue));
  config.set("batch", builder.getI64IntegerAttr(batch));
  config.set("act_stride", builder.getI64IntegerAttr(x.stride));
  config.set("act_batch_stride", builder.getI64IntegerAttr(x.batchStride));
  config.set("out_ld", builder.getI64IntegerAttr(outLd));
}

LogicalResult EntryLowering::lower(graph::LinearOp op) {
  Config config;
  auto type = cast<RankedTensorType>(op.getW().getType());
  const int64_t batch = type.getRank() == 3 ? type.getDimSize(0) : 1;
  const int64_t n = type.getDimSize(type.getRank() - 2), k = type.getShape().back();
  describeMatrix(op.getW(), config);
  auto parts = partsOf(op.getW(), op);
  if (failed(parts)) return failure();
  // What a kernel makes of whole rows of its outputs it can only do when it has them.
  const bool whole = parts->size() == 1;
  if (batch > 1 && n % 16 != 0)
    return op.emitOpError("cannot be lowered: batched weights need a multiple of 16 rows, found ") << n;
  FailureOr<Records> x;
  if (const Partial partial = partials.lookup(op.getX()); partial.buffer) {
    config.set("splits", builder.getI64IntegerAttr(partial.splits));
    x = Records{partial.buffer, 0, 4 * (k + 16), 0};
  } else {
    x = recordsOf(op.getX(), batch, k, program.activationFor(encodingOf(op.getW())), op);
  }
  if (failed(x)) return failure();

  const int64_t width = batch * n;
  Launch launched{{{x->buffer, x->offset}, Value()}, T(), {T()}, label(op, "linear")};
  if (Value bias = op.getBias()) {
    auto value = weight(bias, op);
    if (failed(value)) return failure();
    launched.args.push_back(*value);
  }
  setProjection(config, op.getResidual() ? "residual" : "store", batch, *x, ld(width),
                static_cast<bool>(op.getBias()));
  if (Value residual = op.getResidual()) {
    auto value = rowsOf(residual, op);
    if (failed(value)) return failure();
    // The sum takes the place of the residual when nobody reads that afterwards.
    const Rows out = isLastUse(residual, op) ? *value : newRows("sum", T(), width);
    rows[op.getResult()] = out;
    config.set("out_ld", builder.getI64IntegerAttr(out.ld));
    launched.args.append({value->buffer, out.buffer});
  } else if (!whole || !writeRecords(config, launched, op.getResult(), T(), batch, n)) {
    const Rows out = rows[op.getResult()] = newRows("linear", T(), width);
    launched.args.push_back(out.buffer);
    if (whole && batch == 1) writeHeadRecords(config, launched, op.getResult());
  }
  auto cut = [&](const Part& part, Config& config, Launch& own) {
    const bool matrices = type.getRank() == 3;
    config.set(matrices ? "batch" : "rows", builder.getI64IntegerAttr(part.count));
    if (matrices) own.args[0].offset += part.first * x->batchStride;
    moveColumns(own, 2, part.first * (matrices ? n : 1));
    foldOffset(config, "act_offset", own.args[0], 1);
  };
  return launchParts("linear", config, launched, 1, op.getW(), *parts, cut, op);
}

LogicalResult EntryLowering::lower(graph::LinearSwigluOp op) {
  Config config;
  auto type = cast<RankedTensorType>(op.getWGate().getType());
  describeMatrix(op.getWGate(), config);
  auto parts = partsOf({op.getWGate(), op.getWUp()}, op);
  if (failed(parts)) return failure();
  const Activation form = program.activationFor(encodingOf(op.getWGate()));
  auto x = recordsOf(op.getX(), 1, type.getDimSize(1), form, op);
  if (failed(x)) return failure();
  const int64_t inner = type.getDimSize(0);
  setProjection(config, "swiglu", 1, *x, ld(inner));
  Launch launched{{{x->buffer, x->offset}, Value(), Value()}, T(), {T()}, label(op, "linear_swiglu")};
  if (parts->size() > 1 || !writeRecords(config, launched, op.getResult(), T(), 1, inner)) {
    const Rows out = rows[op.getResult()] = newRows("swiglu", T(), inner);
    launched.args.push_back(out.buffer);
  }
  auto cut = [&](const Part& part, Config& config, Launch& own) {
    config.set("rows", builder.getI64IntegerAttr(part.count));
    moveColumns(own, 3, part.first);
    foldOffset(config, "act_offset", own.args[0], 1);
  };
  return launchParts("linear", config, launched, 1, {op.getWGate(), op.getWUp()}, *parts, cut, op);
}

LogicalResult EntryLowering::lower(graph::RmsNormOp op) {
  for (auto lowerWith : {&EntryLowering::lowerWithAppend, &EntryLowering::lowerWithRouter}) {
    FailureOr<bool> lowered = (this->*lowerWith)(op);
    if (failed(lowered)) return failure();
    if (*lowered) return success();
  }
  auto x = rowsOf(op.getX(), op);
  auto gamma = weight(op.getGamma(), op);
  if (failed(x) || failed(gamma)) return failure();
  const int64_t groups = op.getGroups(), n = x->width * x->groups / groups;
  const Wanted wanted = groups > 1 ? Wanted{true, false, false} : wantedOf(op.getResult());
  return normalise(op, op.getResult(), *x, *gamma, op.getEps(), groups, n, {}, x->count, wanted);
}

LogicalResult EntryLowering::normalise(Operation* op, Value result, const Rows& x, Value gamma, double eps,
                                       int64_t groups, int64_t n, Value gather, AffineExpr count,
                                       Wanted wanted) {
  Config config;
  config.set("n", builder.getI64IntegerAttr(n));
  config.set("eps", builder.getF64FloatAttr(eps));
  config.set("in_ld", builder.getI64IntegerAttr(groups > 1 ? n : x.ld));
  config.set("in_offset", builder.getI64IntegerAttr(x.offset));
  config.set("rows_per_token", builder.getI64IntegerAttr(groups));
  config.set("gather", builder.getBoolAttr(static_cast<bool>(gather)));
  Launch launched{{x.buffer, gamma}, count, {}, label(op, "norm")};
  if (gather) launched.args.push_back(gather);
  // One form of records at most comes out of the kernel; a second one is encoded from the rows.
  const Activation form = wanted.i8 ? Activation::kI8 : Activation::kBf16;
  const bool makesRecords = wanted.i8 || wanted.bf16;
  const bool makesRows = wanted.f32 || !makesRecords || (wanted.i8 && wanted.bf16);
  const int64_t outLd = ld(groups * n);
  if (groups > 1) {
    config.set("in_token_ld", builder.getI64IntegerAttr(x.ld));
    config.set("out_token_ld", builder.getI64IntegerAttr(outLd));
  }
  config.set("out_f32", builder.getBoolAttr(makesRows));
  config.set("out_ld", builder.getI64IntegerAttr(groups > 1 ? n : outLd));
  config.set("out_offset", builder.getI64IntegerAttr(0));
  config.set("out_act", builder.getStringAttr(makesRecords ? name(form) : "none"));
  config.set("act_stride", builder.getI64IntegerAttr(0));
  if (makesRows) {
    rows[result] = newRows("norm", count, groups * n);
    launched.args.push_back(rows[result].buffer);
  }
  if (makesRecords) {
    const Records made = newRecords(count, 1, n, form);
    records[result][static_cast<int>(form)] = made;
    config.set("act_stride", builder.getI64IntegerAttr(made.stride));
    launched.args.push_back(made.buffer);
    launched.outputs = makesRows ? 2 : 1;
  }
  launch("norm", config, std::move(launched));
  return success();
}

LogicalResult EntryLowering::lower(graph::RopeOp op) {
  // A key goes straight into the cache: kv_append rotates it.
  if (isRotatedByAppend(op)) return success();
  auto x = rowsOf(op.getX(), op);
  auto table = weight(op.getTable(), op);
  if (failed(x) || failed(table)) return failure();
  if (x->groups != 1) return op.emitOpError("cannot be lowered: rope of a view");
  if (rotatedByAttention(op.getResult())) {
    rows[op.getResult()] = *x;
    return success();
  }
  if (!isLastUse(op.getX(), op))
    return op.emitOpError("cannot be lowered: the input of rope has another user");
  rows[op.getResult()] = *x;  // in place
  Config config;
  config.set("heads", builder.getI64IntegerAttr(op.getHeads()));
  setRotation(config, op, op.getDim());
  for (StringRef side : {"in", "out"}) {
    config.set((side + "_ld").str(), builder.getI64IntegerAttr(x->ld));
    config.set((side + "_head_ld").str(), builder.getI64IntegerAttr(op.getHeadDim()));
    config.set((side + "_offset").str(), builder.getI64IntegerAttr(x->offset + op.getOffset()));
  }
  launch("rope", config, {{x->buffer, positions, *table, x->buffer}, T(), {}, label(op, "rope")});
  return success();
}

LogicalResult EntryLowering::lower(graph::SwigluOp op) {
  auto gate = rowsOf(op.getGate(), op), up = rowsOf(op.getUp(), op);
  if (failed(gate) || failed(up)) return failure();
  const Rows out = newRows("swiglu", gate->count, gate->width);
  rows[op.getResult()] = out;
  Config config;
  config.set("n", builder.getI64IntegerAttr(out.width));
  config.set("gate_ld", builder.getI64IntegerAttr(gate->ld));
  config.set("up_ld", builder.getI64IntegerAttr(up->ld));
  config.set("out_ld", builder.getI64IntegerAttr(out.ld));
  Launch launched{{{gate->buffer, 4 * gate->offset}, {up->buffer, 4 * up->offset}, out.buffer},
                  out.count, {}, label(op, "swiglu")};
  foldOffset(config, "gate_offset", launched.args[0], 4);
  foldOffset(config, "up_offset", launched.args[1], 4);
  launch("swiglu", config, std::move(launched));
  return success();
}

LogicalResult EntryLowering::lower(arith::AddFOp op) {
  auto a = rowsOf(op.getLhs(), op), b = rowsOf(op.getRhs(), op);
  if (failed(a) || failed(b)) return failure();
  if (a->ld != b->ld || a->groups != 1 || b->groups != 1)
    return op.emitOpError("cannot be lowered: addition of views");
  const Rows out = newRows("add", a->count, a->width);
  rows[op.getResult()] = out;
  Config config;
  config.set("n", builder.getI64IntegerAttr(out.width));
  config.set("ld", builder.getI64IntegerAttr(out.ld));
  launch("add", config, {{a->buffer, b->buffer, out.buffer}, out.count, {}, label(op, "add")});
  return success();
}

LogicalResult EntryLowering::lower(graph::LogitsOp op) {
  auto x = rowsOf(op.getX(), op);
  auto gamma = weight(op.getGamma(), op);
  Config config;
  describeMatrix(op.getHead(), config);
  auto parts = partsOf(op.getHead(), op);
  if (failed(x) || failed(gamma) || failed(parts)) return failure();
  auto type = cast<RankedTensorType>(op.getHead().getType());
  const Activation form = program.activationFor(encodingOf(op.getHead()));
  const Wanted wanted{form == Activation::kF32, form == Activation::kBf16, form == Activation::kI8};
  // The gathered rows have no value of their own in the graph; they live under the result's name.
  const int64_t hidden = type.getDimSize(1), vocab = type.getDimSize(0);
  if (failed(normalise(op, op.getResult(), *x, *gamma, op.getEps(), 1, hidden, logitRows, R(), wanted)))
    return failure();
  auto normed = recordsOf(op.getResult(), 1, hidden, form, op);
  if (failed(normed)) return failure();
  setProjection(config, "store", 1, *normed, ld(vocab));
  output = newBuffer("logits", R() * (4 * ld(vocab)), schedule::BufferKind::Output);
  auto cut = [&](const Part& part, Config& config, Launch& own) {
    config.set("rows", builder.getI64IntegerAttr(part.count));
    moveColumns(own, 2, part.first);
    foldOffset(config, "act_offset", own.args[0], 1);
  };
  return launchParts("linear", config,
                     {{{normed->buffer, normed->offset}, Value(), output}, R(), {R()}, label(op, "logits")}, 1,
                     op.getHead(), *parts, cut, op);
}

// Views of rows per head: expand [T, h d] -> [T, h, d], cut [T, h, d'] out, collapse to [T, h d'].
LogicalResult EntryLowering::lower(tensor::ExpandShapeOp op) {
  auto x = rowsOf(op.getSrc(), op);
  if (failed(x)) return failure();
  auto type = op.getResultType();
  if (type.getRank() != 3 || x->groups != 1)
    return op.emitOpError("cannot be lowered: expected [T, n] -> [T, heads, n / heads]");
  Rows out = *x;
  out.groups = type.getDimSize(1);
  out.width = out.groupLd = type.getDimSize(2);
  rows[op.getResult()] = out;
  return success();
}

LogicalResult EntryLowering::lower(tensor::ExtractSliceOp op) {
  auto x = rowsOf(op.getSource(), op);
  if (failed(x)) return failure();
  auto type = op.getType();
  ArrayRef<int64_t> offsets = op.getStaticOffsets();
  const bool heads = type.getRank() == 3 && offsets[0] == 0 && offsets[1] == 0 &&
                     type.getDimSize(1) == op.getSourceType().getDimSize(1);
  const bool columns = type.getRank() == 2 && offsets[0] == 0 && x->groups == 1;
  if (!heads && !columns) return op.emitOpError("cannot be lowered: expected a slice of the columns");
  Rows out = *x;
  out.offset += offsets.back();
  out.width = type.getShape().back();
  rows[op.getResult()] = out;
  return success();
}

LogicalResult EntryLowering::lower(tensor::CollapseShapeOp op) {
  auto x = rowsOf(op.getSrc(), op);
  if (failed(x)) return failure();
  rows[op.getResult()] = *x;  // groups stay: the strided row is what the users see
  return success();
}

}  // namespace fathom::lower
