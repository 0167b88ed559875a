// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Floating-point instructions and conversions against C++.
#include <algorithm>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "tests/cuda_sim/small_float.h"
#include "tests/cuda_sim/test/op_check.h"

namespace fathom::cuda_sim {
namespace {

using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

float Ftz(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.f, v) : v; }

TEST(FloatOps, RoundedOnce) {
  CheckOp<float, float>("add.rn.f32 %d, %a, %b;", [](float a, float b, float) { return a + b; });
  CheckOp<float, float>("sub.f32 %d, %a, %b;", [](float a, float b, float) { return a - b; });
  CheckOp<float, float>("mul.f32 %d, %a, %b;", [](float a, float b, float) { return a * b; });
  CheckOp<float, float>("fma.rn.f32 %d, %a, %b, %c;",
                        [](float a, float b, float c) { return std::fma(a, b, c); });
  CheckOp<float, float>("div.rn.f32 %d, %a, %b;", [](float a, float b, float) { return a / b; });
  CheckOp<float, float>("sqrt.rn.f32 %d, %a;", [](float a, float, float) { return std::sqrt(a); });
  CheckOp<float, float>("rcp.rn.f32 %d, %a;", [](float a, float, float) { return 1 / a; });
  CheckOp<double, double>("fma.rn.f64 %d, %a, %b, %c;",
                          [](double a, double b, double c) { return std::fma(a, b, c); });
  CheckOp<double, double>("add.f64 %d, %a, %b;", [](double a, double b, double) { return a + b; });
  CheckOp<double, double>("div.rn.f64 %d, %a, %b;",
                          [](double a, double b, double) { return a / b; });
}

// The directed modes, by exact arithmetic in double.
TEST(FloatOps, DirectedRounding) {
  const std::pair<const char*, Rounding> kModes[] = {
      {"rz", Rounding::rz}, {"rm", Rounding::rm}, {"rp", Rounding::rp}};
  for (const auto& [name, mode] : kModes) {
    const std::string suffix = std::string(".") + name + ".f32 %d, %a, %b";
    const Rounding m = mode;
    // x + y, where an exact zero of unlike signs depends on the mode.
    const auto sum = [m](double x, double y) {
      const double v = AddToOdd(x, y);
      if (v != 0) return DoubleToFloat(v, m);
      if (std::signbit(x) == std::signbit(y)) return static_cast<float>(x);
      return m == Rounding::rm ? -0.0f : 0.0f;
    };
    CheckOp<float, float>("add" + suffix + ";", [&](float a, float b, float) { return sum(a, b); });
    CheckOp<float, float>("mul" + suffix + ";",
                          [&](float a, float b, float) { return DoubleToFloat(double{a} * b, m); });
    CheckOp<float, float>("fma" + suffix + ", %c;",
                          [&](float a, float b, float c) { return sum(double{a} * b, c); });
  }
}

TEST(FloatOps, FlushAndSaturate) {
  CheckOp<float, float>("add.ftz.f32 %d, %a, %b;",
                        [](float a, float b, float) { return Ftz(Ftz(a) + Ftz(b)); });
  CheckOp<float, float>("mul.ftz.f32 %d, %a, %b;",
                        [](float a, float b, float) { return Ftz(Ftz(a) * Ftz(b)); });
  CheckOp<float, float>("add.sat.f32 %d, %a, %b;", [](float a, float b, float) {
    const float v = a + b;
    return v > 0 ? std::min(v, 1.0f) : 0.0f;
  });
  CheckOp<float, float>("fma.rn.ftz.sat.f32 %d, %a, %b, %c;", [](float a, float b, float c) {
    const float v = std::fma(Ftz(a), Ftz(b), Ftz(c));
    return v > 0 ? Ftz(std::min(v, 1.0f)) : 0.0f;
  });
}

#if defined(__x86_64__)
TEST(FloatOps, WhateverTheCallersMode) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040);  // flush to zero, subnormals are zero
  Sim sim;
  EXPECT_EQ(sim.Load(Ptx(1,
                         ".reg .f32 %a; .reg .b64 %p;\nld.param.u64 %p, [p0];\n"
                         "ld.global.f32 %a, [%p];\nmul.f32 %a, %a, 0f3F000000;\n"
                         "st.global.f32 [%p], %a;\nret;")),
            "");
  const uint64_t word = sim.Upload(std::vector<uint32_t>{0x00800000});  // the smallest normal
  EXPECT_EQ(sim.Launch("k", {1, 1, 1}, {1, 1, 1}, {word}), "");
  EXPECT_EQ(_mm_getcsr() & 0x8040u, 0x8040u);
  _mm_setcsr(saved);
  EXPECT_EQ(sim.Download<uint32_t>(word, 1)[0], 0x00400000u);
}
#endif

