// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernel library: from a family and its configuration (docs/spec/kernels.md) to a function.
#ifndef FATHOM_COMPILER_KERNELS_KERNELS_H
#define FATHOM_COMPILER_KERNELS_KERNELS_H

#include <cstdint>
#include <vector>

#include "compiler/target/TargetProfile.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Support/LLVM.h"

namespace fathom::kernels {

/// How many buffers and int64 constants a dispatch of a kernel passes.
struct KernelInterface {
  int64_t bindings = 0;
  int64_t push = 0;
};

/// The dialects that emitters create operations of.
void registerKernelDialects(mlir::DialectRegistry& registry);

/// Every family that emitKernel knows, sorted.
std::vector<llvm::StringRef> kernelFamilies();

/// Appends a kernel of `family` for `profile` to `into`, named `name` and marked `fathom.kernel`:
/// for a CPU a func.func (its form: simd/KernelBuilder.h), for a GPU a gpu.module of that name with
/// a gpu.func (simt/SimtBuilder.h). An unknown family and a config entry that is missing, of the
/// wrong kind or out of range are errors at the module's location that name family and entry;
/// `into` is then unchanged.
mlir::FailureOr<KernelInterface> emitKernel(mlir::ModuleOp into, llvm::StringRef name,
                                            llvm::StringRef family, mlir::DictionaryAttr config,
                                            const TargetProfile& profile);

/// Work that a kernel can take over from its neighbours (docs/spec/kernels.md).
enum class Fusion {
  kRecordsOut,   // linear, experts: out_act
  kHeadRecords,  // linear: head_act
  kCombineNorm,  // combine: norm
  kNormLinear,   // linear: norm
  kRoutePlan,    // route: plan
  kRotateQuery,  // latent_attention: rotate
  kAppendNorm,   // latent_append: q_norm
  kMergeSplits,  // linear: splits
};

/// Whether the kernels for `profile` have it in entry points of many tokens, or of few.
bool fuses(const TargetProfile& profile, Fusion fusion, bool manyTokens);

/// The config entry `panel_tiles` of `linear` and `experts`: tiles of 16 rows that one workgroup
/// computes, so that it reads some tens of KB of weights and there are enough workgroups to share.
/// Needs the entries rows, cols, enc and (for swiglu's second weight) epilogue; answers 1 without
/// them.
int64_t linearPanelTiles(const TargetProfile& profile, mlir::DictionaryAttr config);

/// Bytes of a weight of `shape` in an encoding of docs/spec/encodings.md; plain encodings take 4 an
/// element.
int64_t weightBytes(llvm::StringRef encoding, llvm::ArrayRef<int64_t> shape);

/// Sets `splits` of a config that has all other entries of `attention` or `latent_attention`: into
/// how many parts a token's context is cut at most. On a CPU also `even_splits`.
void setSplits(const TargetProfile& profile, llvm::StringRef family, mlir::MLIRContext* context,
               mlir::NamedAttrList& config);

/// Sets the entries by which a target cuts the work of `family`: `panel_tiles` of projections and,
/// on a GPU or a CPU with matrix units, their `form`: "many" (or "exact") for entry points of many
/// tokens and "few" for the others.
void tuneConfig(const TargetProfile& profile, llvm::StringRef family, bool manyTokens,
                mlir::MLIRContext* context, mlir::NamedAttrList& config);

/// The grid (x, y, z) of a dispatch of `family`, each a map over (T, B, P, R) whose results are the
/// arguments of a minimum. `rows` are the rows that the dispatch works on (T, R, or pairs of T and
/// slots), `sequences` is B. Entries of `config` that are missing count as 1.
llvm::SmallVector<mlir::AffineMap> kernelGrid(const TargetProfile& profile, llvm::StringRef family,
                                              mlir::DictionaryAttr config, mlir::AffineExpr rows,
                                              mlir::AffineExpr sequences);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_KERNELS_H
