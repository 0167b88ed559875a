// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Buffers, records, weights and dispatches of one entry point, and the walk over its ops.
#include "compiler/lower/EntryLowering.h"

#include "compiler/kernels/RowOutput.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fathom::lower {
namespace {

kernels::RowForm rowForm(Activation form) {
  switch (form) {
  case Activation::kF32: return kernels::RowForm::kF32;
  case Activation::kBf16: return kernels::RowForm::kBf16;
  case Activation::kI8: return kernels::RowForm::kI8;
  }
  return kernels::RowForm::kNone;
}

bool isView(Operation* op) {
  return isa<tensor::ExpandShapeOp, tensor::ExtractSliceOp, tensor::CollapseShapeOp>(op);
}

// The last op of the block that reads `value` or a view of it; null when nobody does.
Operation* lastReader(Value value) {
  Operation* last = nullptr;
  for (Operation* user : value.getUsers()) {
    Operation* reader = user;
    // These are read where their result goes into the cache.
    if (isa<graph::LatentCompressOp, graph::RopeOp>(user) && user->getResult(0).hasOneUse())
      if (auto append = dyn_cast<graph::CacheAppendOp>(*user->getResult(0).user_begin())) reader = append;
    if (isView(user)) reader = lastReader(user->getResult(0));
    if (reader && (!last || last->isBeforeInBlock(reader))) last = reader;
  }
  return last;
}

}  // namespace

graph::Encoding encodingOf(Value encoded) {
  auto type = cast<RankedTensorType>(encoded.getType());
  return cast<graph::EncodingAttr>(type.getEncoding()).getKind();
}

EntryLowering::EntryLowering(ProgramLowering& program, func::FuncOp function, schedule::EntryOp entry)
    : program(program), function(function), builder(OpBuilder::atBlockBegin(&entry.getBody().front())) {}

LogicalResult EntryLowering::run() {
  Block& block = function.getBody().front();
  const auto input = schedule::BufferKind::Input;
  struct {
    StringRef name;
    AffineExpr size;
    Value* buffer;
  } inputs[] = {{"tokens", T() * 4, &tokens},         {"positions", T() * 4, &positions},
                {"sequence", T() * 4, &sequence},     {"page_table", B() * P() * 4, &pageTable},
                {"context_length", B() * 4, &contextLength}, {"logit_rows", R() * 4, &logitRows}};
  if (block.getNumArguments() != std::size(inputs))
    return function.emitOpError("an entry point takes 6 arguments (docs/spec/artifact.md), found ")
           << block.getNumArguments();
  for (auto& in : inputs) *in.buffer = newBuffer(in.name, in.size, input);
  cache = newBuffer("kv_cache", constant(0), schedule::BufferKind::KvCache);
  for (Operation& op : block) {
    builder.setInsertionPointToEnd(tokens.getParentBlock());
    if (failed(lowerOp(&op))) return failure();
  }
  if (!output) return function.emitOpError("has no graph.logits to give out");
  return success();
}

LogicalResult EntryLowering::lowerOp(Operation* op) {
  // Weight expressions and what is lowered with another op.
  if (done.contains(op) || op->getNumOperands() == 0 || isa<tensor::DimOp, graph::EncodeOp, graph::LatentCompressOp, func::ReturnOp>(op))
    return success();
  if (isView(op) || op->getName().getStringRef() == "tensor.concat" ||
      op->getName().getStringRef() == "linalg.transpose") {
    auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
    if (type && type.hasStaticShape()) return success();
  }
  return TypeSwitch<Operation*, LogicalResult>(op)
      .Case<graph::EmbedOp, graph::LinearOp, graph::LinearSwigluOp, graph::RmsNormOp, graph::RopeOp,
            graph::SwigluOp, graph::CacheAppendOp, graph::LatentAttentionOp,
            graph::LatentAttentionAbsorbedOp, graph::AttentionOp, graph::MoeRouteOp,
            graph::MoeExpertsOp, graph::LogitsOp, arith::AddFOp, tensor::ExpandShapeOp,
            tensor::ExtractSliceOp, tensor::CollapseShapeOp>([&](auto typed) { return lower(typed); })
      .Default([&](Operation* other) {
        return other->emitOpError("has no kernel for target '") << program.profile.name << "' (phase lower)";
      });
}

