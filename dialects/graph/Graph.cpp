// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The graph dialect: registration, the encoding attribute, module attributes, facts about types.
#include "dialects/graph/Graph.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

#include "dialects/graph/GraphDialect.cpp.inc"
#include "dialects/graph/GraphEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/graph/GraphAttrs.cpp.inc"

using namespace mlir;

namespace fathom::graph {

void GraphDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/graph/GraphAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/graph/GraphOps.cpp.inc"
      >();
}

//===-- The encoding attribute --------------------------------------------------------------===//

LogicalResult EncodingAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                           function_ref<InFlightDiagnostic()> emitError) const {
  for (int64_t size : shape)
    if (ShapedType::isDynamic(size) || size <= 0)  // C1
      return emitError() << "C1: an encoded tensor's shape is static and without 0";
  bool isI32 = getKind() == Encoding::RawI32;
  if (isI32 ? !elementType.isSignlessInteger(32) : !elementType.isF32())  // C2
    return emitError() << "C2: the element type of a tensor encoded as "
                       << stringifyEncoding(getKind()) << " is " << (isI32 ? "i32" : "f32")
                       << ", got " << elementType;
  if (!isRaw(getKind()) && shape.size() != 2 && shape.size() != 3)  // C3
    return emitError() << "C3: a tensor encoded as " << stringifyEncoding(getKind())
                       << " has rank 2 or 3, got " << shape.size();
  return success();
}

std::optional<Encoding> getEncoding(Type type) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    if (auto encoding = dyn_cast_if_present<EncodingAttr>(tensor.getEncoding()))
      return encoding.getKind();
  return std::nullopt;
}

RankedTensorType getEncodedType(RankedTensorType type, Encoding encoding) {
  MLIRContext *context = type.getContext();
  Type element = encoding == Encoding::RawI32 ? Type(IntegerType::get(context, 32))
                                              : Type(Float32Type::get(context));
  return RankedTensorType::get(type.getShape(), element, EncodingAttr::get(context, encoding));
}

RankedTensorType dropEncoding(RankedTensorType type) {
  return RankedTensorType::get(type.getShape(), type.getElementType());
}

namespace {

// How tile16 stores a matrix: columns per step, and bytes of a step of one tile of 16 rows.
struct TileStep {
  int64_t columns;
  int64_t bytes;
};

TileStep tileStep(Encoding encoding) {
  switch (encoding) {
    case Encoding::BF16: return {2, 64};
    case Encoding::Q8: return {64, 1088};
    case Encoding::Q4: return {64, 576};
    default: return {1, 64};
  }
}

std::optional<int64_t> checkedProduct(ArrayRef<int64_t> factors) {
  std::optional<int64_t> product = 1;
  for (int64_t factor : factors)
    if (product) product = llvm::checkedMul(*product, factor);
  return product;
}

}  // namespace

std::optional<int64_t> getEncodedBytes(RankedTensorType type) {
  std::optional<Encoding> encoding = getEncoding(type);
  if (!encoding) return std::nullopt;
  std::optional<int64_t> outer, inner;
  if (isRaw(*encoding)) {
    outer = checkedProduct(type.getShape());
    inner = 4;
  } else {
    TileStep step = tileStep(*encoding);
    int64_t rows = type.getShape().end()[-2], columns = type.getShape().back();
    outer = checkedProduct(type.getShape().drop_back(2));
    inner = checkedProduct({(rows - 1) / 16 + 1, (columns - 1) / step.columns + 1, step.bytes});
  }
  return outer && inner ? llvm::checkedMul(*outer, *inner) : std::nullopt;
}

bool isWeightView(Operation *op) {
  return isa<tensor::ExtractSliceOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp,
             tensor::ConcatOp, tensor::EmptyOp, linalg::TransposeOp>(op);
}

//===-- Module attributes -------------------------------------------------------------------===//

namespace {

/// The fields of a dictionary attribute; a `*` marks a string, the others are integers >= 0.
LogicalResult verifyFields(Operation *op, StringRef name, Attribute attribute,
                           ArrayRef<StringRef> fields) {
  auto dictionary = dyn_cast<DictionaryAttr>(attribute);
  if (!dictionary) return op->emitError() << "'" << name << "' must be a dictionary";
  for (StringRef field : fields) {
    bool isString = field.consume_back("*");
    Attribute value = dictionary.get(field);
    if (!value) return op->emitError() << "'" << name << "' lacks '" << field << "'";
    if (isString ? !isa<StringAttr>(value) : !isa<IntegerAttr>(value))
      return op->emitError() << "'" << name << "': '" << field << "' must be "
                             << (isString ? "a string" : "an integer") << ", got " << value;
    if (!isString && cast<IntegerAttr>(value).getValue().isNegative())
      return op->emitError() << "'" << name << "': '" << field << "' is negative: " << value;
  }
  if (dictionary.size() != fields.size())
    return op->emitError() << "'" << name << "' has " << dictionary.size() << " fields, expected "
                           << fields.size();
  return success();
}

}  // namespace