TEST(FloatOps, MinMaxSigns) {
  CheckOp<float, float>("min.f32 %d, %a, %b;", [](float a, float b, float) {
    if (a == 0 && b == 0) return std::signbit(a) ? a : b;
    return std::fmin(a, b);
  });
  CheckOp<float, float>("max.NaN.f32 %d, %a, %b;", [](float a, float b, float) {
    if (a != a || b != b) return NAN;
    if (a == 0 && b == 0) return std::signbit(a) ? b : a;
    return std::max(a, b);
  });
  CheckOp<double, double>("max.f64 %d, %a, %b;", [](double a, double b, double) {
    if (a == 0 && b == 0) return std::signbit(a) ? b : a;
    return std::fmax(a, b);
  });
  CheckOp<float, float>("neg.f32 %d, %a;", [](float a, float, float) { return -a; });
  CheckOp<float, float>("abs.ftz.f32 %d, %a;",
                        [](float a, float, float) { return Ftz(std::fabs(a)); });
  CheckOp<float, float>("copysign.f32 %d, %a, %b;",
                        [](float a, float b, float) { return std::copysign(b, a); });
}

TEST(FloatOps, Approximations) {
  constexpr double kUlp = 1.2e-7;
  CheckOp<float, float>(
      "ex2.approx.f32 %d, %a;", [](float a, float, float) { return float(std::exp2(double(a))); },
      80, kUlp);
  CheckOp<float, float>(
      "ex2.approx.ftz.f32 %d, %a;",
      [](float a, float, float) { return Ftz(float(std::exp2(double(Ftz(a))))); }, 80, kUlp);
  CheckOp<float, float>(
      "lg2.approx.f32 %d, %a;", [](float a, float, float) { return std::log2(a); }, 80, 2 * kUlp);
  CheckOp<float, float>(
      "rsqrt.approx.f32 %d, %a;",
      [](float a, float, float) { return float(1 / std::sqrt(double(a))); }, 80, kUlp);
  CheckOp<float, float>(
      "rcp.approx.ftz.f32 %d, %a;", [](float a, float, float) { return Ftz(1 / Ftz(a)); }, 80,
      kUlp);
  CheckOp<float, float>(
      "sqrt.approx.f32 %d, %a;", [](float a, float, float) { return std::sqrt(a); }, 80, kUlp);
  CheckOp<float, float>(
      "div.full.f32 %d, %a, %b;", [](float a, float b, float) { return a / b; }, 80, 2 * kUlp);
  CheckOp<float, float>(
      "tanh.approx.f32 %d, %a;", [](float a, float, float) { return std::tanh(a); }, 80, 2 * kUlp);
}

TEST(FloatOps, Comparisons) {
  const std::string pick = " %q, %a, %b;\nselp.b32 %d, 1, 0, %q;";
  CheckOp<u32, float>("setp.lt.f32" + pick, [](float a, float b, float) { return u32(a < b); });
  CheckOp<u32, float>("setp.ne.f32" + pick,
                      [](float a, float b, float) { return u32(a < b || a > b); });
  CheckOp<u32, float>("setp.neu.f32" + pick,
                      [](float a, float b, float) { return u32(!(a == b)); });
  CheckOp<u32, float>("setp.leu.f32" + pick, [](float a, float b, float) { return u32(!(a > b)); });
  CheckOp<u32, float>("setp.num.f32" + pick,
                      [](float a, float b, float) { return u32(a == a && b == b); });
  CheckOp<u32, float>("setp.eq.ftz.f32" + pick,
                      [](float a, float b, float) { return u32(Ftz(a) == Ftz(b)); });
  CheckOp<u32, double>("setp.nan.f64" + pick,
                       [](double a, double b, double) { return u32(a != a || b != b); });
  CheckOp<u32, u16>("setp.gt.f16" + pick,
                    [](u16 a, u16 b, u16) { return u32(HalfToFloat(a) > HalfToFloat(b)); });
  CheckOp<u32, float>(
      "testp.subnormal.f32 %q, %a;\nselp.b32 %d, 1, 0, %q;",
      [](float a, float, float) { return u32(std::fpclassify(a) == FP_SUBNORMAL); });
}

