// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Arithmetic of f32 and f64: one rounding each, in the mode asked for; approximations.
//
// The approximate functions are computed in double and rounded to float once, so they are within
// half a unit in the last place, which is inside what PTX promises for each (ex2 2 ulp, lg2 and
// rsqrt 2^-22, sin and cos 2^-20 absolute, tanh 2^-11 relative, rcp 1 ulp, sqrt 1 ulp, div 2 ulp).
#include <algorithm>
#include <cfenv>
#include <cmath>

#include "tests/cuda_sim/ops/lanes.h"
#include "tests/cuda_sim/small_float.h"

namespace fathom::cuda_sim {
namespace {

// A NaN made by f32 arithmetic has these bits whatever the sources.
constexpr uint32_t kNan32 = 0x7fffffff;

inline float Canonical(float v) { return v != v ? std::bit_cast<float>(kNan32) : v; }
inline double Canonical(double v) { return v; }
inline float Flush(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.f, v) : v; }
inline double Flush(double v) { return v; }

enum class Finish : uint8_t { none, flush, saturate, flush_saturate };

template <Finish finish, typename T>
inline T Input(T v) {
  return finish == Finish::flush || finish == Finish::flush_saturate ? Flush(v) : v;
}

template <Finish finish, typename T>
inline T Output(T v) {
  if constexpr (finish == Finish::saturate || finish == Finish::flush_saturate) {
    v = v != v ? T{0} : std::clamp(v, T{0}, T{1});
    if (v == 0) v = 0;  // no negative zero
  }
  if constexpr (finish == Finish::flush || finish == Finish::flush_saturate) v = Flush(v);
  return Canonical(v);
}

int FenvMode(Rounding rounding) {
  switch (rounding) {
    case Rounding::rz:
      return FE_TOWARDZERO;
    case Rounding::rm:
      return FE_DOWNWARD;
    case Rounding::rp:
      return FE_UPWARD;
    default:
      return FE_TONEAREST;
  }
}

// Sets the rounding mode of the processor for a scope.
class ScopedRounding {
 public:
  explicit ScopedRounding(Rounding rounding) { std::fesetround(FenvMode(rounding)); }
  ~ScopedRounding() { std::fesetround(FE_TONEAREST); }
};

// Operands go through volatile, so that nothing is computed before the mode is set or after it is
// set back.
template <typename T, auto f>
T Directed(T a, T b, T c, Rounding rounding) {
  volatile T x = a, y = b, z = c;
  const ScopedRounding scope(rounding);
  volatile T result = f(x, y, z);
  return result;
}

constexpr auto kAdd = [](auto a, auto b, auto) { return a + b; };
constexpr auto kSub = [](auto a, auto b, auto) { return a - b; };
constexpr auto kMul = [](auto a, auto b, auto) { return a * b; };
constexpr auto kDiv = [](auto a, auto b, auto) { return a / b; };
constexpr auto kFma = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
constexpr auto kRcp = [](auto a, auto, auto) { return decltype(a){1} / a; };
constexpr auto kSqrt = [](auto a, auto, auto) { return std::sqrt(a); };

// f(row 1, row 2, row 3); `sources` of them are there.
template <typename T, auto f, int sources, Finish finish>
void RunNearest(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  const T* b = sources > 1 ? warp.Row<T>(op.row[2]) : a;
  const T* c = sources > 2 ? warp.Row<T>(op.row[3]) : a;
  ForLanes(mask, [&](int lane) {
    d[lane] =
        Output<finish>(f(Input<finish>(a[lane]), Input<finish>(b[lane]), Input<finish>(c[lane])));
  });
}

template <typename T, auto f, int sources>
void RunDirected(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  const T* b = sources > 1 ? warp.Row<T>(op.row[2]) : a;
  const T* c = sources > 2 ? warp.Row<T>(op.row[3]) : a;
  const auto finish = static_cast<Finish>(op.param >> 8);
  const auto rounding = static_cast<Rounding>(op.param & 0xff);
  const auto input = [&](T v) { return finish == Finish::flush ? Flush(v) : v; };
  ForLanes(mask, [&](int lane) {
    const T value = Directed<T, f>(input(a[lane]), input(b[lane]), input(c[lane]), rounding);
    switch (finish) {
      case Finish::none:
        d[lane] = Output<Finish::none>(value);
        break;
      case Finish::flush:
        d[lane] = Output<Finish::flush>(value);
        break;
      case Finish::saturate:
        d[lane] = Output<Finish::saturate>(value);
        break;
      case Finish::flush_saturate:
        d[lane] = Output<Finish::flush_saturate>(Flush(value));
        break;
    }
  });
}

struct Variant {
  Rounding rounding = Rounding::rn;
  Finish finish = Finish::none;
  bool approximate = false;
};

Variant TakeVariant(Decoder& d) {
  Variant variant;
  const int rounding = d.TakeOneOf({"rn", "rz", "rm", "rp"});
  if (rounding > 0) variant.rounding = static_cast<Rounding>(rounding);
  variant.approximate = d.TakeOneOf({"approx", "full"}) >= 0;
  const bool flush = d.Take("ftz");
  const bool saturate = d.Take("sat");
  variant.finish = flush && saturate ? Finish::flush_saturate
                   : flush           ? Finish::flush
                   : saturate        ? Finish::saturate
                                     : Finish::none;
  return variant;
}

template <typename T, auto f, int sources>
Handler HandlerFor(Decoder& d, const Variant& variant) {
  if (variant.rounding != Rounding::rn) {
    d.op.param = static_cast<uint32_t>(variant.rounding) | static_cast<uint32_t>(variant.finish)
                                                               << 8;
    return RunDirected<T, f, sources>;
  }
  switch (variant.finish) {
    case Finish::flush:
      return RunNearest<T, f, sources, Finish::flush>;
    case Finish::saturate:
      return RunNearest<T, f, sources, Finish::saturate>;
    case Finish::flush_saturate:
      return RunNearest<T, f, sources, Finish::flush_saturate>;
    default:
      return RunNearest<T, f, sources, Finish::none>;
  }
}

template <auto f, int sources>
void DecodeArithmetic(Decoder& d) {
  const Variant variant = TakeVariant(d);
  const Type type = d.TakeType();
  if (type == Type::f64 && (variant.finish != Finish::none || variant.approximate)) {
    d.Fail("f64 has no .ftz, .sat or .approx here");
  }
  DecodeSameType(d, type, sources);
  d.op.run = type == Type::f32 ? HandlerFor<float, f, sources>(d, variant)
                               : HandlerFor<double, f, sources>(d, variant);
}

// min and max return the operand that is a number; .NaN returns NaN; -0 is less than +0.
template <bool max, typename T>
inline T Extreme(T a, T b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) == max ? b : a;
  return (a < b) == max ? b : a;
}

