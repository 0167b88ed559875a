// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lowering of the cache and of attention, latent and grouped-query.
#include "compiler/lower/EntryLowering.h"

using namespace mlir;

namespace fathom::lower {

Value EntryLowering::cacheOf(int64_t layer, Config& config) {
  config.set("kv", builder.getStringAttr(program.cacheElement));
  config.set("page_tokens", builder.getI64IntegerAttr(program.pageTokens));
  config.set("page_bytes", builder.getI64IntegerAttr(program.pageTokens * program.rowBytes));
  Value& use = cacheLayers[layer];
  if (!use)
    use = schedule::UseCacheOp::create(builder, function.getLoc(),
                                       schedule::BufferType::get(builder.getContext()), cache,
                                       builder.getI64IntegerAttr(layer));
  return use;
}

bool EntryLowering::isRotatedByAppend(graph::RopeOp op) {
  if (!op.getResult().hasOneUse() || op.getOffset() != 0) return false;
  auto append = dyn_cast<graph::CacheAppendOp>(*op.getResult().user_begin());
  return append && append.getRows().size() == 2 && append.getRows()[0] == op.getResult();
}

// `norm`, if not null, is computed beside: its input lies in the same rows.
LogicalResult EntryLowering::appendLatent(graph::CacheAppendOp op, graph::RmsNormOp norm) {
  auto compress = op.getRows()[0].getDefiningOp<graph::LatentCompressOp>();
  if (!compress) return op.emitOpError("cannot be lowered: expected a row of graph.latent_compress");
  auto x = rowsOf(compress.getX(), op);
  auto gamma = weight(compress.getGamma(), op), table = weight(compress.getTable(), op);
  if (failed(x) || failed(gamma) || failed(table)) return failure();
  Config config;
  const Value layerCache = cacheOf(op.getLayer(), config);
  config.set("rank", builder.getI64IntegerAttr(compress.getRank()));
  setRotation(config, compress, compress.getRopeDim());
  config.set("eps", builder.getF64FloatAttr(compress.getEps()));
  config.set("in_ld", builder.getI64IntegerAttr(x->ld));
  config.set("in_offset", builder.getI64IntegerAttr(x->offset));
  Launch launched{{x->buffer, *gamma}, T(), {P()}, label(op, norm ? "cache_append_norm" : "cache_append")};
  Value normed;
  if (norm) {
    auto query = rowsOf(norm.getX(), norm);
    auto queryGamma = weight(norm.getGamma(), norm);
    if (failed(query) || failed(queryGamma)) return failure();
    config.set("q_n", builder.getI64IntegerAttr(query->width));
    config.set("q_offset", builder.getI64IntegerAttr(query->offset));
    config.set("q_eps", norm.getEpsAttr());
    normed = besides(config, "q_norm", "q_stride", norm.getResult(), *onlyForm(norm.getResult()), T(), query->width);
    launched.args.push_back(*queryGamma);
    launched.outputs = 2;
  }
  launched.args.append({positions, sequence, pageTable, *table, layerCache});
  if (norm) launched.args.push_back(normed);
  launch("latent_append", config, std::move(launched));
  return success();
}

LogicalResult EntryLowering::lower(graph::CacheAppendOp op) {
  if (op.getRows().size() == 1) return appendLatent(op, {});
  Config config;
  const Value layerCache = cacheOf(op.getLayer(), config);
  Launch launched{{}, T(), {P()}, label(op, "cache_append")};
  auto rope = op.getRows()[0].getDefiningOp<graph::RopeOp>();
  if (!rope || !isRotatedByAppend(rope))
    return op.emitOpError("cannot be lowered: expected a key made by graph.rope with no other user");
  auto k = rowsOf(rope.getX(), op), v = rowsOf(op.getRows()[1], op);
  auto table = weight(rope.getTable(), op);
  if (failed(k) || failed(v) || failed(table)) return failure();
  config.set("kv_heads", builder.getI64IntegerAttr(rope.getHeads()));
  config.set("head_dim", builder.getI64IntegerAttr(rope.getHeadDim()));
  setRotation(config, rope, rope.getDim());
  config.set("k_ld", builder.getI64IntegerAttr(k->ld));
  config.set("k_offset", builder.getI64IntegerAttr(k->offset));
  config.set("v_ld", builder.getI64IntegerAttr(v->ld));
  config.set("v_offset", builder.getI64IntegerAttr(v->offset));
  launched.args = {k->buffer, v->buffer, positions, sequence, pageTable, *table, layerCache};
  launch("kv_append", config, std::move(launched));
  return success();
}

LogicalResult EntryLowering::launchSplit(Operation* op, StringRef family, Config config,
                                         SmallVector<Arg> args, int64_t heads, int64_t width,
                                         Value result) {
  kernels::setSplits(program.profile, family, builder.getContext(), config);
  const int64_t splits = cast<IntegerAttr>(config.get("splits")).getInt();
  const Value partial = newBuffer("partial", T() * (4 * splits * heads * (width + 16)));
  args.push_back(partial);
  const bool rotates = config.get("rotate") != nullptr;
  launch(family, config, {std::move(args), T(), {P()}, label(op, rotates ? "attention_rotated" : "attention")});
  // A product of each head with its own matrix merges the splits where it takes them.
  if (fuses(kernels::Fusion::kMergeSplits) && result.hasOneUse())
    if (auto next = dyn_cast<graph::LinearOp>(*result.user_begin());
        next && next.getX() == result && next.getW().getType().getRank() == 3 &&
        next.getW().getType().getDimSize(0) == heads && next.getW().getType().getDimSize(2) == width &&
        bindsWhole(next.getW())) {
      partials[result] = {partial, splits};
      return success();
    }
  Config combine;
  combine.set("heads", builder.getI64IntegerAttr(heads));
  combine.set("width", builder.getI64IntegerAttr(width));
  combine.set("splits", builder.getI64IntegerAttr(splits));
  Launch launched{{partial}, T(), {}, label(op, "attention_combine")};
  if (auto records = recordsOfHeads(result, heads, width)) {
    combine.set("out_act", builder.getStringAttr(name(records->first)));
    combine.set("act_stride", builder.getI64IntegerAttr(records->second.stride));
    combine.set("act_batch_stride", builder.getI64IntegerAttr(records->second.batchStride));
    launched.args.push_back(records->second.buffer);
  } else {
    const Rows out = rows[result] = newRows("attention", T(), heads * width);
    combine.set("out_ld", builder.getI64IntegerAttr(out.ld));
    launched.args.push_back(out.buffer);
  }
  launch("attention_combine", combine, std::move(launched));
  return success();
}

std::optional<std::pair<Activation, Records>> EntryLowering::recordsOfHeads(Value result,
                                                                            int64_t heads,
                                                                            int64_t width) {
  const Wanted wanted = wantedOf(result);
  if (wanted.f32 || wanted.i8 == wanted.bf16 || !result.hasOneUse()) return {};
  const Activation form = wanted.i8 ? Activation::kI8 : Activation::kBf16;
  auto next = cast<graph::LinearOp>(*result.user_begin());
  Records made;
  if (next.getW().getType().getRank() == 3) {
    made = newRecords(T(), heads, width, form);
  } else {
    // One record for all heads: each head must own whole groups, and the last leave nothing to fill.
    if (program.profile.gpu || width % 32 != 0 || heads * width % 64 != 0) return {};
    made = newRecords(T(), 1, heads * width, form);
    made.batchStride = 0;
  }
  records[result][static_cast<int>(form)] = made;
  return std::pair(form, made);
}

FailureOr<Value> EntryLowering::rotateQueries(Config& config, graph::RopeOp rope, int64_t dim) {
  config.set("rotate", builder.getBoolAttr(true));
  setRotation(config, rope, dim);
  return weight(rope.getTable(), rope);
}

LogicalResult EntryLowering::lower(graph::LatentAttentionAbsorbedOp op) {
  auto latent = rowsOf(op.getQLatent(), op), q = rowsOf(op.getQ(), op);
  if (failed(latent) || failed(q)) return failure();
  if (latent->ld != op.getHeads() * op.getRank() || q->groups != 1)
    return op.emitOpError("cannot be lowered: heads x rank must be a multiple of 16");
  Config config;
  const Value layerCache = cacheOf(op.getLayer(), config);
  config.set("heads", builder.getI64IntegerAttr(op.getHeads()));
  config.set("rank", builder.getI64IntegerAttr(op.getRank()));
  config.set("dim", builder.getI64IntegerAttr(op.getRopeDim()));
  config.set("scale", builder.getF64FloatAttr(op.getScale()));
  config.set("q_ld", builder.getI64IntegerAttr(q->ld));
  config.set("q_head_ld", builder.getI64IntegerAttr(op.getNope() + op.getRopeDim()));
  config.set("q_offset", builder.getI64IntegerAttr(q->offset + op.getNope()));
  SmallVector<Arg> args = {latent->buffer, q->buffer, positions, sequence, pageTable};
  if (graph::RopeOp rope = rotatedByAttention(op.getQ())) {
    auto table = rotateQueries(config, rope, op.getRopeDim());
    if (failed(table)) return failure();
    args.push_back(*table);
  }
  args.push_back(layerCache);
  return launchSplit(op, "latent_attention", config, std::move(args), op.getHeads(), op.getRank(),
                     op.getResult());
}

LogicalResult EntryLowering::lower(graph::LatentAttentionOp op) {
  if (op.getForm() != graph::AttentionForm::Expanded || !op.getWUk())
    return op.emitOpError("cannot be lowered: expected form expanded with w_uk and w_uv; run "
                          "fathom-choose-attention-form first");
  auto q = rowsOf(op.getQ(), op);
  Config config;
  describeMatrix(op.getWUk(), config);
  auto parts = partsOf({op.getWUk(), op.getWUv()}, op);
  if (failed(q) || failed(parts)) return failure();
  for (StringRef key : {"rows", "cols", "act"}) config.erase(key);
  const Value layerCache = cacheOf(op.getLayer(), config);
  config.set("rank", builder.getI64IntegerAttr(op.getRank()));
  config.set("dim", builder.getI64IntegerAttr(op.getRopeDim()));
  config.set("nope", builder.getI64IntegerAttr(op.getNope()));
  config.set("v", builder.getI64IntegerAttr(op.getVDim()));
  config.set("scale", builder.getF64FloatAttr(op.getScale()));
  config.set("q_ld", builder.getI64IntegerAttr(q->ld));
  config.set("q_head_ld", builder.getI64IntegerAttr(op.getNope() + op.getRopeDim()));
  const Rows out = newRows("attention", T(), op.getHeads() * op.getVDim());
  rows[op.getResult()] = out;
  auto cut = [&](const Part& heads, Config& config, Launch& own) {
    config.set("heads", builder.getI64IntegerAttr(heads.count));
    config.set("q_offset",
               builder.getI64IntegerAttr(q->offset + heads.first * (op.getNope() + op.getRopeDim())));
    if (parts->size() == 1) return;
    config.set("out_ld", builder.getI64IntegerAttr(out.ld));
    moveColumns(own, own.args.size() - 1, heads.first * op.getVDim());
  };
  const Launch launched{
      {q->buffer, Value(), Value(), sequence, positions, pageTable, contextLength, layerCache, out.buffer},
      T(),
      {T(), P()},
      label(op, "attention")};
  return launchParts("latent_attention_expanded", config, launched, 1, {op.getWUk(), op.getWUv()}, *parts,
                     cut, op);
}

LogicalResult EntryLowering::lower(graph::AttentionOp op) {
  if (op.getSinks()) return op.emitOpError("cannot be lowered: attention sinks have no kernel yet");
  auto q = rowsOf(op.getQ(), op);
  if (failed(q)) return failure();
  const Arg query(q->buffer, 4 * q->offset);
  if (query.offset % program.profile.bindingAlignment() != 0)
    return op.emitOpError("cannot be lowered: q begins at element ") << q->offset << " of its rows";
  Config config;
  const Value layerCache = cacheOf(op.getLayer(), config);
  config.set("heads", builder.getI64IntegerAttr(op.getHeads()));
  config.set("kv_heads", builder.getI64IntegerAttr(op.getKvHeads()));
  config.set("head_dim", builder.getI64IntegerAttr(op.getHeadDim()));
  config.set("scale", builder.getF64FloatAttr(op.getScale()));
  config.set("q_ld", builder.getI64IntegerAttr(q->ld));
  config.set("window", builder.getI64IntegerAttr(op.getWindow()));
  if (!isPrefill()) {
    SmallVector<Arg> args = {query, positions, sequence, pageTable};
    if (graph::RopeOp rope = rotatedByAttention(op.getQ())) {
      auto table = rotateQueries(config, rope, rope.getDim());
      if (failed(table)) return failure();
      args.push_back(*table);
    }
    args.push_back(layerCache);
    return launchSplit(op, "attention", config, std::move(args), op.getHeads(), op.getHeadDim(),
                       op.getResult());
  }
  const Rows out = newRows("attention", T(), op.getHeads() * op.getHeadDim());
  rows[op.getResult()] = out;
  config.set("grid_heads", builder.getI64IntegerAttr(op.getKvHeads()));
  launch("attention_prefill", config,
         {{query, sequence, positions, pageTable, contextLength, layerCache, out.buffer},
          T(),
          {T(), P()},
          label(op, "attention")});
  return success();
}

}  // namespace fathom::lower