// What one rounding of the exact value gives; NaN of any kind is the canonical one.
u16 Half(double v) { return v != v ? 0x7fff : DoubleToHalf(v); }
u16 Brain(double v) { return v != v ? 0x7fff : DoubleToBf16(v); }
// The exact a * b + c of small formats, rounded to odd in double.
double ExactFma(double a, double b, double c) {
#ifdef __SIZEOF_FLOAT128__
  using Wide = __float128;
#else
  using Wide = long double;
#endif
  const Wide product = static_cast<Wide>(a) * b, exact = product + c;
  const Wide part = exact - product;
  const Wide error = (product - (exact - part)) + (c - part);  // beyond 113 bits
  const double d = static_cast<double>(exact);
  const Wide rest = (exact - d) + error;
  if (!std::isfinite(d) || rest == 0) return d;
  const u64 bits = std::bit_cast<u64>(d);
  return std::bit_cast<double>(((rest < 0) == (d > 0) ? bits - 1 : bits) | 1);
}

TEST(SmallFloatOps, Half) {
  const auto h = HalfToFloat;
  CheckOp<u16, u16>("add.rn.f16 %d, %a, %b;",
                    [&](u16 a, u16 b, u16) { return Half(double{h(a)} + h(b)); });
  CheckOp<u16, u16>("mul.f16 %d, %a, %b;",
                    [&](u16 a, u16 b, u16) { return Half(double{h(a)} * h(b)); });
  CheckOp<u16, u16>("fma.rn.f16 %d, %a, %b, %c;",
                    [&](u16 a, u16 b, u16 c) { return Half(ExactFma(h(a), h(b), h(c))); });
  CheckOp<u16, u16>("fma.rn.relu.f16 %d, %a, %b, %c;", [&](u16 a, u16 b, u16 c) {
    const double v = ExactFma(h(a), h(b), h(c));
    return v < 0 ? u16{0} : Half(v);
  });
  CheckOp<u32, u32>("fma.rn.f16x2 %d, %a, %b, %c;", [&](u32 a, u32 b, u32 c) {
    return u32(Half(ExactFma(h(u16(a)), h(u16(b)), h(u16(c))))) |
           u32(Half(ExactFma(h(u16(a >> 16)), h(u16(b >> 16)), h(u16(c >> 16))))) << 16;
  });
  CheckOp<u32, u32>("sub.rn.f16x2 %d, %a, %b;", [&](u32 a, u32 b, u32) {
    return u32(Half(double{h(u16(a))} - h(u16(b)))) |
           u32(Half(double{h(u16(a >> 16))} - h(u16(b >> 16)))) << 16;
  });
  CheckOp<u16, u16>("max.f16 %d, %a, %b;", [&](u16 a, u16 b, u16) {
    const float x = h(a), y = h(b);
    if (x == 0 && y == 0) return Half(std::signbit(x) ? y : x);
    return Half(x != x ? y : y != y ? x : std::max(x, y));
  });
  CheckOp<u32, u32>("neg.f16x2 %d, %a;", [](u32 a, u32, u32) { return a ^ 0x80008000u; });
}

