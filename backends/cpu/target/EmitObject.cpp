// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// LLVM optimisation and code generation of one kernel; the table of an image.
#include "backends/cpu/target/EmitObject.h"

#include <mutex>

#include "backends/cpu/abi/cpu_abi.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Target/LLVMIR/Export.h"

namespace fathom::cpu {
namespace {

using mlir::failure;
using mlir::FailureOr;

std::string featureString(const TargetProfile& profile) {
  std::string out;
  for (const std::string& feature : profile.features) out += (out.empty() ? "+" : ",+") + feature;
  return out;
}

bool isKnown(const llvm::Triple& triple) {
  return (triple.getArch() == llvm::Triple::x86_64 || triple.getArch() == llvm::Triple::aarch64) &&
         triple.isOSBinFormatELF();
}

// A profile may come from a file. LLVM ignores names it does not know and aborts on code for
// instructions it was not allowed, so that every name is looked up here. `target` is null where
// the triple is none of ours: LLVM may have been built with more targets, or with none of them.
mlir::LogicalResult checkProfile(const TargetProfile& profile, const llvm::Target* target,
                                 const llvm::Triple& triple, mlir::Location loc) {
  auto refuse = [&](llvm::StringRef field, llvm::StringRef expected, llvm::StringRef found) {
    return mlir::emitError(loc) << "target '" << profile.name << "': " << field << ": expected "
                                << expected << ", found '" << found << "'";
  };
  if (!target) return refuse("triple", "x86_64 or aarch64 with ELF", profile.triple);
  std::unique_ptr<llvm::MCSubtargetInfo> info(target->createMCSubtargetInfo(triple, "", ""));
  for (const std::string* cpu : {&profile.cpu, &profile.tune})
    if (!cpu->empty() && !info->isCPUStringValid(*cpu))
      return refuse(cpu == &profile.cpu ? "cpu" : "tune", "a processor of " + triple.str(), *cpu);
  for (const std::string& feature : profile.features)
    if (llvm::none_of(info->getAllProcessorFeatures(),
                      [&](const auto& entry) { return feature == entry.Key; }))
      return refuse("features", "features of " + triple.str(), feature);
  if (triple.isX86() && !profile.avx2) return refuse("features", "avx2 and fma at least", "none");
  if (triple.isAArch64() && !profile.neon) return refuse("features", "neon at least", "none");
  return mlir::success();
}

FailureOr<std::unique_ptr<llvm::TargetMachine>> makeMachine(const TargetProfile& profile,
                                                            mlir::Location loc) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
  std::string error;
  llvm::Triple triple(profile.triple);
  const llvm::Target* target =
      isKnown(triple) ? llvm::TargetRegistry::lookupTarget(triple, error) : nullptr;
  if (failed(checkProfile(profile, target, triple, loc))) return failure();
  llvm::TargetOptions options;
  // Only explicit fma contracts, so that every specialisation of a kernel rounds alike.
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, profile.cpu, featureString(profile), options, llvm::Reloc::PIC_,
      llvm::CodeModel::Small, llvm::CodeGenOptLevel::Aggressive));
}

// void entry(const fathom_cpu_args*, u32 x, u32 y, u32 z): unpacks the arguments for `inner`, which
// is inlined: (bindings..., push..., scratch, x, y, z).
void addEntry(llvm::Module& module, llvm::Function* inner, const KernelObject& kernel) {
  llvm::LLVMContext& c = module.getContext();
  llvm::Type* i32 = llvm::Type::getInt32Ty(c);
  llvm::Type* i64 = llvm::Type::getInt64Ty(c);
  llvm::Type* ptr = llvm::PointerType::get(c, 0);
  inner->setLinkage(llvm::GlobalValue::InternalLinkage);
  inner->addFnAttr(llvm::Attribute::AlwaysInline);
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(c), {ptr, i32, i32, i32}, false);
  auto* entry = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage,
                                       entrySymbol(kernel.name), module);
  entry->setVisibility(llvm::GlobalValue::HiddenVisibility);
  entry->setAlignment(llvm::Align(64));
  for (auto known : {llvm::Attribute::NoAlias, llvm::Attribute::ReadOnly, llvm::Attribute::NonNull})
    entry->addParamAttr(0, known);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(c, "", entry));
  llvm::MDNode* nothing = llvm::MDNode::get(c, {});
  // Nothing a kernel writes lies in the argument block: its loads may move freely.
  auto load = [&](llvm::Type* t, llvm::Value* from, int64_t slot) -> llvm::Value* {
    auto* value =
        b.CreateAlignedLoad(t, b.CreateConstInBoundsGEP1_64(i64, from, slot), llvm::Align(8));
    value->setMetadata(llvm::LLVMContext::MD_invariant_load, nothing);
    return value;
  };
  llvm::SmallVector<llvm::Value*> args;
  if (kernel.bindings) {
    llvm::Value* bindings = load(ptr, entry->getArg(0), 0);
    for (int64_t i = 0; i < kernel.bindings; ++i) args.push_back(load(ptr, bindings, i));
  }
  if (kernel.push) {
    llvm::Value* push = load(ptr, entry->getArg(0), 1);
    for (int64_t i = 0; i < kernel.push; ++i) args.push_back(load(i64, push, i));
  }
  args.push_back(load(ptr, entry->getArg(0), 2));
  for (unsigned i = 1; i <= 3; ++i) args.push_back(b.CreateZExt(entry->getArg(i), i64));
  b.CreateCall(inner, args);
  b.CreateRetVoid();
}

