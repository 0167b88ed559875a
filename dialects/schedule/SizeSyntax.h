// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The textual form of sizes, counts and bindings; called by the ops' generated code.
#ifndef FATHOM_DIALECTS_SCHEDULE_SIZESYNTAX_H
#define FATHOM_DIALECTS_SCHEDULE_SIZESYNTAX_H

#include "dialects/schedule/Schedule.h"

namespace fathom::schedule {

// size ::= expression | `min` `(` expression (`,` expression)+ `)`
mlir::ParseResult parseSize(mlir::OpAsmParser &parser, mlir::AffineMapAttr &size);
void printSize(mlir::OpAsmPrinter &printer, mlir::Operation *op, mlir::AffineMapAttr size);

// sizes ::= `(` (size (`,` size)*)? `)`
mlir::ParseResult parseSizes(mlir::OpAsmParser &parser, mlir::ArrayAttr &sizes);
void printSizes(mlir::OpAsmPrinter &printer, mlir::Operation *op, mlir::ArrayAttr sizes);

mlir::ParseResult parseCount(mlir::OpAsmParser &parser, mlir::IntegerAttr &count);
void printCount(mlir::OpAsmPrinter &printer, mlir::Operation *op, mlir::IntegerAttr count);

// bindings ::= `(` (operand (`+` integer)? (`,` operand (`+` integer)?)*)? `)`
using Operands = llvm::SmallVectorImpl<mlir::OpAsmParser::UnresolvedOperand>;
mlir::ParseResult parseBindings(mlir::OpAsmParser &parser, Operands &buffers,
                                llvm::SmallVectorImpl<mlir::Type> &types,
                                mlir::DenseI64ArrayAttr &offsets);
void printBindings(mlir::OpAsmPrinter &printer, mlir::Operation *op, mlir::OperandRange buffers,
                   mlir::TypeRange types, mlir::DenseI64ArrayAttr offsets);

}  // namespace fathom::schedule

#endif  // FATHOM_DIALECTS_SCHEDULE_SIZESYNTAX_H