TEST(SmallFloatOps, Brain) {
  const auto b2f = Bf16ToFloat;
  CheckOp<u16, u16>("fma.rn.bf16 %d, %a, %b, %c;",
                    [&](u16 a, u16 b, u16 c) { return Brain(ExactFma(b2f(a), b2f(b), b2f(c))); });
  CheckOp<u32, u32>("fma.rn.bf16x2 %d, %a, %b, %c;", [&](u32 a, u32 b, u32 c) {
    return u32(Brain(ExactFma(b2f(u16(a)), b2f(u16(b)), b2f(u16(c))))) |
           u32(Brain(ExactFma(b2f(u16(a >> 16)), b2f(u16(b >> 16)), b2f(u16(c >> 16))))) << 16;
  });
  CheckOp<u16, u16>(
      "add.bf16 %d, %a, %b;", [&](u16 a, u16 b, u16) { return Brain(AddToOdd(b2f(a), b2f(b))); },
      90);
  CheckOp<u16, u16>(
      "mul.bf16 %d, %a, %b;", [&](u16 a, u16 b, u16) { return Brain(double{b2f(a)} * b2f(b)); },
      90);
}

TEST(SmallFloatOps, PairsOfFloats) {
  const auto low = [](u64 v) { return std::bit_cast<float>(u32(v)); };
  const auto high = [](u64 v) { return std::bit_cast<float>(u32(v >> 32)); };
  const auto pair = [](float a, float b) {
    const auto bits = [](float v) { return v != v ? 0x7fffffffu : std::bit_cast<u32>(v); };
    return u64{bits(b)} << 32 | bits(a);
  };
  CheckOp<u64, u64>(
      "fma.rn.f32x2 %d, %a, %b, %c;",
      [&](u64 a, u64 b, u64 c) {
        return pair(std::fma(low(a), low(b), low(c)), std::fma(high(a), high(b), high(c)));
      },
      100);
  CheckOp<u64, u64>(
      "add.rn.f32x2 %d, %a, %b;",
      [&](u64 a, u64 b, u64) { return pair(low(a) + low(b), high(a) + high(b)); }, 120);
  CheckOp<u64, u64>(
      "mul.rn.f32x2 %d, %a, %b;",
      [&](u64 a, u64 b, u64) { return pair(low(a) * low(b), high(a) * high(b)); }, 120);
}

TEST(Conversions, BetweenIntegers) {
  CheckOp<u64, u32>("cvt.u64.u32 %d, %a;", [](u32 a, u32, u32) { return u64{a}; });
  CheckOp<int64_t, int32_t>("cvt.s64.s32 %d, %a;",
                            [](int32_t a, int32_t, int32_t) { return int64_t{a}; });
  CheckOp<u32, u64>("cvt.u32.u64 %d, %a;", [](u64 a, u64, u64) { return u32(a); });
  CheckOp<u32, u32>("cvt.s32.s8 %d, %a;", [](u32 a, u32, u32) { return u32(int32_t{int8_t(a)}); });
  CheckOp<u16, u32>("cvt.u16.u32 %d, %a;", [](u32 a, u32, u32) { return u16(a); });
  CheckOp<u32, int32_t>("cvt.sat.u8.s32 %d, %a;",
                        [](int32_t a, int32_t, int32_t) { return u32(std::clamp(a, 0, 255)); });
  CheckOp<int32_t, int32_t>("cvt.sat.s8.s32 %d, %a;",
                            [](int32_t a, int32_t, int32_t) { return std::clamp(a, -128, 127); });
}

TEST(Conversions, FromAndToFloat) {
  CheckOp<float, int32_t>("cvt.rn.f32.s32 %d, %a;",
                          [](int32_t a, int32_t, int32_t) { return float(a); });
  CheckOp<float, u64>("cvt.rn.f32.u64 %d, %a;", [](u64 a, u64, u64) { return float(a); });
  CheckOp<float, u64>("cvt.rz.f32.u64 %d, %a;", [](u64 a, u64, u64) {
    const float f = float(a);
    const bool up = f >= 0x1p64f || u64(f) > a;
    return up ? std::nextafter(f, 0.f) : f;
  });
  CheckOp<double, int64_t>("cvt.rn.f64.s64 %d, %a;",
                           [](int64_t a, int64_t, int64_t) { return double(a); });
  CheckOp<u16, int32_t>("cvt.rn.f16.s32 %d, %a;",
                        [](int32_t a, int32_t, int32_t) { return Half(a); });
  CheckOp<int32_t, float>("cvt.rzi.s32.f32 %d, %a;", [](float a, float, float) {
    if (a != a) return 0;
    return int32_t(std::clamp(double(std::trunc(a)), -0x1p31, 0x1p31 - 1));
  });
  CheckOp<u32, float>("cvt.rni.u32.f32 %d, %a;", [](float a, float, float) {
    if (a != a) return u32{0};
    return u32(std::clamp(std::nearbyint(double(a)), 0.0, 0x1p32 - 1));
  });
  CheckOp<int32_t, float>("cvt.rmi.s32.f32 %d, %a;", [](float a, float, float) {
    if (a != a) return 0;
    return int32_t(std::clamp(std::floor(double(a)), -0x1p31, 0x1p31 - 1));
  });
  CheckOp<int32_t, float>("cvt.rni.sat.s8.f32 %d, %a;", [](float a, float, float) {
    if (a != a) return 0;
    return int32_t(std::clamp(std::nearbyint(double(a)), -128.0, 127.0));
  });
  CheckOp<float, float>("cvt.rpi.f32.f32 %d, %a;",
                        [](float a, float, float) { return std::ceil(a); });
}