void setFunctionAttributes(llvm::Module& module, const TargetProfile& profile) {
  std::string features = featureString(profile);
  for (llvm::Function& f : module) {
    if (f.isDeclaration()) continue;
    f.addFnAttr("target-cpu", profile.cpu);
    if (!features.empty()) f.addFnAttr("target-features", features);
    if (!profile.tune.empty()) f.addFnAttr("tune-cpu", profile.tune);
    f.addFnAttr("prefer-vector-width", std::to_string(profile.vectorBits));
    f.addFnAttr("no-builtins");  // a loop never turns into memset, nor is libm assumed
    f.addFnAttr(llvm::Attribute::NoUnwind);
  }
}

void optimize(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::PassBuilder builder(&machine);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::TargetLibraryInfoImpl library(machine.getTargetTriple());
  library.disableAllFunctions();
  functions.registerPass([&] { return llvm::TargetLibraryAnalysis(library); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
}

mlir::LogicalResult generate(llvm::Module& module, llvm::TargetMachine& machine,
                             llvm::CodeGenFileType type, Bytes& out, mlir::Location loc) {
  llvm::raw_svector_ostream os(out);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, os, nullptr, type))
    return mlir::emitError(loc) << "LLVM cannot write this kind of file for triple '"
                                << machine.getTargetTriple().str() << "'";
  passes.run(module);
  return mlir::success();
}

// A kernel that needs memcpy or expf cannot run: the image has no imports.
mlir::LogicalResult refuseCalls(const KernelObject& kernel, mlir::Location loc) {
  auto object = llvm::object::ObjectFile::createObjectFile(llvm::MemoryBufferRef(
      llvm::StringRef(kernel.object.data(), kernel.object.size()), kernel.name));
  if (!object)
    return mlir::emitError(loc) << "kernel '" << kernel.name
                                << "': " << llvm::toString(object.takeError());
  for (const llvm::object::SymbolRef& symbol : (*object)->symbols()) {
    llvm::Expected<uint32_t> flags = symbol.getFlags();
    llvm::Expected<llvm::StringRef> name = symbol.getName();
    if (!flags || !name) {
      llvm::consumeError(flags.takeError());
      llvm::consumeError(name.takeError());
      continue;
    }
    if ((*flags & llvm::object::SymbolRef::SF_Undefined) && !name->empty())
      return mlir::emitError(loc) << "kernel '" << kernel.name << "' calls '" << *name
                                  << "', but generated code has no library";
  }
  return mlir::success();
}

int64_t countOf(mlir::Operation* op, llvm::StringRef name) {
  auto attr = op->getAttrOfType<mlir::IntegerAttr>(name);
  return attr ? attr.getInt() : 0;
}

}  // namespace

std::string entrySymbol(llvm::StringRef name) { return ("fathom_kernel." + name).str(); }

