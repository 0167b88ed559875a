// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weight references, RoPE tables and encodings: verifiers, builders and the syntax of names.
#include "dialects/graph/Verify.h"
#include "llvm/ADT/StringExtras.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace fathom::graph {

//===-- param -------------------------------------------------------------------------------===//

LogicalResult ParamOp::verify() {
  auto names = getNames().getAsRange<StringAttr>();
  if (getNames().empty() || llvm::any_of(names, [](StringAttr n) { return n.empty(); }))  // C1
    return emitOpError("C1: needs at least one name, and no empty one");
  RankedTensorType type = getType();
  int64_t count = getNames().size();
  if (count > 1 && (type.getRank() < 2 || type.getDimSize(0) != count))  // C2
    return emitOpError() << "C2: " << count << " names stack to a leading dimension of " << count
                         << " and rank >= 2, got " << type;
  return success();
}

void ParamOp::build(OpBuilder &builder, OperationState &state, RankedTensorType type,
                    StringRef name) {
  build(builder, state, type, builder.getStrArrayAttr({name}));
}

namespace {

// names[i] = prefix + (first + i) + suffix, for at least two names.
struct NameRange {
  StringRef prefix, suffix;
  uint64_t first;
};

/// The number without sign or leading zero that starts `text`; its length goes to `length`.
std::optional<uint64_t> leadingNumber(StringRef text, size_t &length) {
  length = text.take_while(llvm::isDigit).size();
  uint64_t number;
  if (length == 0 || (length > 1 && text[0] == '0') ||
      text.take_front(length).getAsInteger(10, number))
    return std::nullopt;
  return number;
}

std::optional<NameRange> findRange(ArrayRef<Attribute> names) {
  if (names.size() < 2) return std::nullopt;
  StringRef first = cast<StringAttr>(names[0]).getValue();
  StringRef second = cast<StringAttr>(names[1]).getValue();
  // The running number starts at or before the first difference: 9 -> 10 differs at its start,
  // 10 -> 11 in its middle.
  size_t start = 0;
  while (start < first.size() && start < second.size() && first[start] == second[start]) ++start;
  while (start > 0 && llvm::isDigit(first[start - 1])) --start;
  size_t length;
  std::optional<uint64_t> number = leadingNumber(first.drop_front(start), length);
  if (!number || *number > UINT64_MAX - names.size()) return std::nullopt;
  NameRange range{first.take_front(start), first.drop_front(start + length), *number};
  for (auto [i, name] : llvm::enumerate(names))
    if (cast<StringAttr>(name).getValue() !=
        (range.prefix + Twine(range.first + i) + range.suffix).str())
      return std::nullopt;
  return range;
}

}  // namespace

// "name" | ["name", "name"] | "prefix" [first to end] "suffix"
static void printNames(OpAsmPrinter &printer, Operation *, ArrayAttr names) {
  if (names.size() == 1)
    printer.printString(cast<StringAttr>(names[0]).getValue());
  else if (std::optional<NameRange> range = findRange(names.getValue())) {
    printer.printString(range->prefix);
    printer << " [" << range->first << " to " << range->first + names.size() << "] ";
    printer.printString(range->suffix);
  } else
    printer.printAttributeWithoutType(names);
}

static ParseResult parseNames(OpAsmParser &parser, ArrayAttr &names) {
  Builder &builder = parser.getBuilder();
  std::string prefix, suffix;
  SMLoc where = parser.getCurrentLocation();
  if (failed(parser.parseOptionalString(&prefix))) return parser.parseAttribute(names);
  if (failed(parser.parseOptionalLSquare())) {
    names = builder.getStrArrayAttr({prefix});
    return success();
  }
  uint64_t first = 0, end = 0;
  if (parser.parseInteger(first) || parser.parseKeyword("to") || parser.parseInteger(end) ||
      parser.parseRSquare() || parser.parseString(&suffix))
    return failure();
  // A range that no model has would only fill memory.
  if (first >= end || end - first > (1 << 20))
    return parser.emitError(where) << "the range [" << first << " to " << end
                                   << "] must hold between 1 and 2^20 names";
  SmallVector<Attribute> list;
  for (uint64_t i = first; i < end; ++i)
    list.push_back(builder.getStringAttr(prefix + Twine(i) + suffix));
  names = builder.getArrayAttr(list);
  return success();
}

//===-- rope_table --------------------------------------------------------------------------===//

LogicalResult RopeTableOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                            Adaptor op, SmallVectorImpl<Type> &types) {
  int64_t rows = kRopeTablePeriod + (op.getMaxPosition() + kRopeTablePeriod - 1) / kRopeTablePeriod;
  types.push_back(rowsType(context, rows, 2 * op.getInvFreq().size()));
  return success();
}

LogicalResult RopeTableOp::verify() {
  if (getInvFreq().empty() || !llvm::all_of(getInvFreq(), isPositive))  // C1
    return emitOpError("C1: inv_freq must hold finite numbers greater than 0");
  if (getMaxPosition() <= 0 || getMaxPosition() > (int64_t{1} << 30))  // C2
    return emitOpError() << "C2: max_position must be in [1, 2^30], got " << getMaxPosition();
  return verifyResults(*this, "C3");  // C3
}

//===-- encode ------------------------------------------------------------------------------===//

LogicalResult EncodeOp::verify() {
  if (getEncoding(getW().getType()))  // C1
    return emitOpError() << "C1: w is encoded already: " << getW().getType();
  if (!getEncoding(getType()))  // C2
    return emitOpError() << "C2: the result has no encoding: " << getType();
  if (getW().getType().getShape() != getType().getShape())  // C3
    return emitOpError() << "C3: the shapes differ: " << getW().getType() << " and " << getType();
  return success();
}

void EncodeOp::build(OpBuilder &builder, OperationState &state, Value w, Encoding encoding) {
  build(builder, state, getEncodedType(cast<RankedTensorType>(w.getType()), encoding), w);
}

}  // namespace fathom::graph

// The generated code of every op: here, because it calls printNames and parseNames.
#define GET_OP_CLASSES
#include "dialects/graph/GraphOps.cpp.inc"
