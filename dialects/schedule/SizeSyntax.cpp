// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes: making, checking, printing and parsing them.
#include "dialects/schedule/SizeSyntax.h"

#include "llvm/Support/raw_ostream.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace fathom::schedule {

static constexpr StringLiteral kSymbolNames[kSizeSymbols] = {"T", "B", "P", "R"};

SizeSymbols::SizeSymbols(MLIRContext *context)
    : T(getAffineSymbolExpr(0, context)),
      B(getAffineSymbolExpr(1, context)),
      P(getAffineSymbolExpr(2, context)),
      R(getAffineSymbolExpr(3, context)) {}

AffineMap makeSize(AffineExpr expression) { return AffineMap::get(0, kSizeSymbols, expression); }

AffineMap makeSize(MLIRContext *context, int64_t constant) {
  return makeSize(getAffineConstantExpr(constant, context));
}

AffineMap makeMinimum(ArrayRef<AffineExpr> expressions) {
  return AffineMap::get(0, kSizeSymbols, expressions, expressions.front().getContext());
}

bool isValidSize(AffineMap size) {
  if (size.getNumDims() != 0 || size.getNumSymbols() != kSizeSymbols || size.getNumResults() == 0)
    return false;
  bool valid = true;
  for (AffineExpr result : size.getResults())
    result.walk([&](AffineExpr e) {
      if (e.getKind() == AffineExprKind::Mod || e.getKind() == AffineExprKind::DimId) valid = false;
    });
  return valid;
}

//===-- Printing ----------------------------------------------------------------------------===//

namespace {

StringRef spelling(AffineExprKind kind) {
  switch (kind) {
    case AffineExprKind::Add: return " + ";
    case AffineExprKind::Mul: return " * ";
    case AffineExprKind::FloorDiv: return " floordiv ";
    case AffineExprKind::CeilDiv: return " ceildiv ";
    case AffineExprKind::Mod: return " mod ";
    default: return "";
  }
}

// Operators but + bind equally and to the left, as the affine parser has it.
void printExpression(raw_ostream &os, AffineExpr expression) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expression)) {
    os << constant.getValue();
  } else if (auto symbol = dyn_cast<AffineSymbolExpr>(expression)) {
    if (symbol.getPosition() < kSizeSymbols)
      os << kSymbolNames[symbol.getPosition()];
    else
      os << "s" << symbol.getPosition();  // not a valid size; still shown in its error
  } else if (auto dim = dyn_cast<AffineDimExpr>(expression)) {
    os << "d" << dim.getPosition();
  } else {
    auto binary = cast<AffineBinaryOpExpr>(expression);
    auto operand = [&](AffineExpr e, bool parenthesised) {
      if (parenthesised) os << "(";
      printExpression(os, e);
      if (parenthesised) os << ")";
    };
    bool isSum = binary.getKind() == AffineExprKind::Add;
    operand(binary.getLHS(), !isSum && binary.getLHS().getKind() == AffineExprKind::Add);
    os << spelling(binary.getKind());
    AffineExpr rhs = binary.getRHS();
    operand(rhs, isa<AffineBinaryOpExpr>(rhs) &&
                     (!isSum || rhs.getKind() == AffineExprKind::Add));
  }
}

}  // namespace

std::string formatSize(AffineMap size) {
  std::string text;
  llvm::raw_string_ostream os(text);
  bool isMinimum = size.getNumResults() > 1;
  if (isMinimum) os << "min(";
  llvm::interleaveComma(size.getResults(), os, [&](AffineExpr e) { printExpression(os, e); });
  if (isMinimum) os << ")";
  return text;
}

// Anything but four symbols has no spelling in T, B, P, R; it is printed, and fails to verify.
void printSize(OpAsmPrinter &printer, Operation *, AffineMapAttr size) {
  printer << formatSize(size.getValue());
}

void printSizes(OpAsmPrinter &printer, Operation *, ArrayAttr sizes) {
  printer << "(";
  llvm::interleaveComma(sizes.getAsRange<AffineMapAttr>(), printer,
                        [&](AffineMapAttr size) { printer << formatSize(size.getValue()); });
  printer << ")";
}

void printCount(OpAsmPrinter &printer, Operation *, IntegerAttr count) {
  printer << count.getInt();
}

void printBindings(OpAsmPrinter &printer, Operation *, OperandRange buffers, TypeRange,
                   DenseI64ArrayAttr offsets) {
  printer << "(";
  for (auto [i, buffer] : llvm::enumerate(buffers)) {
    if (i > 0) printer << ", ";
    printer << buffer;
    if (i < static_cast<size_t>(offsets.size()) && offsets[i] != 0) printer << " + " << offsets[i];
  }
  printer << ")";
}

//===-- Parsing -----------------------------------------------------------------------------===//

ParseResult parseSize(OpAsmParser &parser, AffineMapAttr &size) {
  MLIRContext *context = parser.getContext();
  SmallVector<std::pair<StringRef, AffineExpr>> symbols;
  for (auto [i, name] : llvm::enumerate(kSymbolNames))
    symbols.emplace_back(name, getAffineSymbolExpr(i, context));
  SmallVector<AffineExpr> results;
  auto parseExpression = [&] { return parser.parseAffineExpr(symbols, results.emplace_back()); };
  if (succeeded(parser.parseOptionalKeyword("min"))) {
    if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseExpression) ||
        results.empty())
      return failure();
  } else if (parseExpression()) {
    return failure();
  }
  size = AffineMapAttr::get(AffineMap::get(0, kSizeSymbols, results, context));
  return success();
}

ParseResult parseSizes(OpAsmParser &parser, ArrayAttr &sizes) {
  SmallVector<Attribute> list;
  auto parseOne = [&]() -> ParseResult {
    AffineMapAttr size;
    if (parseSize(parser, size)) return failure();
    list.push_back(size);
    return success();
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseOne)) return failure();
  sizes = parser.getBuilder().getArrayAttr(list);
  return success();
}

ParseResult parseCount(OpAsmParser &parser, IntegerAttr &count) {
  int64_t value;
  if (parser.parseInteger(value)) return failure();
  count = parser.getBuilder().getI64IntegerAttr(value);
  return success();
}

ParseResult parseBindings(OpAsmParser &parser, Operands &buffers, SmallVectorImpl<Type> &types,
                          DenseI64ArrayAttr &offsets) {
  SmallVector<int64_t> bytes;
  auto parseOne = [&]() -> ParseResult {
    if (parser.parseOperand(buffers.emplace_back())) return failure();
    types.push_back(BufferType::get(parser.getContext()));
    bytes.push_back(0);
    if (succeeded(parser.parseOptionalPlus())) return parser.parseInteger(bytes.back());
    return success();
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseOne)) return failure();
  offsets = parser.getBuilder().getDenseI64ArrayAttr(bytes);
  return success();
}

}  // namespace fathom::schedule