FailureOr<KernelObject> emitKernelObject(mlir::ModuleOp module, llvm::StringRef name,
                                         const TargetProfile& profile, bool keepText) {
  mlir::Location loc = module.getLoc();
  auto func = module.lookupSymbol<mlir::LLVM::LLVMFuncOp>(name);
  if (!func) return mlir::emitError(loc) << "kernel '" << name << "' was not emitted";
  KernelObject kernel;
  kernel.name = name.str();
  kernel.bindings = countOf(func, "fathom.bindings");
  kernel.push = countOf(func, "fathom.push");
  kernel.scratchBytes = countOf(func, "fathom.scratch_bytes");
  int64_t expected = kernel.bindings + kernel.push + 4;
  if (func.getNumArguments() != expected)
    return mlir::emitError(loc) << "kernel '" << name << "': expected " << expected
                                << " arguments, found " << func.getNumArguments();

  FailureOr<std::unique_ptr<llvm::TargetMachine>> machine = makeMachine(profile, loc);
  if (failed(machine)) return failure();
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> ir = mlir::translateModuleToLLVMIR(module, context, name);
  if (!ir) return mlir::emitError(loc) << "kernel '" << name << "' has no LLVM IR";
  ir->setTargetTriple((*machine)->getTargetTriple());
  ir->setDataLayout((*machine)->createDataLayout());
  ir->setPICLevel(llvm::PICLevel::BigPIC);
  addEntry(*ir, ir->getFunction(name), kernel);
  setFunctionAttributes(*ir, profile);
  optimize(*ir, **machine);

  if (keepText) {
    llvm::raw_string_ostream(kernel.llvmIr) << *ir;
    Bytes assembly;
    // Code generation changes the module; the object below is made from the same text.
    if (failed(generate(*llvm::CloneModule(*ir), **machine, llvm::CodeGenFileType::AssemblyFile,
                        assembly, loc)))
      return failure();
    kernel.assembly.assign(assembly.begin(), assembly.end());
  }
  if (failed(generate(*ir, **machine, llvm::CodeGenFileType::ObjectFile, kernel.object, loc)) ||
      failed(refuseCalls(kernel, loc)))
    return failure();
  return kernel;
}

FailureOr<Bytes> emitTableObject(llvm::ArrayRef<KernelObject> kernels, const TargetProfile& profile,
                                 mlir::Location loc) {
  FailureOr<std::unique_ptr<llvm::TargetMachine>> machine = makeMachine(profile, loc);
  if (failed(machine)) return failure();
  llvm::LLVMContext c;
  llvm::Module module("table", c);
  module.setTargetTriple((*machine)->getTargetTriple());
  module.setDataLayout((*machine)->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  llvm::Type* i32 = llvm::Type::getInt32Ty(c);
  llvm::Type* i64 = llvm::Type::getInt64Ty(c);
  auto word = [&](uint64_t v) { return llvm::ConstantInt::get(i32, v); };
  auto quad = [&](uint64_t v) { return llvm::ConstantInt::get(i64, v); };

  // struct fathom_cpu_table of abi/cpu_abi.h.
  auto* entryType = llvm::StructType::get(c, {i32, i32, i32, i32, i64});
  auto* entriesType = llvm::ArrayType::get(entryType, kernels.size());
  auto* tableType = llvm::StructType::get(c, {i64, i32, i32, entriesType});
  auto* table = new llvm::GlobalVariable(
      module, tableType, true, llvm::GlobalValue::ExternalLinkage, nullptr, FATHOM_CPU_TABLE);
  table->setVisibility(llvm::GlobalValue::ProtectedVisibility);
  table->setAlignment(llvm::Align(64));
  table->setSection(".rodata");
  auto* codeType = llvm::FunctionType::get(llvm::Type::getVoidTy(c), false);

  llvm::SmallVector<llvm::Constant*> entries;
  for (auto [i, kernel] : llvm::enumerate(kernels)) {
    auto* code = llvm::Function::Create(codeType, llvm::GlobalValue::ExternalLinkage,
                                        entrySymbol(kernel.name), module);
    code->setVisibility(llvm::GlobalValue::HiddenVisibility);
    llvm::Constant* text = llvm::ConstantDataArray::getString(c, kernel.name);
    auto* name = new llvm::GlobalVariable(module, text->getType(), true,
                                          llvm::GlobalValue::InternalLinkage, text, "name");
    name->setSection(".rodata");
    llvm::Constant* self = llvm::ConstantExpr::getInBoundsGetElementPtr(
        tableType, table, llvm::ArrayRef<llvm::Constant*>{word(0), word(3), word(i)});
    auto relative = [&](llvm::Constant* to) {
      return llvm::ConstantExpr::getTrunc(
          llvm::ConstantExpr::getSub(llvm::ConstantExpr::getPtrToInt(to, i64),
                                     llvm::ConstantExpr::getPtrToInt(self, i64)),
          i32);
    };
    entries.push_back(
        llvm::ConstantStruct::get(entryType, {relative(code), relative(name), word(kernel.bindings),
                                              word(kernel.push), quad(kernel.scratchBytes)}));
  }
  table->setInitializer(llvm::ConstantStruct::get(
      tableType, {quad(FATHOM_CPU_MAGIC), word(FATHOM_CPU_ABI), word(kernels.size()),
                  llvm::ConstantArray::get(entriesType, entries)}));
  Bytes object;
  if (failed(generate(module, **machine, llvm::CodeGenFileType::ObjectFile, object, loc)))
    return failure();
  return object;
}

}  // namespace fathom::cpu