LogicalResult GraphDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  StringRef name = attribute.getName();
  if (name != kModelAttr && name != kKvAttr)
    return op->emitError() << "the graph dialect has no attribute '" << name << "'";
  if (!isa<ModuleOp>(op)) return op->emitError() << "'" << name << "' belongs on a module";
  if (name == kModelAttr)
    return verifyFields(op, name, attribute.getValue(),
                        {"name*", "architecture*", "parameters", "context_length", "vocab_size",
                         "hidden_size", "layers"});
  if (failed(verifyFields(op, name, attribute.getValue(), {"layers", "row_elements", "kind*"})))
    return failure();
  StringRef kind = cast<DictionaryAttr>(attribute.getValue()).getAs<StringAttr>("kind").getValue();
  if (kind != "latent" && kind != "gqa")
    return op->emitError() << "'" << name << "': 'kind' must be \"latent\" or \"gqa\", got \""
                           << kind << "\"";
  return success();
}

std::optional<KvLayout> getKvLayout(Operation *op) {
  for (; op; op = op->getParentOp()) {
    auto kv = op->getAttrOfType<DictionaryAttr>(kKvAttr);
    if (!kv) continue;
    auto layers = kv.getAs<IntegerAttr>("layers");
    auto elements = kv.getAs<IntegerAttr>("row_elements");
    auto kind = kv.getAs<StringAttr>("kind");
    if (!layers || !elements || !kind) return std::nullopt;
    return KvLayout{layers.getInt(), elements.getInt(), kind.getValue() == "latent"};
  }
  return std::nullopt;
}

DictionaryAttr makeKvAttr(MLIRContext *context, const KvLayout &layout) {
  Builder b(context);
  return b.getDictionaryAttr(
      {b.getNamedAttr("layers", b.getI64IntegerAttr(layout.layers)),
       b.getNamedAttr("row_elements", b.getI64IntegerAttr(layout.rowElements)),
       b.getNamedAttr("kind", b.getStringAttr(layout.latent ? "latent" : "gqa"))});
}

//===-- Operand types -----------------------------------------------------------------------===//

static RankedTensorType asTensor(Type type, int64_t rank) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == rank ? tensor : RankedTensorType();
}

// Static, not empty, and no larger than 63 bits can count.
static bool hasSize(RankedTensorType type) {
  if (!type.hasStaticShape() || llvm::is_contained(type.getShape(), 0)) return false;
  return checkedProduct(type.getShape()).has_value();
}

bool isRows(Type type) {
  auto tensor = asTensor(type, 2);
  return tensor && tensor.getElementType().isF32() && !tensor.getEncoding() &&
         !tensor.isDynamicDim(1) && tensor.getDimSize(1) > 0;
}

bool isIds(Type type, int64_t rank) {
  auto tensor = asTensor(type, rank);
  return tensor && tensor.getElementType().isSignlessInteger(32) && !tensor.getEncoding();
}

bool isFloats(Type type) {
  auto tensor = asTensor(type, 1);
  return tensor && tensor.getElementType().isF32() && !tensor.getEncoding();
}

bool isStored(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && !tensor.getEncoding() && isWeight(type);
}

bool isWeight(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !hasSize(tensor)) return false;
  if (tensor.getEncoding() && !getEncoding(type)) return false;
  Type element = tensor.getElementType();
  return isa<Float32Type, Float16Type, BFloat16Type, Float8E4M3FNType, Float8E5M2Type>(element) ||
         element.isSignlessInteger(32);
}

bool isMatrix(Type type, int64_t minRank, int64_t maxRank) {
  if (!isWeight(type)) return false;
  auto tensor = cast<RankedTensorType>(type);
  std::optional<Encoding> encoding = getEncoding(type);
  return isa<FloatType>(tensor.getElementType()) && tensor.getRank() >= minRank &&
         tensor.getRank() <= maxRank && (!encoding || !isRaw(*encoding));
}

bool isPlain(Type type, int64_t rank) {
  if (!isWeight(type)) return false;
  auto tensor = cast<RankedTensorType>(type);
  std::optional<Encoding> encoding = getEncoding(type);
  return isa<FloatType>(tensor.getElementType()) && tensor.getRank() == rank &&
         (!encoding || *encoding == Encoding::RawF32);
}

}  // namespace fathom::graph
