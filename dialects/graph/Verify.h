// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the verifiers of the graph dialect share: agreement of sizes, result types, cache facts.
#ifndef FATHOM_DIALECTS_GRAPH_VERIFY_H
#define FATHOM_DIALECTS_GRAPH_VERIFY_H

#include <cmath>

#include "dialects/graph/Graph.h"

namespace fathom::graph {

/// Sizes agree when they are equal or one of them is only known at run time.
inline bool agree(int64_t a, int64_t b) {
  return a == b || mlir::ShapedType::isDynamic(a) || mlir::ShapedType::isDynamic(b);
}

inline int64_t dim(mlir::TypedValue<mlir::RankedTensorType> value, unsigned i) {
  return value.getType().getDimSize(i);
}

/// f32 [rows, columns].
inline mlir::RankedTensorType rowsType(mlir::MLIRContext *context, int64_t rows, int64_t columns) {
  return mlir::RankedTensorType::get({rows, columns}, mlir::Float32Type::get(context));
}

inline bool isPositive(double x) { return std::isfinite(x) && x > 0; }
inline bool isNotNegative(double x) { return std::isfinite(x) && x >= 0; }

/// a * b, or -1 (which no dimension equals) when it does not fit or an operand is negative.
int64_t product(int64_t a, int64_t b);

/// Checks that the results have the types the op infers; `label` names the constraint.
template <typename OpT>
llvm::LogicalResult verifyResults(OpT op, llvm::StringRef label) {
  llvm::SmallVector<mlir::Type> expected;
  if (failed(OpT::inferReturnTypes(op.getContext(), op.getLoc(), typename OpT::Adaptor(op),
                                   expected)))
    return op.emitOpError() << label << ": the result types cannot be inferred";
  for (auto [i, type] : llvm::enumerate(expected))
    if (type != op->getResult(i).getType())
      return op.emitOpError() << label << ": result #" << i << " must be " << type << ", got "
                              << op->getResult(i).getType();
  return llvm::success();
}

/// Checks positions and sequence against T, page_table against context_length.
llvm::LogicalResult verifyBatch(mlir::Operation *op, llvm::StringRef label, int64_t tokens,
                                mlir::TypedValue<mlir::RankedTensorType> positions,
                                mlir::TypedValue<mlir::RankedTensorType> sequence,
                                mlir::TypedValue<mlir::RankedTensorType> pageTable,
                                mlir::TypedValue<mlir::RankedTensorType> contextLength);

/// Checks a layer number and a row against the module's graph.kv, where there is one.
llvm::LogicalResult verifyCacheUse(mlir::Operation *op, llvm::StringRef label, int64_t layer,
                                   bool latent, int64_t rowElements);

}  // namespace fathom::graph

#endif  // FATHOM_DIALECTS_GRAPH_VERIFY_H