template <typename T, bool max>
void RunExtreme(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  const T* b = warp.Row<T>(op.row[2]);
  const bool nan = (op.param & 1) != 0, magnitude = (op.param & 4) != 0;
  ForLanes(mask, [&](int lane) {
    T x = op.flag ? Flush(a[lane]) : a[lane], y = op.flag ? Flush(b[lane]) : b[lane];
    const bool any_nan = x != x || y != y;
    if (magnitude) {
      const bool negative = std::signbit(x) != std::signbit(y);
      x = std::copysign(Extreme<max>(std::fabs(x), std::fabs(y)), negative ? T{-1} : T{1});
      y = x;
    }
    d[lane] = nan && any_nan ? Canonical(static_cast<T>(NAN)) : Canonical(Extreme<max>(x, y));
  });
}

void DecodeExtreme(Decoder& d) {
  d.op.flag = d.Take("ftz");
  d.op.param = (d.Take("NaN") ? 1u : 0u) | (d.Take("xorsign") ? 2u : 0u);
  if (d.Take("abs")) d.op.param |= 4;
  if ((d.op.param & 6) == 2 || (d.op.param & 6) == 4) d.Fail("expected .xorsign.abs");
  const Type type = d.TakeType();
  DecodeSameType(d, type, 2);
  const bool max = d.name() == "max";
  if (type == Type::f32) {
    d.op.run = max ? RunExtreme<float, true> : RunExtreme<float, false>;
  } else {
    d.op.run = max ? RunExtreme<double, true> : RunExtreme<double, false>;
  }
}

// neg and abs work on the sign alone.
constexpr auto kNeg = [](auto a, auto, auto) { return -a; };
constexpr auto kAbs = [](auto a, auto, auto) { return std::fabs(a); };

template <typename T, auto f>
void RunSign(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  ForLanes(mask, [&](int lane) { d[lane] = f(op.flag ? Flush(a[lane]) : a[lane], T{}, T{}); });
}

void DecodeSign(Decoder& d) {
  d.op.flag = d.Take("ftz");
  const Type type = d.TakeType();
  DecodeSameType(d, type, 1);
  if (d.name() == "neg") {
    d.op.run = type == Type::f32 ? RunSign<float, kNeg> : RunSign<double, kNeg>;
  } else {
    d.op.run = type == Type::f32 ? RunSign<float, kAbs> : RunSign<double, kAbs>;
  }
}

// copysign d, a, b: the magnitude of b with the sign of a.
constexpr auto kCopysign = [](auto a, auto b) { return std::copysign(b, a); };

void DecodeCopysign(Decoder& d) {
  const Type type = d.TakeType();
  DecodeSameType(d, type, 2);
  d.op.run =
      type == Type::f32 ? MapBinary<float, float, kCopysign> : MapBinary<double, double, kCopysign>;
}

