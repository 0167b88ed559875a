// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tables of kernel families and the choice between them.
#include "compiler/kernels/Kernels.h"

#include <map>

#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simt/Emitters.h"
#include "llvm/ADT/StringExtras.h"
#include "mlir/IR/Diagnostics.h"

namespace fathom::kernels {
namespace {

using mlir::failure;

const std::map<llvm::StringRef, Emitter>& table() {
  static const std::map<llvm::StringRef, Emitter> emitters = {
      {"add", emitAdd},
      {"attention", emitAttention},
      {"attention_combine", emitAttentionCombine},
      {"attention_prefill", emitAttentionPrefill},
      {"combine", emitCombine},
      {"embed", emitEmbed},
      {"encode", emitEncode},
      {"experts", emitExperts},
      {"kv_append", emitKvAppend},
      {"latent_append", emitLatentAppend},
      {"latent_attention", emitLatentAttention},
      {"latent_attention_expanded", emitLatentAttentionExpanded},
      {"linear", emitLinear},
      {"norm", emitNorm},
      {"rope", emitRope},
      {"route", emitRoute},
      {"route_plan", emitRoutePlan},
      {"swiglu", emitSwiglu},
  };
  return emitters;
}

const std::map<llvm::StringRef, SimtEmitter>& gpuTable() {
  static const std::map<llvm::StringRef, SimtEmitter> emitters = {
      {"add", simt::emitAdd},
      {"attention", simt::emitAttention},
      {"attention_combine", simt::emitAttentionCombine},
      {"attention_prefill", simt::emitAttentionPrefill},
      {"combine", simt::emitCombine},
      {"embed", simt::emitEmbed},
      {"encode", simt::emitEncode},
      {"experts", simt::emitExperts},
      {"kv_append", simt::emitKvAppend},
      {"latent_append", simt::emitLatentAppend},
      {"latent_attention", simt::emitLatentAttention},
      {"latent_attention_expanded", simt::emitLatentAttentionExpanded},
      {"linear", simt::emitLinear},
      {"norm", simt::emitNorm},
      {"rope", simt::emitRope},
      {"route", simt::emitRoute},
      {"route_plan", simt::emitRoutePlan},
      {"swiglu", simt::emitSwiglu},
  };
  return emitters;
}

int64_t countOf(mlir::Operation* op, llvm::StringRef name) {
  auto attr = op->getAttrOfType<mlir::IntegerAttr>(name);
  return attr ? attr.getInt() : 0;
}

}  // namespace

void registerKernelDialects(mlir::DialectRegistry& registry) {
  KernelBuilder::registerDialects(registry);
  SimtBuilder::registerDialects(registry);
}

std::vector<llvm::StringRef> kernelFamilies() {
  std::vector<llvm::StringRef> names;
  for (const auto& [name, emitter] : table()) names.push_back(name);
  return names;
}

mlir::FailureOr<KernelInterface> emitKernel(mlir::ModuleOp into, llvm::StringRef name,
                                            llvm::StringRef family, mlir::DictionaryAttr config,
                                            const TargetProfile& profile) {
  auto row = table().find(family);
  if (row == table().end())
    return into.emitError() << "kernel '" << name << "': unknown family '" << family
                            << "', expected one of " << llvm::join(kernelFamilies(), ", ");
  if (profile.gpu) {
    auto gpuRow = gpuTable().find(family);
    if (gpuRow == gpuTable().end())
      return into.emitError() << "kernel '" << name << "': family '" << family
                              << "' has no kernel for target '" << profile.name << "' yet";
    SimtBuilder k(into, name, family, config, profile);
    bool emitted = mlir::succeeded(gpuRow->second(k));
    if (!emitted) k.cfg().require(false, "not emitted");
    mlir::FailureOr<mlir::Operation*> func = k.finish();
    if (mlir::failed(func)) return failure();
    return KernelInterface{countOf(*func, "fathom.bindings"), countOf(*func, "fathom.push")};
  }
  KernelBuilder k(into, name, family, config, profile);
  bool emitted = mlir::succeeded(row->second(k));
  // finish() erases the function when the config was refused; an emitter that fails for another
  // reason has said why, and its half function must not stay.
  if (!emitted) k.cfg().require(false, "not emitted");
  mlir::FailureOr<mlir::func::FuncOp> func = k.finish();
  if (mlir::failed(func)) return failure();
  return KernelInterface{countOf(*func, "fathom.bindings"), countOf(*func, "fathom.push")};
}

}  // namespace fathom::kernels