AffineMap EntryLowering::map(ArrayRef<AffineExpr> exprs) {
  return AffineMap::get(0, 4, exprs, builder.getContext());
}

Value EntryLowering::newBuffer(StringRef name, AffineExpr bytes, schedule::BufferKind kind) {
  return schedule::BufferOp::create(builder, function.getLoc(), builder.getStringAttr(name),
                                    schedule::BufferKindAttr::get(builder.getContext(), kind),
                                    AffineMapAttr::get(map({bytes})), AffineMapAttr());
}

Rows EntryLowering::newRows(StringRef name, AffineExpr count, int64_t width) {
  return {newBuffer(name, count * (4 * ld(width))), count, width, ld(width), 1, width, 0};
}

FailureOr<Rows> EntryLowering::rowsOf(Value value, Operation* user) {
  auto it = rows.find(value);
  if (it == rows.end())
    return user->emitOpError("cannot be lowered: operand ") << value << " is not held as float32 rows";
  return it->second;
}

Records EntryLowering::newRecords(AffineExpr count, int64_t groups, int64_t width, Activation form) {
  const int64_t bytes = kernels::rowBytes(rowForm(form), width);
  return {newBuffer("records", count * (groups * bytes)), 0, groups * bytes, bytes};
}

void EntryLowering::encode(const Rows& from, const Records& to, Activation form, StringRef label) {
  Config config;
  config.set("n", builder.getI64IntegerAttr(from.width));
  config.set("groups", builder.getI64IntegerAttr(from.groups));
  config.set("in_ld", builder.getI64IntegerAttr(from.ld));
  config.set("in_group_ld", builder.getI64IntegerAttr(from.groupLd));
  config.set("in_offset", builder.getI64IntegerAttr(from.offset));
  config.set("act", builder.getStringAttr(name(form)));
  config.set("act_stride", builder.getI64IntegerAttr(to.stride));
  config.set("act_batch_stride", builder.getI64IntegerAttr(to.batchStride));
  launch("encode", config,
         {{from.buffer, to.buffer}, from.count, {}, label.str()});
}

FailureOr<Records> EntryLowering::recordsOf(Value value, int64_t groups, int64_t width,
                                            Activation form, Operation* user) {
  if (form != Activation::kF32) {
    auto it = records[value].find(static_cast<int>(form));
    if (it != records[value].end()) return it->second;
  }
  auto x = rowsOf(value, user);
  if (failed(x)) return failure();
  Rows view = *x;
  if (view.groups == 1 && groups > 1) {  // a plain row seen as `groups` runs
    view.groups = groups;
    view.width = view.groupLd = width;
  }
  if (view.groups != groups || view.width != width)
    return user->emitOpError("cannot be lowered: expected an input of ")
           << groups << " x " << width << " elements, found " << view.groups << " x " << view.width;
  if (form == Activation::kF32) return Records{view.buffer, 4 * view.offset, 4 * view.ld, 4 * view.groupLd};
  const Records made = newRecords(view.count, groups, width, form);
  encode(view, made, form, label(user, "encode"));
  records[value][static_cast<int>(form)] = made;
  return made;
}

EntryLowering::Wanted EntryLowering::wantedOf(Value value, Operation* except) {
  Wanted wanted;
  for (OpOperand& use : value.getUses()) {
    Operation* user = use.getOwner();
    if (user == except) continue;
    Value weight;
    if (auto linear = dyn_cast<graph::LinearOp>(user)) {
      if (linear.getX() == value) weight = linear.getW();
      if (linear.getResidual() == value) wanted.f32 = true;
    } else if (auto swiglu = dyn_cast<graph::LinearSwigluOp>(user)) {
      weight = swiglu.getWGate();
    } else if (auto experts = dyn_cast<graph::MoeExpertsOp>(user)) {
      if (experts.getX() == value) weight = experts.getWUp();
      if (experts.getShared() == value || experts.getResidual() == value) wanted.f32 = true;
    }
    const Activation form = weight ? program.activationFor(encodingOf(weight)) : Activation::kF32;
    if (form == Activation::kF32) wanted.f32 = true;
    if (form == Activation::kBf16) wanted.bf16 = true;
    if (form == Activation::kI8) wanted.i8 = true;
  }
  return wanted;
}

