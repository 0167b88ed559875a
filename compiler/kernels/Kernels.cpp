// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of kernel families, and the choice of how much one workgroup of a projection computes.
#include "compiler/kernels/Kernels.h"

#include <algorithm>
#include <map>

#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/WeightLayout.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
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

int64_t countOf(mlir::Operation* op, llvm::StringRef name) {
  auto attr = op->getAttrOfType<mlir::IntegerAttr>(name);
  return attr ? attr.getInt() : 0;
}

}  // namespace

void registerKernelDialects(mlir::DialectRegistry& registry) {
  registry.insert<mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::LLVM::LLVMDialect,
                  mlir::math::MathDialect, mlir::memref::MemRefDialect, mlir::scf::SCFDialect,
                  mlir::vector::VectorDialect>();
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
  KernelBuilder k(into, name, family, config, profile);
  bool emitted = mlir::succeeded(row->second(k));
  // finish() erases the function when the config was refused; an emitter that fails for another
  // reason has said why, and its half function must not stay.
  if (!emitted) k.cfg().require(false, "not emitted");
  mlir::FailureOr<mlir::func::FuncOp> func = k.finish();
  if (mlir::failed(func)) return failure();
  return KernelInterface{countOf(*func, "fathom.bindings"), countOf(*func, "fathom.push")};
}

int64_t linearPanelTiles(const TargetProfile& profile, mlir::DictionaryAttr config) {
  auto number = [&](llvm::StringRef name) -> int64_t {
    auto attr = config.getAs<mlir::IntegerAttr>(name);
    return attr ? attr.getInt() : 0;
  };
  auto word = [&](llvm::StringRef name) -> llvm::StringRef {
    auto attr = config.getAs<mlir::StringAttr>(name);
    return attr ? attr.getValue() : llvm::StringRef();
  };
  int64_t rows = number("rows"), cols = number("cols");
  std::optional<Enc> enc = llvm::StringSwitch<std::optional<Enc>>(word("enc"))
                               .Case("f32", Enc::f32)
                               .Case("bf16", Enc::bf16)
                               .Case("q8", Enc::q8)
                               .Case("q4", Enc::q4)
                               .Default(std::nullopt);
  if (rows < 1 || cols < 1 || rows > kMaxExtent || cols > kMaxExtent || !enc) return 1;
  WeightLayout layout(*enc, rows, cols);
  int64_t bytes = layout.tileBytes * (word("epilogue") == "swiglu" ? 2 : 1);
  // 256 KB are long enough for a stream to get going and stay in the L2 beside the activations. Not
  // fewer than 32 workgroups while a pair of tiles each allows it.
  constexpr int64_t kBytes = 256 << 10, kWorkgroups = 32;
  int64_t tiles = std::min(kBytes / bytes, layout.tiles / kWorkgroups);
  return std::clamp<int64_t>(tiles / 2 * 2, 2, std::max<int64_t>(2, roundUp(layout.tiles, 2)));
}

}  // namespace fathom::kernels
