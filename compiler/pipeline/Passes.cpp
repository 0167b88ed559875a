// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which passes make up each phase, and their registration.
#include "compiler/fuse/Passes.h"
#include "compiler/kernels/Kernels.h"
#include "compiler/lower/Passes.h"
#include "compiler/pipeline/Pipeline.h"
#include "compiler/quantize/Passes.h"
#include "compiler/schedule/Passes.h"
#include "dialects/graph/Graph.h"
#include "dialects/schedule/Schedule.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace fathom {

void registerFathomDialects(DialectRegistry& registry) {
  registry.insert<graph::GraphDialect, schedule::ScheduleDialect, arith::ArithDialect,
                  func::FuncDialect, linalg::LinalgDialect, tensor::TensorDialect>();
  kernels::registerKernelDialects(registry);
}

void registerFathomPasses() {
  fuse::registerFusePasses();
  quantize::registerQuantizePasses();
  lower::registerLowerPasses();
  schedule::registerSchedulePasses();
  // Phases as pipelines: --fathom-phase-graph ... with the default options.
  for (Phase phase : {Phase::kGraph, Phase::kQuantize, Phase::kFuse, Phase::kLower, Phase::kSchedule}) {
    const std::string_view name = kPhaseNames[static_cast<size_t>(phase)];
    registerPassPipeline(
        ("fathom-phase-" + std::string(name)), "the passes of phase " + std::string(name),
        [phase](OpPassManager& manager, StringRef, function_ref<LogicalResult(const Twine&)>) {
          CompileOptions options;
          options.targets = {"cpu:x86-64-v4"};
          addPhasePasses(manager, phase, options);
          return success();
        },
        [](function_ref<void(const detail::PassOptions&)>) {});
  }
}

void addPhasePasses(OpPassManager& manager, Phase phase, const CompileOptions& options) {
  switch (phase) {
    case Phase::kGraph:
      manager.addPass(createCanonicalizerPass());
      manager.addNestedPass<func::FuncOp>(fuse::createChooseAttentionFormPass());
      manager.addPass(createCSEPass());
      break;
    case Phase::kQuantize: {
      quantize::AssignEncodingsPassOptions encodings;
      encodings.encoding = options.quantize;
      manager.addNestedPass<func::FuncOp>(quantize::createAssignEncodingsPass(encodings));
      break;
    }
    case Phase::kFuse:
      manager.addNestedPass<func::FuncOp>(fuse::createFuseSwigluPass());
      manager.addNestedPass<func::FuncOp>(fuse::createFuseResidualPass());
      manager.addNestedPass<func::FuncOp>(fuse::createFuseSharedExpertsPass());
      manager.addNestedPass<func::FuncOp>(fuse::createMergeProjectionsPass());
      manager.addPass(createCSEPass());
      break;
    case Phase::kLower: {
      lower::LowerToSchedulePassOptions lowering;
      lowering.targets.assign(options.targets.begin(), options.targets.end());
      lowering.cacheElement = options.quantize == "f32" ? "f32" : "bf16";
      manager.addPass(lower::createLowerToSchedulePass(lowering));
      break;
    }
    case Phase::kSchedule:
      manager.nest<schedule::ProgramOp>().addNestedPass<schedule::EntryOp>(schedule::createPlanMemoryPass());
      break;
    case Phase::kImport:
    case Phase::kCodegen:
    case Phase::kEmit:
      break;  // not made of passes
  }
}

}  // namespace fathom
