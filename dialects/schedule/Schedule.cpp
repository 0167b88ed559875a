// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The schedule dialect: registration, builders and verifiers.
#include "dialects/schedule/Schedule.h"

#include "dialects/graph/Graph.h"
#include "dialects/schedule/SizeSyntax.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

#include "dialects/schedule/ScheduleDialect.cpp.inc"
#include "dialects/schedule/ScheduleEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/schedule/ScheduleAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/schedule/ScheduleTypes.cpp.inc"

using namespace mlir;

namespace fathom::schedule {

void ScheduleDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/schedule/ScheduleAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/schedule/ScheduleTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/schedule/ScheduleOps.cpp.inc"
      >();
}

//===-- weight ------------------------------------------------------------------------------===//

void WeightOp::build(OpBuilder &builder, OperationState &state, StringRef name,
                     RankedTensorType type) {
  auto &properties = state.getOrAddProperties<Properties>();
  properties.sym_name = builder.getStringAttr(name);
  properties.type = TypeAttr::get(type);
  state.addRegion()->emplaceBlock();
}

Value WeightOp::getYielded() {
  return cast<YieldOp>(getBody().front().getTerminator()).getValue();
}

LogicalResult WeightOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !graph::getEncoding(type))  // C1
    return emitOpError() << "C1: the type must be an encoded tensor, got " << getType();
  Block &block = getBody().front();
  for (Operation &op : block.without_terminator())
    if (!isa<graph::ParamOp, graph::RopeTableOp>(op) && !graph::isWeightView(&op))  // C2
      return emitOpError() << "C2: '" << op.getName() << "' is no reference to a weight nor a view";
  if (block.empty() || !isa<YieldOp>(block.back()))  // C2
    return emitOpError("C2: the body must end in schedule.yield");
  auto yielded = cast<RankedTensorType>(getYielded().getType());
  if (yielded.getEncoding() || yielded.getShape() != type.getShape())  // C3
    return emitOpError() << "C3: must yield a tensor without encoding and of the shape of " << type
                         << ", got " << yielded;
  return success();
}

//===-- program -----------------------------------------------------------------------------===//

void ProgramOp::build(OpBuilder &builder, OperationState &state, StringRef name, StringRef target,
                      StringRef driver, ArrayRef<StringRef> features, DictionaryAttr kv) {
  auto &properties = state.getOrAddProperties<Properties>();
  properties.sym_name = builder.getStringAttr(name);
  properties.target = builder.getStringAttr(target);
  properties.driver = builder.getStringAttr(driver);
  properties.features = builder.getStrArrayAttr(features);
  properties.kv = kv;
  state.addRegion()->emplaceBlock();
}

static LogicalResult verifyPages(ProgramOp op, DictionaryAttr kv) {
  int64_t values[4];
  StringRef names[4] = {"page_tokens", "layers", "row_bytes", "page_bytes"};
  for (auto [name, value] : llvm::zip(names, values)) {
    auto field = kv.getAs<IntegerAttr>(name);
    if (!field || !field.getType().isSignlessInteger(64) || field.getInt() <= 0)
      return op.emitOpError() << "C2: kv needs the integer '" << name << "' greater than 0";
    value = field.getInt();
  }
  int64_t product;
  if (kv.size() != 4 || __builtin_mul_overflow(values[0], values[1], &product) ||
      __builtin_mul_overflow(product, values[2], &product) || product != values[3])
    return op.emitOpError() << "C2: kv must be page_tokens, layers, row_bytes and their product "
                               "page_bytes, got "
                            << kv;
  return success();
}

LogicalResult ProgramOp::verify() {
  auto features = getFeatures().getAsRange<StringAttr>();
  if (getTarget().empty() || getDriver().empty() ||
      llvm::any_of(features, [](StringAttr f) { return f.empty(); }))  // C1
    return emitOpError("C1: target, driver and features must not be empty strings");
  if (getKv() && failed(verifyPages(*this, *getKv())))  // C2
    return failure();
  for (Operation &op : getBody().front())
    if (!isa<KernelOp, EntryOp>(op))  // C3
      return emitOpError() << "C3: holds kernels and entries, got '" << op.getName() << "'";
  return success();
}

LogicalResult KernelOp::verify() {
  if (getFamily().empty())  // C1
    return emitOpError("C1: family must not be empty");
  if (getBindings() <= 0 || getPush() < 0)  // C2
    return emitOpError() << "C2: bindings must be greater than 0 and push not negative, got "
                         << getBindings() << " and " << getPush();
  return success();
}

//===-- entry -------------------------------------------------------------------------------===//

void EntryOp::build(OpBuilder &builder, OperationState &state, StringRef name) {
  state.getOrAddProperties<Properties>().sym_name = builder.getStringAttr(name);
  state.addRegion()->emplaceBlock();
}

LogicalResult EntryOp::verify() {
  llvm::StringSet<> names;
  bool hasCache = false;
  for (Operation &op : getBody().front()) {
    if (!isa<BufferOp, UseWeightOp, UseCacheOp, DispatchOp, BarrierOp>(op))  // C1
      return emitOpError()
             << "C1: holds buffers, weights, layers of the cache, dispatches and barriers, got '"
             << op.getName() << "'";
    auto buffer = dyn_cast<BufferOp>(op);
    if (!buffer) continue;
    if (buffer.getKind() != BufferKind::Transient && !names.insert(buffer.getName()).second)  // C2
      return emitOpError() << "C2: two inputs, outputs or caches are called \"" << buffer.getName()
                           << "\"";
    if (buffer.getKind() == BufferKind::KvCache && std::exchange(hasCache, true))  // C2
      return emitOpError("C2: has two kv_cache buffers");
    if (buffer.getKind() == BufferKind::Transient &&
        getArena().has_value() != buffer.getOffset().has_value())  // C4
      return emitOpError() << "C4: buffer \"" << buffer.getName() << "\" has "
                           << (getArena() ? "no offset although there is an arena"
                                          : "an offset although there is no arena");
  }
  if (getArena() && !isValidSize(*getArena()))  // C3
    return emitOpError() << "C3: arena is no valid size: " << formatSize(*getArena());
  return success();
}

