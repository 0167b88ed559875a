// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The signature of CUDA kernels and the passes to NVVM.
#include "backends/cuda/target/LowerToNvvm.h"

#include <limits>

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/GPUToNVVM/GPUToNVVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace fathom::cuda {
namespace {

// What the conversion makes of a flat buffer at a `pointer`, with 32-bit indices.
Type descriptorOf(Type pointer) {
  MLIRContext* context = pointer.getContext();
  auto i32 = IntegerType::get(context, 32);
  auto list = LLVM::LLVMArrayType::get(i32, 1);
  return LLVM::LLVMStructType::getLiteral(context, {pointer, pointer, i32, list, list});
}

// The descriptor of a flat buffer of unknown size at `pointer`.
Value describe(OpBuilder& b, Location loc, Type memref, Value pointer) {
  Type i32 = b.getI32Type();
  Type descriptor = descriptorOf(pointer.getType());
  auto constant = [&](int32_t v) -> Value {
    return LLVM::ConstantOp::create(b, loc, i32, b.getI32IntegerAttr(v));
  };
  Value d = LLVM::PoisonOp::create(b, loc, descriptor);
  auto set = [&](Value v, ArrayRef<int64_t> at) {
    d = LLVM::InsertValueOp::create(b, loc, d, v, at);
  };
  set(pointer, {0});
  set(pointer, {1});
  set(constant(0), {2});
  set(constant(std::numeric_limits<int32_t>::max()), {3, 0});  // nobody knows; nothing asks
  set(constant(1), {4, 0});
  return UnrealizedConversionCastOp::create(b, loc, memref, d).getResult(0);
}

// (views..., push i32...) -> (a pointer for each binding, i64...).
void lowerSignature(gpu::GPUFuncOp func) {
  Block& entry = func.getBody().front();
  OpBuilder b = OpBuilder::atBlockBegin(&entry);
  Location loc = func.getLoc();
  auto number = [&](StringRef name) { return func->getAttrOfType<IntegerAttr>(name).getInt(); };
  ArrayRef<int64_t> views = func->getAttrOfType<DenseI64ArrayAttr>("fathom.views").asArrayRef();
  int64_t bindings = number("fathom.bindings"), push = number("fathom.push");
  unsigned before = func.getNumArguments();
  SmallVector<Type> types;
  for (int64_t i = 0; i < bindings; ++i)
    types.push_back(LLVM::LLVMPointerType::get(func.getContext()));
  types.append(push, b.getI64Type());
  for (auto [i, type] : llvm::enumerate(types)) entry.insertArgument(i, type, loc);
  for (auto [i, binding] : llvm::enumerate(views)) {
    BlockArgument view = entry.getArgument(types.size() + i);
    view.replaceAllUsesWith(describe(b, loc, view.getType(), entry.getArgument(binding)));
  }
  for (int64_t i = 0; i < push; ++i) {
    Value low = arith::TruncIOp::create(b, loc, b.getI32Type(), entry.getArgument(bindings + i));
    entry.getArgument(types.size() + views.size() + i).replaceAllUsesWith(low);
  }
  entry.eraseArguments(types.size(), before);
  func.setFunctionType(b.getFunctionType(types, {}));
  // LLVM joins loads to vectors as far as the alignment goes, beyond an array's last element as
  // well: only arrays of whole vectors are aligned like one.
  for (auto [i, shared] : llvm::enumerate(func.getWorkgroupAttributions())) {
    auto type = cast<MemRefType>(shared.getType());
    int64_t each = getElementTypeOrSelf(type.getElementType()).getIntOrFloatBitWidth() / 8;
    if (auto vector = dyn_cast<VectorType>(type.getElementType())) each *= vector.getNumElements();
    bool whole = type.getNumElements() * each % 16 == 0;
    func.setWorkgroupAttributionAttr(i, "llvm.align", b.getI64IntegerAttr(whole ? 16 : each));
  }
  int32_t lanes = static_cast<int32_t>(number("fathom.workgroup"));
  func.setKnownBlockSizeAttr(b.getDenseI32ArrayAttr({lanes, 1, 1}));
  // ptxas spills a few registers for the sake of a third or fourth block on a multiprocessor unless
  // it is told that fewer will do.
  if (func->hasAttr("fathom.many_sums"))
    func->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), b.getI32IntegerAttr(1));
}

