// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The graph builder: weights checked against the checkpoint, ops with locations, entry points.
#include "frontend/builder/ModelBuilder.h"

#include "absl/strings/str_cat.h"
#include "frontend/config/expected_tensors.h"
#include "llvm/Support/Path.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace fathom {

ModelBuilder::ModelBuilder(MLIRContext &context, const ModelConfig &config,
                           const Checkpoint &weights)
    : config(config),
      weights(weights),
      rope_(MakeRopeTable(config)),
      b(UnknownLoc::get(&context), &context) {
  context.loadDialect<graph::GraphDialect, arith::ArithDialect, func::FuncDialect>();
}

//===-- The module --------------------------------------------------------------------------===//

FailureOr<OwningOpRef<ModuleOp>>
ModelBuilder::build(const graph::KvLayout &kv, llvm::function_ref<Value(ModelBuilder &)> body) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(b.getUnknownLoc());
  auto integer = [&](StringRef name, int64_t value) {
    return b.getNamedAttr(name, b.getI64IntegerAttr(value));
  };
  module->getOperation()->setAttr(
      graph::kModelAttr,
      b.getDictionaryAttr({b.getNamedAttr("name", b.getStringAttr(modelName())),
                           b.getNamedAttr("architecture",
                                          b.getStringAttr(ModelTypeName(config.model_type))),
                           integer("parameters", ParameterCount(config)),
                           integer("context_length", config.max_position_embeddings),
                           integer("vocab_size", config.vocab_size),
                           integer("hidden_size", config.hidden_size),
                           integer("layers", config.num_hidden_layers)}));
  module->getOperation()->setAttr(graph::kKvAttr, graph::makeKvAttr(b.getContext(), kv));

  for (StringRef entry : {"prefill", "decode"}) {
    b.setInsertionPointToEnd(module->getBody());
    beginEntry(entry);
    Value logits = body(*this);
    b.setLoc(b.getUnknownLoc());
    func::ReturnOp::create(b, logits);
    // What a missing weight was replaced by is the same in the other entry point: say it once.
    if (failed_) return failure();
  }
  if (mlir::failed(verify(*module))) return failure();
  return module;
}

void ModelBuilder::beginEntry(StringRef name) {
  Type i32 = b.getI32Type();
  const int64_t any = ShapedType::kDynamic;
  auto vector = RankedTensorType::get({any}, i32);
  auto pages = RankedTensorType::get({any, any}, i32);
  auto logits = RankedTensorType::get({any, config.vocab_size}, b.getF32Type());
  b.setLoc(b.getUnknownLoc());
  auto function = func::FuncOp::create(
      b, name,
      b.getFunctionType({vector, vector, vector, pages, vector, vector}, {Type(logits)}));
  Block *block = function.addEntryBlock();
  b.setInsertionPointToEnd(block);
  tokens = block->getArgument(0);
  positions = block->getArgument(1);
  sequence = block->getArgument(2);
  pageTable = block->getArgument(3);
  contextLength = block->getArgument(4);
  logitRows = block->getArgument(5);
  params.clear();
  table = Value();
}

// What the user called the model: the directory or the GGUF file.
std::string ModelBuilder::modelName() const {
  StringRef path = weights.kind() == CheckpointKind::kRandom ? StringRef(config.source)
                                                             : StringRef(weights.name());
  StringRef extension = llvm::sys::path::extension(path);
  StringRef name = extension == ".gguf" ? llvm::sys::path::stem(path)
                   : extension == ".json" || extension == ".safetensors"
                       ? llvm::sys::path::filename(llvm::sys::path::parent_path(path))
                       : llvm::sys::path::filename(path.rtrim('/'));
  if (name.empty() || name == "." || name == "..") return ModelTypeName(config.model_type);
  return name.str();
}

// "model.layers.3.mlp" -> loc("layers.3.mlp")
Location ModelBuilder::locationOf(StringRef module) {
  module.consume_front("model.");
  return NameLoc::get(b.getStringAttr(module));
}

//===-- Weights -----------------------------------------------------------------------------===//