//===-- buffer, use_weight ------------------------------------------------------------------===//

void BufferOp::getAsmResultNames(function_ref<void(Value, StringRef)> setName) {
  setName(getResult(), getName());
}

LogicalResult BufferOp::verify() {
  if (getName().empty())  // C1
    return emitOpError("C1: the name must not be empty");
  if (!isValidSize(getSize()) || (getOffset() && !isValidSize(*getOffset())))  // C2
    return emitOpError() << "C2: not a valid size: "
                         << formatSize(isValidSize(getSize()) ? *getOffset() : getSize());
  if (getOffset() && getKind() != BufferKind::Transient)  // C3
    return emitOpError() << "C3: only a transient buffer has an offset, this is "
                         << stringifyBufferKind(getKind());
  return success();
}

void UseWeightOp::build(OpBuilder &builder, OperationState &state, FlatSymbolRefAttr weight) {
  state.getOrAddProperties<Properties>().weight = weight;
  state.addTypes(BufferType::get(builder.getContext()));
}

void UseWeightOp::build(OpBuilder &builder, OperationState &state, FlatSymbolRefAttr weight,
                        int64_t offset, int64_t length) {
  build(builder, state, weight);
  state.getOrAddProperties<Properties>().offset = builder.getI64IntegerAttr(offset);
  state.getOrAddProperties<Properties>().length = builder.getI64IntegerAttr(length);
}

LogicalResult UseWeightOp::verify() {
  const bool valid = getOffset() ? *getOffset() >= 0 && getLength() && *getLength() > 0 : !getLength();
  if (!valid)  // C2
    return emitOpError("C2: expected an offset that is not negative and a length greater than 0, or "
                       "none of them");
  return success();
}

void UseWeightOp::getAsmResultNames(function_ref<void(Value, StringRef)> setName) {
  setName(getResult(), "w");
}

LogicalResult UseWeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto module = (*this)->getParentOfType<ModuleOp>();
  if (!module || !symbols.lookupSymbolIn<WeightOp>(module, getWeightAttr()))  // C1
    return emitOpError() << "C1: the module has no weight " << getWeightAttr();
  return success();
}

void UseCacheOp::getAsmResultNames(function_ref<void(Value, StringRef)> setName) {
  setName(getResult(), "layer" + std::to_string(getLayer()));
}

LogicalResult UseCacheOp::verify() {
  auto buffer = getCache().getDefiningOp<BufferOp>();
  if (!buffer || buffer.getKind() != BufferKind::KvCache)  // C1
    return emitOpError("C1: the operand must be a kv_cache buffer");
  auto program = (*this)->getParentOfType<ProgramOp>();
  auto layers = program && program.getKv() ? program.getKv()->getAs<IntegerAttr>("layers")
                                           : IntegerAttr();
  if (getLayer() < 0 || (layers && getLayer() >= layers.getInt()))  // C2
    return emitOpError() << "C2: no layer " << getLayer() << " in a cache of "
                         << (layers ? std::to_string(layers.getInt()) : "some") << " layers";
  return success();
}

//===-- dispatch ----------------------------------------------------------------------------===//

LogicalResult DispatchOp::verify() {
  for (auto [value, offset] : llvm::zip(getBuffers(), getOffsets())) {
    auto buffer = value.getDefiningOp<BufferOp>();
    if (buffer && buffer.getKind() == BufferKind::KvCache)  // C5
      return emitOpError("C5: binds the cache as a whole; bind a layer of it");
    if (offset != 0 && value.getDefiningOp<UseCacheOp>())  // C5
      return emitOpError() << "C5: binds a layer of the cache from byte " << offset << " on";
  }
  if (getOffsets().size() != getBuffers().size() ||
      llvm::any_of(getOffsets(), [](int64_t offset) { return offset < 0; }))  // C2
    return emitOpError() << "C2: each of the " << getBuffers().size()
                         << " buffers needs an offset that is not negative";
  for (ArrayAttr sizes : {getGrid(), getPush()})
    for (auto size : sizes.getAsRange<AffineMapAttr>())
      if (!isValidSize(size.getValue()))  // C3
        return emitOpError() << "C3: not a valid size: " << formatSize(size.getValue());
  return success();
}

LogicalResult DispatchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto program = (*this)->getParentOfType<ProgramOp>();
  auto kernel = program ? symbols.lookupSymbolIn<KernelOp>(program, getKernelAttr()) : KernelOp();
  if (!kernel)  // C1
    return emitOpError() << "C1: the program has no kernel " << getKernelAttr();
  if (static_cast<int64_t>(getBuffers().size()) != kernel.getBindings())  // C2
    return emitOpError() << "C2: passes " << getBuffers().size() << " buffers, "
                         << getKernelAttr() << " has " << kernel.getBindings() << " bindings";
  if (static_cast<int64_t>(getPush().size()) != kernel.getPush())  // C4
    return emitOpError() << "C4: passes " << getPush().size() << " push values, "
                         << getKernelAttr() << " has " << kernel.getPush();
  return success();
}

}  // namespace fathom::schedule

#define GET_OP_CLASSES
#include "dialects/schedule/ScheduleOps.cpp.inc"
