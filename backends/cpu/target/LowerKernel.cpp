// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The lowering pipeline of a kernel and the rewrite of its signature to bare pointers.
#include "backends/cpu/target/LowerKernel.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"

namespace fathom::cpu {
namespace {

using namespace mlir;

// The memref descriptor of a flat buffer of unknown size at `pointer`.
Value describe(OpBuilder& b, Location loc, MemRefType type, Value pointer) {
  MLIRContext* context = b.getContext();
  Type i64 = b.getI64Type();
  auto list = LLVM::LLVMArrayType::get(i64, 1);
  auto descriptor = LLVM::LLVMStructType::getLiteral(
      context, {pointer.getType(), pointer.getType(), i64, list, list});
  auto constant = [&](int64_t v) -> Value {
    return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(v));
  };
  Value d = LLVM::PoisonOp::create(b, loc, descriptor);
  auto set = [&](Value v, ArrayRef<int64_t> at) {
    d = LLVM::InsertValueOp::create(b, loc, d, v, at);
  };
  set(pointer, {0});
  set(pointer, {1});
  set(constant(0), {2});
  set(constant(std::numeric_limits<int64_t>::max()), {3, 0});  // nobody knows; nothing asks
  set(constant(1), {4, 0});
  return UnrealizedConversionCastOp::create(b, loc, type, d).getResult(0);
}

// memref arguments -> `!llvm.ptr` with what is known about them; index arguments -> i64. The
// function is inlined into its entry later, where LLVM turns the noalias arguments into alias
// scopes.
LogicalResult lowerSignature(func::FuncOp func) {
  MLIRContext* context = func.getContext();
  Block& entry = func.getBody().front();
  OpBuilder b = OpBuilder::atBlockBegin(&entry);
  Location loc = func.getLoc();
  auto pointer = LLVM::LLVMPointerType::get(context);
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attrs;
  unsigned count = entry.getNumArguments();
  for (unsigned i = 0; i < count; ++i) {
    BlockArgument old = entry.getArgument(i);
    NamedAttrList known;
    Value replacement;
    if (auto type = dyn_cast<MemRefType>(old.getType())) {
      if (type.getRank() != 1 || !type.getLayout().isIdentity())
        return func.emitOpError("argument ") << i << " is not a flat memref: " << type;
      types.push_back(pointer);
      known.set("llvm.noundef", b.getUnitAttr());
      known.set("llvm.align", b.getI64IntegerAttr(64));
      if (func.getArgAttr(i, "fathom.readonly")) known.set("llvm.readonly", b.getUnitAttr());
      if (!func.getArgAttr(i, "fathom.alias")) known.set("llvm.noalias", b.getUnitAttr());
      replacement = describe(b, loc, type, entry.addArgument(pointer, loc));
    } else if (old.getType().isIndex()) {
      types.push_back(b.getI64Type());
      replacement = arith::IndexCastOp::create(b, loc, b.getIndexType(),
                                               entry.addArgument(b.getI64Type(), loc));
    } else {
      return func.emitOpError("argument ")
             << i << " is neither memref nor index: " << old.getType();
    }
    old.replaceAllUsesWith(replacement);
    attrs.push_back(known.getDictionary(context));
  }
  entry.eraseArguments(0, count);
  func.setType(FunctionType::get(context, types, {}));
  func.setAllArgAttrs(attrs);
  return success();
}

// Bodies of ifs marked `fathom.apart` become functions that nobody inlines.
LogicalResult outline(func::FuncOp kernel) {
  SmallVector<scf::IfOp> marked;
  kernel.walk([&](scf::IfOp op) {
    if (op->hasAttr("fathom.apart")) marked.push_back(op);
  });
  IRRewriter rewriter(kernel.getContext());
  for (auto [number, op] : llvm::enumerate(marked)) {
    rewriter.setInsertionPoint(kernel);
    func::FuncOp apart;
    std::string name = (kernel.getName() + ".apart" + Twine(number)).str();
    if (failed(outlineIfOp(rewriter, op, &apart, name, nullptr, "")))
      return kernel.emitOpError("cannot outline a body");
    apart->setAttr("llvm.linkage",
                   LLVM::LinkageAttr::get(kernel.getContext(), LLVM::Linkage::Internal));
    apart->setAttr("passthrough", rewriter.getStrArrayAttr({"noinline"}));
  }
  return success();
}

}  // namespace

void registerLoweringDialects(DialectRegistry& registry) {
  registry.insert<LLVM::LLVMDialect, arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect,
                  math::MathDialect, memref::MemRefDialect, scf::SCFDialect, ub::UBDialect,
                  vector::VectorDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

LogicalResult lowerKernel(ModuleOp module) {
  // Not a pass, so nothing has loaded the dialects that the rewrite creates.
  module.getContext()->loadDialect<LLVM::LLVMDialect, arith::ArithDialect>();
  auto kernels = llvm::to_vector(module.getOps<func::FuncOp>());
  for (func::FuncOp kernel : kernels)
    if (failed(outline(kernel)) || failed(lowerSignature(kernel))) return failure();

  PassManager pm(module.getContext());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createSCFToControlFlowPass());
  ConvertVectorToLLVMPassOptions vectors;
  vectors.reassociateFPReductions = false;  // the order of a sum is the emitter's
  vectors.amx = true;
  pm.addPass(createConvertVectorToLLVMPass(vectors));
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  return pm.run(module);
}

}  // namespace fathom::cpu