FailureOr<Type> ModelBuilder::storedType(StringRef name, ArrayRef<int64_t> shape) {
  auto error = [&]() {
    failed_ = true;
    return emitError(b.getUnknownLoc())
           << weights.name() << ": tensor \"" << name << "\": expected ";
  };
  const std::vector<uint64_t> expected(shape.begin(), shape.end());
  const TensorInfo *tensor = weights.Find(std::string_view(name.data(), name.size()));
  if (!tensor) {
    error() << "shape " << ShapeString(expected) << ", found no tensor of this name";
    return failure();
  }
  if (tensor->shape != expected) {
    error() << "shape " << ShapeString(expected) << ", found " << ShapeString(tensor->shape);
    return failure();
  }
  switch (tensor->type) {
  case StorageType::kF16: return Type(Float16Type::get(b.getContext()));
  case StorageType::kBF16: return Type(BFloat16Type::get(b.getContext()));
  case StorageType::kF8E4M3: return Type(Float8E4M3FNType::get(b.getContext()));
  case StorageType::kF8E5M2: return Type(Float8E5M2Type::get(b.getContext()));
  // Blocks share scales and have no element type; a reader hands both out as float32.
  case StorageType::kF32: case StorageType::kF64:
  case StorageType::kQ4_0: case StorageType::kQ4_1: case StorageType::kQ5_0:
  case StorageType::kQ5_1: case StorageType::kQ8_0: case StorageType::kQ4_K:
  case StorageType::kQ5_K: case StorageType::kQ6_K:
    return Type(Float32Type::get(b.getContext()));
  default:
    error() << "a floating-point type, found " << StorageTypeName(tensor->type);
    return failure();
  }
}

Value ModelBuilder::param(StringRef key, Type element, ArrayRef<int64_t> shape,
                          ArrayRef<StringRef> names) {
  Value &value = params[key];
  StringRef place = key;
  place.consume_back(".weight");
  b.setLoc(locationOf(place));
  value = graph::ParamOp::create(b, RankedTensorType::get(shape, element),
                                 b.getStrArrayAttr(names));
  return value;
}

Value ModelBuilder::weight(StringRef name, ArrayRef<int64_t> shape) {
  // A tensor wanted twice, such as a tied embedding, is one value.
  if (Value known = params.lookup(name)) return known;
  FailureOr<Type> element = storedType(name, shape);
  return param(name, mlir::failed(element) ? Type(b.getF32Type()) : *element, shape, {name});
}

Value ModelBuilder::stackedWeights(StringRef prefix, int64_t count, StringRef suffix,
                                   ArrayRef<int64_t> shape) {
  SmallVector<std::string> names;
  Type element;
  for (int64_t i = 0; i < count; ++i) {
    names.push_back((prefix + Twine(i) + suffix).str());
    FailureOr<Type> stored = storedType(names.back(), shape);
    if (mlir::failed(stored)) break;  // one missing expert says enough
    element = !element || element == *stored ? *stored : Type(b.getF32Type());
  }
  if (!element || static_cast<int64_t>(names.size()) != count) {
    failed_ = true;
    element = b.getF32Type();
    names.resize(count, names.empty() ? "" : names.front());
  }
  SmallVector<int64_t> stackedShape{count};
  stackedShape.append(shape.begin(), shape.end());
  SmallVector<StringRef> references(names.begin(), names.end());
  return param(references.front(), element, stackedShape, references);
}

//===-- Rows --------------------------------------------------------------------------------===//

static int64_t columnsOf(Value rows) {
  return cast<RankedTensorType>(rows.getType()).getDimSize(1);
}

static std::string named(StringRef module, StringRef leaf) { return (module + "." + leaf).str(); }

Value ModelBuilder::embed(StringRef module) {
  Value w = weight(named(module, "weight"), {config.vocab_size, config.hidden_size});
  b.setLoc(locationOf(module));
  return graph::EmbedOp::create(b, tokens, w);
}

Value ModelBuilder::linear(Value x, StringRef module, int64_t outputs, bool bias, bool keepF32) {
  Value w = weight(named(module, "weight"), {outputs, columnsOf(x)});
  Value offset = bias ? weight(named(module, "bias"), {outputs}) : Value();
  b.setLoc(locationOf(module));
  return graph::LinearOp::create(b, x, w, offset, Value(), keepF32);
}

Value ModelBuilder::rmsNorm(Value x, StringRef module, double eps, int64_t groups) {
  Value gamma = weight(named(module, "weight"), {columnsOf(x) / groups});
  b.setLoc(locationOf(module));
  return graph::RmsNormOp::create(b, x, gamma, eps, groups);
}

Value ModelBuilder::add(Value residual, Value x) {
  // The place of what is added: a projection with the residual fused in keeps its name.
  b.setLoc(x.getLoc());
  return arith::AddFOp::create(b, residual, x);
}