TEST(Conversions, BetweenFloats) {
  CheckOp<float, u16>("cvt.f32.f16 %d, %a;", [](u16 a, u16, u16) { return HalfToFloat(a); });
  CheckOp<float, u16>("cvt.f32.bf16 %d, %a;", [](u16 a, u16, u16) { return Bf16ToFloat(a); });
  CheckOp<u16, float>("cvt.rn.f16.f32 %d, %a;", [](float a, float, float) { return Half(a); });
  CheckOp<u16, float>("cvt.rz.f16.f32 %d, %a;", [](float a, float, float) {
    return a != a ? u16{0x7fff} : DoubleToHalf(a, Rounding::rz);
  });
  CheckOp<u16, float>("cvt.rn.bf16.f32 %d, %a;", [](float a, float, float) { return Brain(a); });
  CheckOp<u32, float>("cvt.rn.f16x2.f32 %d, %a, %b;",
                      [](float a, float b, float) { return u32{Half(a)} << 16 | Half(b); });
  CheckOp<u32, float>("cvt.rn.bf16x2.f32 %d, %a, %b;",
                      [](float a, float b, float) { return u32{Brain(a)} << 16 | Brain(b); });
  CheckOp<float, double>("cvt.rn.f32.f64 %d, %a;",
                         [](double a, double, double) { return float(a); });
  CheckOp<double, float>("cvt.f64.f32 %d, %a;", [](float a, float, float) { return double(a); });
  CheckOp<float, float>("cvt.sat.f32.f32 %d, %a;",
                        [](float a, float, float) { return a > 0 ? std::min(a, 1.0f) : 0.0f; });
}

// The fast conversions against the general one, for every half and around every tie.
TEST(SmallFloat, FastAndGeneralRoundingAgree) {
  for (u32 h = 0; h < 65536; ++h) {
    const float v = HalfToFloat(static_cast<u16>(h));
    if (v != v) continue;
    ASSERT_EQ(FloatToHalf(v), h);
    for (int step = -2; step <= 2; ++step) {
      const float near =
          std::bit_cast<float>(std::bit_cast<u32>(v) + 4096u + static_cast<u32>(step));
      if (near == near) {
        ASSERT_EQ(FloatToHalf(near), RoundTo(near, 5, 10, Rounding::rn)) << near;
      }
    }
    ASSERT_EQ(FloatToBf16(v), RoundTo(v, 8, 7, Rounding::rn));
  }
  EXPECT_EQ(RoundTo(65519.99, 5, 10, Rounding::rn), 0x7bffu);
  EXPECT_EQ(RoundTo(65520, 5, 10, Rounding::rn), 0x7c00u);
  EXPECT_EQ(RoundTo(1e9, 5, 10, Rounding::rz), 0x7bffu);
  EXPECT_EQ(RoundTo(1e9, 5, 10, Rounding::rn, true), 0x7bffu);
  EXPECT_EQ(RoundTo(-1e-9, 5, 10, Rounding::rm), 0x8001u);
  EXPECT_EQ(RoundTo(1 + 0x1p-11, 5, 10, Rounding::rna), 0x3c01u);
}

}  // namespace
}  // namespace fathom::cuda_sim