// --- approximations ---

constexpr auto kEx2 = [](float a, float, float) {
  return static_cast<float>(std::exp2(static_cast<double>(a)));
};
constexpr auto kLg2 = [](float a, float, float) {
  return static_cast<float>(std::log2(static_cast<double>(a)));
};
constexpr auto kSin = [](float a, float, float) {
  return static_cast<float>(std::sin(static_cast<double>(a)));
};
constexpr auto kCos = [](float a, float, float) {
  return static_cast<float>(std::cos(static_cast<double>(a)));
};
constexpr auto kTanh = [](float a, float, float) {
  return static_cast<float>(std::tanh(static_cast<double>(a)));
};
constexpr auto kRsqrt = [](auto a, auto, auto) {
  return static_cast<decltype(a)>(1.0 / std::sqrt(static_cast<double>(a)));
};

template <auto f>
void DecodeApproximation(Decoder& d) {
  const Variant variant = TakeVariant(d);
  const Type type = d.TakeType();
  if (!variant.approximate && d.name() != "tanh") d.Fail("expected .approx");
  if (type != Type::f32) d.Fail("expected f32");
  DecodeSameType(d, type, 1);
  d.op.run = HandlerFor<float, f, 1>(d, variant);
}

void DecodeRsqrt(Decoder& d) {
  const Variant variant = TakeVariant(d);
  const Type type = d.TakeType();
  if (!variant.approximate) d.Fail("expected .approx");
  DecodeSameType(d, type, 1);
  d.op.run = type == Type::f32 ? HandlerFor<float, kRsqrt, 1>(d, variant)
                               : HandlerFor<double, kRsqrt, 1>(d, variant);
}

constexpr uint32_t kFinite = 1, kInfinite = 2, kNumber = 3, kNotANumber = 4, kNormal = 5,
                   kSubnormal = 6;

template <typename T>
void RunTestp(Warp& warp, const Op& op, Mask mask) {
  const T* a = warp.Row<T>(op.row[1]);
  Mask value = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const int kind = std::fpclassify(a[lane]);
    bool is = false;
    switch (op.param) {
      case kFinite:
        is = std::isfinite(a[lane]);
        break;
      case kInfinite:
        is = kind == FP_INFINITE;
        break;
      case kNumber:
        is = kind != FP_NAN;
        break;
      case kNotANumber:
        is = kind == FP_NAN;
        break;
      case kNormal:
        is = kind == FP_NORMAL;
        break;
      case kSubnormal:
        is = kind == FP_SUBNORMAL;
        break;
    }
    value |= Mask{is} << lane;
  }
  warp.SetPredicate(op.row[0], mask, value);
}

void DecodeTestp(Decoder& d) {
  d.op.param = static_cast<uint32_t>(
      1 + d.TakeOneOf({"finite", "infinite", "number", "notanumber", "normal", "subnormal"}));
  if (d.op.param == 0) d.Fail("unknown test");
  const Type type = d.TakeType();
  d.ExpectCount(2);
  d.op.row[0] = d.DestPredicate(0);
  d.op.row[1] = d.Source(1, type);
  d.op.run = type == Type::f32 ? RunTestp<float> : RunTestp<double>;
}

}  // namespace

void AddFloatOps(DecoderTable& table) {
  table.Add({"add"}, Group::floating, DecodeArithmetic<kAdd, 2>);
  table.Add({"sub"}, Group::floating, DecodeArithmetic<kSub, 2>);
  table.Add({"mul"}, Group::floating, DecodeArithmetic<kMul, 2>);
  table.Add({"div"}, Group::floating, DecodeArithmetic<kDiv, 2>);
  table.Add({"fma", "mad"}, Group::floating, DecodeArithmetic<kFma, 3>);
  table.Add({"rcp"}, Group::floating, DecodeArithmetic<kRcp, 1>);
  table.Add({"sqrt"}, Group::floating, DecodeArithmetic<kSqrt, 1>);
  table.Add({"min", "max"}, Group::floating, DecodeExtreme);
  table.Add({"neg", "abs"}, Group::floating, DecodeSign);
  table.Add({"copysign"}, Group::floating, DecodeCopysign);
  table.Add({"ex2"}, Group::floating, DecodeApproximation<kEx2>);
  table.Add({"lg2"}, Group::floating, DecodeApproximation<kLg2>);
  table.Add({"sin"}, Group::floating, DecodeApproximation<kSin>);
  table.Add({"cos"}, Group::floating, DecodeApproximation<kCos>);
  table.Add({"tanh"}, Group::floating, DecodeApproximation<kTanh>);
  table.Add({"rsqrt"}, Group::floating, DecodeRsqrt);
  table.Add({"testp"}, Group::floating, DecodeTestp);
}

}  // namespace fathom::cuda_sim