// Kernels ask for a buffer's address by a cast to a pointer into its memory.
void lowerAddresses(gpu::GPUFuncOp func) {
  func.walk([](UnrealizedConversionCastOp op) {
    auto memref = dyn_cast<MemRefType>(op.getOperand(0).getType());
    auto wanted = dyn_cast<LLVM::LLVMPointerType>(op.getResult(0).getType());
    if (!memref || !wanted) return;
    OpBuilder b(op);
    Location loc = op.getLoc();
    auto own = LLVM::LLVMPointerType::get(op.getContext(), memref.getMemorySpace() ? 3 : 0);
    Value descriptor =
        UnrealizedConversionCastOp::create(b, loc, descriptorOf(own), op.getOperand(0))
            .getResult(0);
    Value pointer = LLVM::ExtractValueOp::create(b, loc, descriptor, ArrayRef<int64_t>{1});
    if (own != wanted) pointer = LLVM::AddrSpaceCastOp::create(b, loc, wanted, pointer);
    op.getResult(0).replaceAllUsesWith(pointer);
    op.erase();
  });
}

// Upstream's conversion would call libdevice for these; each is an instruction.
void useInstructions(Operation* root) {
  root->walk([](Operation* op) {
    OpBuilder b(op);
    Value v;
    // The conversion refuses LLVM's own ops for these two, but not their intrinsics.
    auto call = [&](StringRef intrinsic) {
      return LLVM::CallIntrinsicOp::create(b, op->getLoc(), op->getResult(0).getType(),
                                           b.getStringAttr(intrinsic), op->getOperands())
          .getResult(0);
    };
    if (isa<math::SqrtOp>(op))
      v = call("llvm.sqrt.f32");
    else if (isa<math::RoundEvenOp>(op))
      v = call("llvm.roundeven.f32");
    else if (isa<math::FmaOp>(op))
      v = LLVM::FMAOp::create(b, op->getLoc(), op->getOperand(0), op->getOperand(1),
                              op->getOperand(2));
    else
      return;
    op->getResult(0).replaceAllUsesWith(v);
    op->erase();
  });
}

struct ReduceByShuffles : PassWrapper<ReduceByShuffles, OperationPass<gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ReduceByShuffles)
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateGpuLowerSubgroupReduceToShufflePatterns(patterns, /*subgroupSize=*/32);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    // maxnum is a library call upstream; no lane has a NaN that another lacks.
    getOperation().walk([](arith::MaxNumFOp op) {
      OpBuilder b(op);
      Value greater = arith::CmpFOp::create(b, op.getLoc(), arith::CmpFPredicate::OGT, op.getLhs(),
                                            op.getRhs());
      op.replaceAllUsesWith(
          arith::SelectOp::create(b, op.getLoc(), greater, op.getLhs(), op.getRhs()).getResult());
      op.erase();
    });
  }
};

}  // namespace

void registerLoweringDialects(DialectRegistry& registry) {
  registry.insert<cf::ControlFlowDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, ub::UBDialect>();
  // The conversion asks the dialects it meets for their patterns.
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  registerConvertMemRefToLLVMInterface(registry);
  registerConvertNVVMToLLVMInterface(registry);
  ub::registerConvertUBToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
  registerBuiltinDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
}

LogicalResult lowerToNvvm(ModuleOp module, const TargetProfile&) {
  for (auto kernels : module.getOps<gpu::GPUModuleOp>())
    for (auto func : kernels.getOps<gpu::GPUFuncOp>()) {
      lowerAddresses(func);
      lowerSignature(func);
    }
  useInstructions(module);
  PassManager passes(module.getContext());
  passes.addNestedPass<gpu::GPUModuleOp>(std::make_unique<ReduceByShuffles>());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createSCFToControlFlowPass());
  ConvertGpuOpsToNVVMOpsOptions options;
  options.indexBitwidth = 32;
  OpPassManager& inModule = passes.nest<gpu::GPUModuleOp>();
  inModule.addPass(createConvertGpuOpsToNVVMOps(options));
  inModule.addPass(createConvertNVVMToLLVMPass());
  inModule.addPass(createCanonicalizerPass());
  inModule.addPass(createCSEPass());
  inModule.addPass(createReconcileUnrealizedCastsPass());
  return passes.run(module);
}

}  // namespace fathom::cuda