Value ModelBuilder::mlp(Value x, StringRef module, int64_t inner) {
  Value gate = linear(x, named(module, "gate_proj"), inner);
  Value up = linear(x, named(module, "up_proj"), inner);
  b.setLoc(locationOf(module));
  Value h = graph::SwigluOp::create(b, gate, up);
  return linear(h, named(module, "down_proj"), columnsOf(x));
}

Value ModelBuilder::experts(Value x, StringRef module, const ExpertLayer &layer) {
  const int64_t count = config.n_routed_experts, inner = config.moe_intermediate_size;
  const int64_t hidden = columnsOf(x);
  const std::string gate = named(module, "gate");
  Value scores = linear(x, gate, count, /*bias=*/false, /*keepF32=*/true);
  Value bias;
  if (layer.method == graph::RouteMethod::NoauxTc)
    bias = weight(named(gate, "e_score_correction_bias"), {count});
  b.setLoc(locationOf(gate));
  auto route = graph::MoeRouteOp::create(
      b, scores, bias, layer.scoring, layer.method, config.num_experts_per_tok, config.n_group,
      config.topk_group, config.norm_topk_prob, config.routed_scaling_factor);

  const std::string prefix = named(module, "experts.");
  auto stack = [&](StringRef part, ArrayRef<int64_t> shape) {
    return stackedWeights(prefix, count, ("." + part + ".weight").str(), shape);
  };
  Value wGate = stack(layer.gate, {inner, hidden});
  Value wUp = stack(layer.up, {inner, hidden});
  Value wDown = stack(layer.down, {hidden, inner});
  b.setLoc(locationOf(named(module, "experts")));
  return graph::MoeExpertsOp::create(b, x, route.getIndex(), route.getWeight(), wGate, wUp, wDown,
                                     /*shared=*/Value(), /*residual=*/Value());
}

Value ModelBuilder::logits(Value x, StringRef norm, StringRef head) {
  Value gamma = weight(named(norm, "weight"), {config.hidden_size});
  Value w = weight(named(head, "weight"), {config.vocab_size, config.hidden_size});
  b.setLoc(locationOf("lm_head"));
  return graph::LogitsOp::create(b, x, gamma, w, logitRows, config.rms_norm_eps);
}

//===-- Positions, cache, attention ---------------------------------------------------------===//

Value ModelBuilder::ropeTable() {
  if (!table) {
    b.setLoc(locationOf("rope_table"));
    table = graph::RopeTableOp::create(b, ArrayRef<double>(rope_.inverse_frequencies),
                                       config.max_position_embeddings);
  }
  return table;
}

Value ModelBuilder::rope(Value x, int64_t heads, int64_t headDim, int64_t offset) {
  Value angles = ropeTable();
  b.setLoc(x.getLoc());
  return graph::RopeOp::create(b, x, positions, angles, heads, headDim, offset, rope_.rotary_dim,
                               rope_.interleaved, rope_.cos_sin_scale);
}

Value ModelBuilder::latentCompress(Value x, StringRef norm, double eps, const LatentSizes &sizes) {
  Value angles = ropeTable();
  Value gamma = weight(named(norm, "weight"), {sizes.rank});
  b.setLoc(locationOf(norm));
  return graph::LatentCompressOp::create(b, x, gamma, positions, angles, sizes.rank, sizes.ropeDim,
                                         eps, rope_.interleaved, rope_.cos_sin_scale);
}

void ModelBuilder::appendCache(StringRef module, int64_t layer, ValueRange rows) {
  b.setLoc(locationOf(module));
  graph::CacheAppendOp::create(b, rows, positions, sequence, pageTable, layer);
}

Value ModelBuilder::latentAttention(Value q, StringRef kvB, int64_t layer,
                                    const LatentSizes &sizes) {
  Value w = weight(named(kvB, "weight"), {sizes.heads * (sizes.nope + sizes.vDim), sizes.rank});
  b.setLoc(locationOf(kvB));
  return graph::LatentAttentionOp::create(
      b, q, w, Value(), Value(), positions, sequence, pageTable, contextLength, layer, sizes.heads,
      sizes.rank, sizes.nope, sizes.ropeDim, sizes.vDim, rope_.softmax_scale);
}

Value ModelBuilder::attention(Value q, StringRef module, int64_t layer, int64_t heads,
                              int64_t kvHeads, int64_t headDim) {
  b.setLoc(locationOf(module));
  return graph::AttentionOp::create(b, q, positions, sequence, pageTable, contextLength,
                                    /*sinks=*/Value(), layer, heads, kvHeads, headDim,
                                    rope_.softmax_scale);
}

}  // namespace fathom
