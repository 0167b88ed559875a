// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An embedded language in which the CPU kernel emitters are written: values, loops, loads, dots.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_KERNELBUILDER_H_
#define FATHOM_COMPILER_KERNELS_SIMD_KERNELBUILDER_H_

#include <concepts>
#include <string>

#include "compiler/target/TargetProfile.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

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

class KernelBuilder;

/// Bounds on config entries: far above any model, far below what could overflow 64-bit offsets.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxStride = int64_t{1} << 36;

/// One value of a kernel: index, i1/i8/i16/i32, f16/f32, or a vector of those. Operators take
/// values of the same type, a vector and a scalar (broadcast), or a value and a C++ number.
/// Integers are unsigned in / and % and signed in comparisons.
class Val {
 public:
  Val() = default;
  Val(KernelBuilder& k, mlir::Value v) : k_(&k), v_(v) {}

  KernelBuilder& k() const { return *k_; }
  mlir::Value v() const { return v_; }
  mlir::Type type() const { return v_.getType(); }
  mlir::Type elem() const;
  /// Number of lanes, 0 for a scalar.
  int64_t lanes() const;
  explicit operator bool() const { return v_ != nullptr; }

 private:
  KernelBuilder* k_ = nullptr;
  mlir::Value v_;
};
using Vals = llvm::SmallVector<Val, 8>;

/// A flat buffer of one element type.
struct Buf {
  mlir::Value mem;
  mlir::Type elem;
};

/// The constants of a kernel. A getter without a default reports a missing entry; every getter
/// reports one of the wrong kind. After a report `failed()` holds and 0 (or "") was returned.
class Config {
 public:
  Config(mlir::DictionaryAttr attrs, mlir::Location loc, llvm::StringRef kernel)
      : attrs_(attrs), loc_(loc), kernel_(kernel) {}

  bool has(llvm::StringRef name) const { return attrs_ && attrs_.contains(name); }
  int64_t i(llvm::StringRef name, std::optional<int64_t> otherwise = {});
  double f(llvm::StringRef name, std::optional<double> otherwise = {});
  bool b(llvm::StringRef name, std::optional<bool> otherwise = {});
  llvm::StringRef s(llvm::StringRef name, std::optional<llvm::StringRef> otherwise = {});
  /// s(name), which must be one of `allowed`; answers its place in the list.
  int oneOf(llvm::StringRef name, llvm::ArrayRef<llvm::StringRef> allowed);
  /// i(name), which must lie in [lo, hi] and be a multiple of `step`.
  int64_t in(llvm::StringRef name, int64_t lo, int64_t hi, int64_t step = 1,
             std::optional<int64_t> otherwise = {});
  /// Reports "kernel 'k': <message>" unless `ok`.
  bool require(bool ok, const llvm::Twine& message);
  bool failed() const { return failed_; }

 private:
  mlir::Attribute get(llvm::StringRef name, bool optional);
  void wrong(llvm::StringRef name, llvm::StringRef expected, mlir::Attribute found);

  mlir::DictionaryAttr attrs_;
  mlir::Location loc_;
  std::string kernel_;
  bool failed_ = false;
};

class KernelBuilder {
 public:
  /// Starts @symbol at the end of `module`; `kernel` is the catalogue's name. Loads the dialects.
  KernelBuilder(mlir::ModuleOp module, llvm::StringRef symbol, llvm::StringRef kernel,
                mlir::DictionaryAttr config, const TargetProfile& profile);
  ~KernelBuilder();
  /// Ends the function, verifies it and returns it; erases it and fails if the config was refused.
  mlir::FailureOr<mlir::func::FuncOp> finish();

  Config& cfg() { return cfg_; }
  const TargetProfile& profile() const { return profile_; }
  mlir::ImplicitLocOpBuilder& b() { return b_; }

  // --- Signature: bindings and push constants in the order of the calls --------------------------
  Buf in(mlir::Type elem, bool mayAlias = false) { return binding(elem, true, mayAlias); }
  Buf out(mlir::Type elem, bool mayAlias = false) { return binding(elem, false, mayAlias); }
  Val push();
  Val x() { return grid(0); }
  Val y() { return grid(1); }
  Val z() { return grid(2); }
  /// `bytes` of the worker's private memory, 64-byte aligned, of unknown contents.
  Buf scratch(mlir::Type elem, int64_t bytes);

