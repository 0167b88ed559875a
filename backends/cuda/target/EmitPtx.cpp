// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// LLVM optimisation and NVPTX code generation of one kernel.
#include "backends/cuda/target/EmitPtx.h"

#include <mutex>

#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Target/LLVMIR/Export.h"

namespace fathom::cuda {
namespace {

using mlir::failure;

std::unique_ptr<llvm::TargetMachine> makeMachine(const TargetProfile& profile, mlir::Location loc) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  std::string error;
  llvm::Triple triple(profile.triple);
  const llvm::Target* target =
      triple.isNVPTX() ? llvm::TargetRegistry::lookupTarget(triple, error) : nullptr;
  if (!target) {
    mlir::emitError(loc) << "target '" << profile.name
                         << "': triple: expected nvptx64-nvidia-cuda, found '" << profile.triple
                         << "'";
    return nullptr;
  }
  // A profile may come from a file: LLVM aborts on a chip or a version that it does not know.
  std::unique_ptr<llvm::MCSubtargetInfo> info(target->createMCSubtargetInfo(triple, "", ""));
  llvm::StringRef version = llvm::StringRef(profile.tune).ltrim('+');
  bool known = llvm::any_of(info->getAllProcessorFeatures(),
                            [&](const auto& entry) { return version == entry.Key; });
  if (!info->isCPUStringValid(profile.cpu) || !known) {
    mlir::emitError(loc) << "target '" << profile.name
                         << "': expected a chip (cpu) and a PTX version (tune) such as 'sm_80' and "
                            "'+ptx80', found '"
                         << profile.cpu << "' and '" << profile.tune << "'";
    return nullptr;
  }
  llvm::TargetOptions options;
  // Only explicit fma contracts: the order and roundings of sums are the kernels'.
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(
      target->createTargetMachine(triple, profile.cpu, profile.tune, options, std::nullopt,
                                  std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

void optimise(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
}

}  // namespace

mlir::FailureOr<std::string> emitPtx(mlir::ModuleOp module, const TargetProfile& profile,
                                     std::string* llvmIr) {
  mlir::Location loc = module.getLoc();
  std::unique_ptr<llvm::TargetMachine> machine = makeMachine(profile, loc);
  if (!machine) return failure();
  llvm::LLVMContext context;
  mlir::Operation* kernels = *module.getOps<mlir::gpu::GPUModuleOp>().begin();
  std::unique_ptr<llvm::Module> translated = mlir::translateModuleToLLVMIR(kernels, context);
  if (!translated) return failure();
  translated->setTargetTriple(machine->getTargetTriple());
  translated->setDataLayout(machine->createDataLayout());
  optimise(*translated, *machine);
  for (const llvm::Function& f : *translated)
    if (f.isDeclaration() && !f.isIntrinsic())
      return mlir::emitError(loc) << "the kernel calls '" << f.getName()
                                  << "', which nothing provides on a GPU";
  if (llvmIr) llvm::raw_string_ostream(*llvmIr) << *translated;
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager codegen;
  if (machine->addPassesToEmitFile(codegen, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return mlir::emitError(loc) << "LLVM writes no PTX for target '" << profile.name << "'";
  codegen.run(*translated);
  return text.str().str();
}

std::string joinPtx(llvm::ArrayRef<std::string> texts) {
  std::string all;
  for (llvm::StringRef rest : texts) {
    const bool first = all.empty();
    while (!rest.empty()) {
      auto [line, next] = rest.split('\n');
      rest = next;
      const bool header = line.starts_with(".version") || line.starts_with(".target") ||
                          line.starts_with(".address_size");
      if (line.starts_with("//") || (header && !first)) continue;
      all += line;
      all += '\n';
    }
  }
  return all;
}

}  // namespace fathom::cuda
