// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The values, operators, loops and functions that kernel emitters of all targets are written in.
#ifndef FATHOM_COMPILER_KERNELS_VALUES_H_
#define FATHOM_COMPILER_KERNELS_VALUES_H_

#include <concepts>
#include <initializer_list>
#include <optional>

#include "compiler/kernels/Config.h"
#include "compiler/target/TargetProfile.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace fathom::kernels {

class ValueBuilder;

/// One value of a kernel: index, i1/i8/i16/i32, f16/f32, or a vector of those. Operators take
/// values of the same type, a vector and a scalar (broadcast), or a value and a C++ number.
/// Integers are unsigned in / and % and signed in comparisons.
class Val {
 public:
  Val() = default;
  Val(ValueBuilder& k, mlir::Value v) : k_(&k), v_(v) {}

  ValueBuilder& k() const { return *k_; }
  mlir::Value v() const { return v_; }
  mlir::Type type() const { return v_.getType(); }
  mlir::Type elem() const;
  /// Number of lanes, 0 for a scalar.
  int64_t lanes() const;
  explicit operator bool() const { return v_ != nullptr; }

 private:
  ValueBuilder* k_ = nullptr;
  mlir::Value v_;
};
using Vals = llvm::SmallVector<Val, 8>;

/// A flat buffer of one element type.
struct Buf {
  mlir::Value mem;
  mlir::Type elem;
};

/// What the builders of CPU and GPU kernels share: constants, control flow, and the facts about the
/// kernel that arithmetic depends on.
class ValueBuilder {
 public:
  ValueBuilder(Config config, const TargetProfile& profile, mlir::Location loc)
      : cfg_(std::move(config)), profile_(profile), b_(loc, loc.getContext()) {}
  virtual ~ValueBuilder() = default;

  Config& cfg() { return cfg_; }
  const TargetProfile& profile() const { return profile_; }
  mlir::ImplicitLocOpBuilder& b() { return b_; }

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

  // --- Control flow ------------------------------------------------------------------------------
  using LoopBody = llvm::function_ref<Vals(Val i, llvm::ArrayRef<Val> carried)>;
  Vals forLoop(Val lo, Val hi, int64_t step, llvm::ArrayRef<Val> init, LoopBody body);
  void forLoop(Val lo, Val hi, int64_t step, llvm::function_ref<void(Val)> body);
  void ifThen(Val cond, llvm::function_ref<void()> then);
  Vals ifElse(Val cond, llvm::function_ref<Vals()> then, llvm::function_ref<Vals()> otherwise);
  /// Repeats `body` on the carried values while `cond` of them holds.
  Vals whileLoop(llvm::ArrayRef<Val> init, llvm::function_ref<Val(llvm::ArrayRef<Val>)> cond,
                 llvm::function_ref<Vals(llvm::ArrayRef<Val>)> body);

  /// Calls an LLVM intrinsic of one result.
  Val intrinsic(llvm::StringRef name, mlir::Type result, llvm::ArrayRef<Val> args);
  /// round(x factor) to the nearest integer, |x factor| < 2^21: as a float, and as a 32-bit value
  /// whose low 16 bits are the integer's. Here by adding 1.5 x 2^23; a target whose compilers may
  /// take that addition back overrides it.
  struct Rounded {
    Val value, bits;
  };
  virtual Rounded roundProduct(Val x, double factor);

 protected:
  Config cfg_;
  const TargetProfile& profile_;
  mlir::ImplicitLocOpBuilder b_;
};

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
Val shr(Val a, Val n);
Val sar(Val a, int n);  // arithmetic
/// a > b ? a : b, so that a NaN in `a` gives b; one instruction on x86.
Val max(Val a, Val b);
Val min(Val a, Val b);
Val select(Val cond, Val a, Val b);
Val fma(Val a, Val b, Val c);  // a b + c, one rounding
Val sqrt(Val a);
Val abs(Val a);

// --- Vectors -------------------------------------------------------------------------------------
Val splat(Val scalar, int64_t lanes = 16);
Val lane(Val v, int64_t i);
/// out[i] = concat(a, b)[pick[i]].
Val permute(Val a, Val b, llvm::ArrayRef<int64_t> pick);
Val slice(Val v, int64_t from, int64_t lanes);
Val concat(Val a, Val b);
/// lane i < count. `count` is an index.
Val maskBelow(ValueBuilder& k, Val count, int64_t lanes = 16);
/// Halving trees in fixed order: the same result on every ISA.
Val reduceAdd(Val v);
Val reduceMax(Val v);
Val reduceMin(Val v);

// --- Conversions ---------------------------------------------------------------------------------
Val bitcast(Val v, mlir::Type elem);  // same bits; the number of lanes follows
Val toIndex(Val v);                   // sign-extends
Val toInt(Val v, mlir::Type elem);    // index or signed integer -> integer, by width
Val zext(Val v, mlir::Type elem);
Val sext(Val v, mlir::Type elem);
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
/// Coefficients: the highest first.
Val polynomial(Val x, std::initializer_list<double> coefficients);
/// p 2^n; `bits` as roundProduct gives them with n.
Val timesPowerOf2(Val p, Val bits);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_VALUES_H_