  // --- Types and constants -----------------------------------------------------------------------
  mlir::Type f32() { return b_.getF32Type(); }
  mlir::Type i8() { return b_.getI8Type(); }
  mlir::Type i16() { return b_.getIntegerType(16); }
  mlir::Type i32() { return b_.getI32Type(); }
  mlir::Type index() { return b_.getIndexType(); }
  mlir::Type vec(mlir::Type elem, int64_t lanes = 16);
  Val idx(int64_t v) { return constant(index(), v); }
  Val constant(mlir::Type type, double v);  // a number or a splat
  Val iota(int64_t lanes = 16);             // i32: 0, 1, 2 ...
  Val zero(int64_t lanes = 16) { return constant(vec(f32(), lanes), 0.0); }

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
  using LoopBody = llvm::function_ref<Vals(Val i, llvm::ArrayRef<Val> carried)>;
  Vals forLoop(Val lo, Val hi, int64_t step, llvm::ArrayRef<Val> init, LoopBody body);
  void forLoop(Val lo, Val hi, int64_t step, llvm::function_ref<void(Val)> body);
  void ifThen(Val cond, llvm::function_ref<void()> then);
  Vals ifElse(Val cond, llvm::function_ref<Vals()> then, llvm::function_ref<Vals()> otherwise);
  /// body(i, {}) for i = 0, lanes, 2 lanes ... while a whole vector fits in n, then body(i, rest)
  /// for what is left. The counts are what load and store take.
  void forRow(int64_t n, int64_t lanes, llvm::function_ref<void(Val i, Val count)> body);
  /// Repeats `body` on the carried values while `cond` of them holds.
  Vals whileLoop(llvm::ArrayRef<Val> init, llvm::function_ref<Val(llvm::ArrayRef<Val>)> cond,
                 llvm::function_ref<Vals(llvm::ArrayRef<Val>)> body);

  // --- Facts emitters tile by --------------------------------------------------------------------
  /// How many 16-lane float32 registers' worth of accumulators, operands and temporaries fit the
  /// register file: 32 with AVX-512, 8 otherwise (16 x 8 lanes, or 32 x 4 lanes).
  int registers() const { return profile_.avx512 ? 32 : 8; }

  /// Calls an LLVM intrinsic of one result.
  Val intrinsic(llvm::StringRef name, mlir::Type result, llvm::ArrayRef<Val> args);

 private:
  Buf binding(mlir::Type elem, bool readonly, bool mayAlias);
  Val grid(int which);
  mlir::BlockArgument insertArg(mlir::Type type);

  Config cfg_;
  const TargetProfile& profile_;
  mlir::ImplicitLocOpBuilder b_;
  mlir::func::FuncOp func_;
  unsigned bindings_ = 0, push_ = 0;
  int64_t scratchBytes_ = 0;
  llvm::SmallVector<mlir::DictionaryAttr> argAttrs_;
};

/// Registered by name in Kernels.cpp. Reads k.cfg(), declares the signature, writes the body,
/// returns failure after a diagnostic (cfg().failed() is checked by finish() as well).
using Emitter = mlir::LogicalResult (*)(KernelBuilder& k);

// --- Arithmetic ----------------------------------------------------------------------------------
Val operator+(Val a, Val b);
Val operator-(Val a, Val b);
Val operator*(Val a, Val b);
Val operator/(Val a, Val b);
Val operator%(Val a, Val b);
Val operator&(Val a, Val b);
Val operator|(Val a, Val b);
Val operator^(Val a, Val b);
Val operator<(Val a, Val b);
Val operator<=(Val a, Val b);
Val operator>(Val a, Val b);
Val operator>=(Val a, Val b);
Val operator==(Val a, Val b);
Val operator!=(Val a, Val b);
Val operator-(Val a);
/// A number as a value of the type of `like`.
Val number(Val like, double v);

