// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The schedule dialect: the one header to include for its ops, types and sizes.
#ifndef FATHOM_DIALECTS_SCHEDULE_SCHEDULE_H
#define FATHOM_DIALECTS_SCHEDULE_SCHEDULE_H

#include <cstdint>
#include <string>

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/schedule/ScheduleDialect.h.inc"
#include "dialects/schedule/ScheduleEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/schedule/ScheduleAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/schedule/ScheduleTypes.h.inc"

namespace fathom::schedule {

/// The symbols of a call, numbered as in the artifact: T tokens, B sequences, P pages per sequence,
/// R rows that want logits.
inline constexpr unsigned kSizeSymbols = 4;
struct SizeSymbols {
  explicit SizeSymbols(mlir::MLIRContext *context);
  mlir::AffineExpr T, B, P, R;
};

/// A size: the expression itself, a constant, or the minimum of several expressions.
mlir::AffineMap makeSize(mlir::AffineExpr expression);
mlir::AffineMap makeSize(mlir::MLIRContext *context, int64_t constant);
mlir::AffineMap makeMinimum(llvm::ArrayRef<mlir::AffineExpr> expressions);

/// No dimensions, the four symbols, at least one result, and nothing but constants, symbols, +, *,
/// floordiv and ceildiv: what the artifact's expressions can say.
bool isValidSize(mlir::AffineMap size);

/// As it is printed: "T * 64", "min(64, T * 6)".
std::string formatSize(mlir::AffineMap size);

}  // namespace fathom::schedule

#define GET_OP_CLASSES
#include "dialects/schedule/ScheduleOps.h.inc"

#endif  // FATHOM_DIALECTS_SCHEDULE_SCHEDULE_H