bool EntryLowering::isLastUse(Value value, Operation* user) {
  Operation* made = value.getDefiningOp();
  if (!made || lastReader(value) != user) return false;
  if (!isView(made)) return true;
  // Columns that no other view of their rows shows.
  auto slice = dyn_cast<tensor::ExtractSliceOp>(made);
  if (!slice || slice.getType().getRank() != 2) return false;
  auto columns = [](tensor::ExtractSliceOp op) {
    return std::pair(op.getStaticOffsets()[1], op.getStaticOffsets()[1] + op.getType().getDimSize(1));
  };
  auto [begin, end] = columns(slice);
  for (Operation* other : slice.getSource().getUsers()) {
    if (other == made || isa<tensor::DimOp>(other)) continue;
    auto view = dyn_cast<tensor::ExtractSliceOp>(other);
    if (!view || view.getType().getRank() != 2) return false;
    auto [otherBegin, otherEnd] = columns(view);
    if (otherBegin < end && begin < otherEnd) return false;
  }
  Operation* source = slice.getSource().getDefiningOp();
  return source && !isView(source);
}

std::string EntryLowering::label(Operation* op, StringRef part) {
  // The builder names locations after the place in the model: "layers.3.mlp".
  if (auto named = op->getLoc()->findInstanceOf<NameLoc>())
    return (named.getName().getValue() + "/" + part).str();
  return part.str();
}

void EntryLowering::foldOffset(Config& config, StringRef name, Arg& arg, int64_t elementBytes) {
  const int64_t rest = arg.offset % program.profile.bindingAlignment();
  if (rest == 0) return;
  arg.offset -= rest;
  config.set(name, builder.getI64IntegerAttr(rest / elementBytes));
}

void EntryLowering::launch(StringRef family, Config config, Launch launch) {
  MLIRContext* context = builder.getContext();
  kernels::tuneConfig(program.profile, family, isPrefill(), context, config);
  const SmallVector<AffineMap> grid = kernels::kernelGrid(
      program.profile, family, config.getDictionary(context), launch.rows, B());
  SmallVector<Value> buffers;
  SmallVector<int64_t> offsets;
  for (const Arg& arg : launch.args) {
    buffers.push_back(arg.buffer);
    offsets.push_back(arg.offset);
  }
  SmallVector<AffineMap> push;
  for (AffineExpr expr : launch.push) push.push_back(map({expr}));
  const FlatSymbolRefAttr kernel = program.kernel(family, config.getDictionary(context),
                                                  buffers.size(), push.size());
  separate(buffers, launch.outputs);
  schedule::DispatchOp::create(builder, function.getLoc(), kernel, builder.getAffineMapArrayAttr(grid),
                               buffers, builder.getDenseI64ArrayAttr(offsets),
                               builder.getAffineMapArrayAttr(push), builder.getStringAttr(launch.label));
}

void EntryLowering::separate(ArrayRef<Value> buffers, unsigned outputs) {
  ArrayRef<Value> in = buffers.drop_back(outputs), out = buffers.take_back(outputs);
  auto touches = [](const llvm::SmallPtrSetImpl<void*>& set, ArrayRef<Value> values) {
    return llvm::any_of(values, [&](Value v) { return set.contains(v.getAsOpaquePointer()); });
  };
  // Read after write, write after write, write after read.
  if (touches(written, in) || touches(written, out) || touches(read, out)) {
    schedule::BarrierOp::create(builder, function.getLoc());
    written.clear();
    read.clear();
  }
  for (Value v : in) read.insert(v.getAsOpaquePointer());
  for (Value v : out) written.insert(v.getAsOpaquePointer());
}

}  // namespace fathom::lower