#define FATHOM_KERNEL_MIXED(op)                                                     \
  template <typename N>                                                             \
  requires std::integral<N> || std::floating_point<N> Val operator op(Val a, N b) { \
    return a op number(a, static_cast<double>(b));                                  \
  }                                                                                 \
  template <typename N>                                                             \
  requires std::integral<N> || std::floating_point<N> Val operator op(N a, Val b) { \
    return number(b, static_cast<double>(a)) op b;                                  \
  }
FATHOM_KERNEL_MIXED(+)
FATHOM_KERNEL_MIXED(-)
FATHOM_KERNEL_MIXED(*)
FATHOM_KERNEL_MIXED(/)
FATHOM_KERNEL_MIXED(%)
FATHOM_KERNEL_MIXED(&)
FATHOM_KERNEL_MIXED(|)
FATHOM_KERNEL_MIXED(^)
FATHOM_KERNEL_MIXED(<)
FATHOM_KERNEL_MIXED(<=)
FATHOM_KERNEL_MIXED(>)
FATHOM_KERNEL_MIXED(>=)
FATHOM_KERNEL_MIXED(==)
FATHOM_KERNEL_MIXED(!=)
#undef FATHOM_KERNEL_MIXED

Val shl(Val a, int n);
Val shr(Val a, int n);  // logical
Val sar(Val a, int n);  // arithmetic
/// a > b ? a : b, so that a NaN in `a` gives b; one instruction on x86.
Val max(Val a, Val b);
Val min(Val a, Val b);
Val select(Val cond, Val a, Val b);
Val fma(Val a, Val b, Val c);  // a b + c, one rounding
Val sqrt(Val a);
Val abs(Val a);
Val round(Val a);  // half to even; |a| < 2^22

// --- Vectors -------------------------------------------------------------------------------------
Val splat(Val scalar, int64_t lanes = 16);
Val lane(Val v, int64_t i);
/// out[i] = concat(a, b)[pick[i]].
Val permute(Val a, Val b, llvm::ArrayRef<int64_t> pick);
Val slice(Val v, int64_t from, int64_t lanes);
Val concat(Val a, Val b);
/// lane i < count. `count` is an index.
Val maskBelow(KernelBuilder& k, Val count, int64_t lanes = 16);
/// Halving trees in fixed order: the same result on every ISA.
Val reduceAdd(Val v);
Val reduceMax(Val v);
Val reduceMin(Val v);

// --- Conversions ---------------------------------------------------------------------------------
Val bitcast(Val v, mlir::Type elem);  // same bits; the number of lanes follows
Val toIndex(Val v);                   // sign-extends
Val toInt(Val v, mlir::Type elem);    // index or signed integer -> integer, by width
Val zext(Val v, mlir::Type elem);
Val toFloat(Val v);       // signed integer -> f32
Val truncToI32(Val v);    // f32 -> i32, towards zero
Val f16ToF32(Val bits);   // bits in i16
Val bf16ToF32(Val bits);  // bits in i16
Val f32ToBf16(Val v);     // -> i16, nearest even, NaN stays NaN
/// Pairs of bf16 in i32 lanes, as vdpbf16ps reads them: `lo` in the low half, both rounded.
Val packBf16(Val lo, Val hi);
Val lowBf16(Val pairs);   // -> f32
Val highBf16(Val pairs);  // -> f32

// --- Functions -----------------------------------------------------------------------------------
/// e^x within 1.5 ulp on [-87, 88]; 0 below (also for -inf and NaN), e^88 above.
Val exp(Val x);
Val sigmoid(Val x);
Val silu(Val x);
/// Natural logarithm of x > 0 within 2 ulp.
Val log(Val x);

// --- Dot products --------------------------------------------------------------------------------
/// acc[l] + sum_b u8[4 l + b] s8[4 l + b]; acc is 16 x i32, the others 64 x i8. Exact.
Val dotU8S8(Val acc, Val u8, Val s8);
/// The same for unsigned values <= 127 (nibbles): cheaper where the ISA has no 4-way dot.
Val dotU7S8(Val acc, Val u7, Val s8);
/// acc[l] + sum of the two bf16 products of lane l; a, b are 16 x i32 of bf16 pairs.
Val dotBf16(Val acc, Val a, Val b);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_KERNELBUILDER_H_
