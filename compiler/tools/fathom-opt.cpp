// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom-opt: the usual MLIR tool over our dialects and passes.
#include "compiler/pipeline/Pipeline.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  // What a graph, a schedule and the bodies of kernels are written in.
  fathom::registerFathomDialects(registry);
  registry.insert<mlir::affine::AffineDialect, mlir::cf::ControlFlowDialect, mlir::ub::UBDialect>();
  mlir::registerTransformsPasses();
  fathom::registerFathomPasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Fathom's passes on textual IR\n", registry));
}
