// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An embedded language in which the CPU kernel emitters are written: values, loops, loads, dots.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_KERNELBUILDER_H_
#define FATHOM_COMPILER_KERNELS_SIMD_KERNELBUILDER_H_

#include <string>

#include "compiler/kernels/Values.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

/// What a kernel becomes:
///
///   func.func @symbol(bindings..., push..., scratch, x, y, z)
///       attributes {fathom.kernel, fathom.bindings = nb : i64, fathom.push = np : i64,
///                   fathom.scratch_bytes = s : i64}
///
/// - a binding is a flat `memref<?xT>` (T = f32, i32 or i8), 64-byte aligned. Arg attributes:
///   `fathom.readonly`, and `fathom.alias` on those that may share memory with another binding
///   (in-place kernels); all others may be taken as noalias;
/// - push constants and the grid position x, y, z are `index`;
/// - scratch is a `memref<?xi8>` marked `fathom.scratch`, present even when s is 0.
///
/// Kernels are written in 16 lanes of float32 whatever the ISA: LLVM splits the vectors. Nothing
/// emitted here turns into a library call: exp, f32 -> bf16 and the like are spelled out.
namespace fathom::kernels {

class KernelBuilder : public ValueBuilder {
 public:
  /// Registers the dialects of the ops that kernels are made of.
  static void registerDialects(mlir::DialectRegistry& registry);
  /// Starts @symbol at the end of `module`; `kernel` is the catalogue's name. Loads the dialects.
  KernelBuilder(mlir::ModuleOp module, llvm::StringRef symbol, llvm::StringRef kernel,
                mlir::DictionaryAttr config, const TargetProfile& profile);
  /// Ends the function, verifies it and returns it; erases it and fails if the config was refused.
  mlir::FailureOr<mlir::func::FuncOp> finish();

  // --- Signature: bindings and push constants in the order of the calls --------------------------
  Buf in(mlir::Type elem, bool mayAlias = false) { return binding(elem, true, mayAlias); }
  Buf out(mlir::Type elem, bool mayAlias = false) { return binding(elem, false, mayAlias); }
  Val push();
  Val x() { return grid(0); }
  Val y() { return grid(1); }
  Val z() { return grid(2); }
  /// `bytes` of the worker's private memory, 64-byte aligned, of unknown contents.
  Buf scratch(mlir::Type elem, int64_t bytes);

  // --- Memory: offsets count elements of the buffer's type ---------------------------------------
  /// The bytes of `buf` (an i8 buffer) from `byteOffset` on, seen as `elem`.
  Buf view(Buf buf, Val byteOffset, mlir::Type elem);
  Val load(Buf buf, Val i);                 // one element
  Val load(Buf buf, Val i, int64_t lanes);  // a vector, any alignment
  /// Lanes >= count (an index) give 0 and are not read; without a count, the form above.
  Val load(Buf buf, Val i, int64_t lanes, Val count);
  void store(Val v, Buf buf, Val i);  // by the type of v
  /// Lanes >= count are not written; without a count, the form above.
  void store(Val v, Buf buf, Val i, Val count);
  void prefetch(Buf buf, Val i, int locality = 3);  // 3 nearest .. 0 streaming

  // --- Control flow ------------------------------------------------------------------------------
  /// As ifThen, with `then` in a function of its own: LLVM sets up matrix units where a function
  /// that uses them begins, whether or not it comes to that.
  void ifThenApart(Val cond, llvm::function_ref<void()> then);
  /// body(i, {}) for i = 0, lanes, 2 lanes ... while a whole vector fits in n, then body(i, rest)
  /// for what is left. The counts are what load and store take.
  void forRow(int64_t n, int64_t lanes, llvm::function_ref<void(Val i, Val count)> body);
  // --- Facts emitters tile by --------------------------------------------------------------------
  /// How many 16-lane float32 registers' worth of accumulators, operands and temporaries fit the
  /// register file: 32 with AVX-512, 8 otherwise (16 x 8 lanes, or 32 x 4 lanes).
  int registers() const { return profile_.avx512 ? 32 : 8; }

 private:
  Buf binding(mlir::Type elem, bool readonly, bool mayAlias);
  Val grid(int which);
  mlir::BlockArgument insertArg(mlir::Type type);

  mlir::func::FuncOp func_;
  unsigned bindings_ = 0, push_ = 0;
  int64_t scratchBytes_ = 0;
  llvm::SmallVector<mlir::DictionaryAttr> argAttrs_;
};

/// Registered by name in Kernels.cpp. Reads k.cfg(), declares the signature, writes the body,
/// returns failure after a diagnostic (cfg().failed() is checked by finish() as well).
using Emitter = mlir::LogicalResult (*)(KernelBuilder& k);

// --- Dot products --------------------------------------------------------------------------------
/// acc[l] + sum_b u8[4 l + b] s8[4 l + b]; acc is 16 x i32, the others 64 x i8. Exact.
Val dotU8S8(Val acc, Val u8, Val s8);
/// The same for unsigned values <= 127 (nibbles): cheaper where the ISA has no 4-way dot.
Val dotU7S8(Val acc, Val u7, Val s8);
/// acc[l] + sum of the two bf16 products of lane l; a, b are 16 x i32 of bf16 pairs.
Val dotBf16(Val acc, Val a, Val b);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_KERNELBUILDER_H_
