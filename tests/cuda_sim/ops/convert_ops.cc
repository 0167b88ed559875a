// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cvt: between integers and floating-point types, with every rounding, .sat, .ftz, .relu.
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>

#include "tests/cuda_sim/ops/lanes.h"
#include "tests/cuda_sim/small_float.h"

namespace fathom::cuda_sim {
namespace {

// How a float becomes a whole number: none, to nearest even, towards zero, down, up.
enum class Whole : uint8_t { none, rni, rzi, rmi, rpi };

struct Conversion {
  Type to = Type::none;
  Type from = Type::none;
  Rounding rounding = Rounding::rn;
  Whole whole = Whole::none;
  bool saturate = false, flush = false, relu = false, finite = false;
  uint8_t to_width = 4, from_width = 4;  // of the registers

  uint64_t Pack() const {
    return static_cast<uint64_t>(to) | static_cast<uint64_t>(from) << 8 |
           static_cast<uint64_t>(rounding) << 16 | static_cast<uint64_t>(whole) << 20 |
           static_cast<uint64_t>(saturate) << 24 | static_cast<uint64_t>(flush) << 25 |
           static_cast<uint64_t>(relu) << 26 | static_cast<uint64_t>(finite) << 27 |
           static_cast<uint64_t>(to_width) << 32 | static_cast<uint64_t>(from_width) << 40;
  }
  static Conversion Unpack(uint64_t p) {
    Conversion c;
    c.to = static_cast<Type>(p & 0xff);
    c.from = static_cast<Type>(p >> 8 & 0xff);
    c.rounding = static_cast<Rounding>(p >> 16 & 15);
    c.whole = static_cast<Whole>(p >> 20 & 15);
    c.saturate = (p >> 24 & 1) != 0;
    c.flush = (p >> 25 & 1) != 0;
    c.relu = (p >> 26 & 1) != 0;
    c.finite = (p >> 27 & 1) != 0;
    c.to_width = static_cast<uint8_t>(p >> 32);
    c.from_width = static_cast<uint8_t>(p >> 40);
    return c;
  }
};

bool IsAnyFloat(Type type) { return IsFloat(type) || IsSmallFloat(type); }

uint64_t Extend(uint64_t value, Type type) {
  const int shift = 64 - 8 * SizeOf(type);
  if (IsSigned(type)) return static_cast<uint64_t>(static_cast<int64_t>(value << shift) >> shift);
  return value << shift >> shift;
}

double FloatValue(uint64_t bits, Type type) {
  switch (type) {
    case Type::f16:
      return HalfToFloat(static_cast<uint16_t>(bits));
    case Type::bf16:
      return Bf16ToFloat(static_cast<uint16_t>(bits));
    case Type::f32:
      return std::bit_cast<float>(static_cast<uint32_t>(bits));
    default:
      return std::bit_cast<double>(bits);
  }
}

// The integer as a double rounded to odd: another rounding gives what one rounding would.
double OddValue(uint64_t bits, bool is_signed) {
  const bool negative = is_signed && static_cast<int64_t>(bits) < 0;
  uint64_t magnitude = negative ? ~bits + 1 : bits;
  int shift = 0;
  while (magnitude >> 53 != 0) {
    magnitude = magnitude >> 1 | (magnitude & 1);
    ++shift;
  }
  const double value = std::ldexp(static_cast<double>(magnitude), shift);
  return negative ? -value : value;
}

// A long double holds every 64-bit integer, so that there is one rounding.
uint64_t IntegerToDouble(uint64_t bits, bool is_signed, Rounding rounding) {
  static_assert(std::numeric_limits<long double>::digits >= 64);
  constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD, FE_TONEAREST};
  volatile long double exact = is_signed ? static_cast<long double>(static_cast<int64_t>(bits))
                                         : static_cast<long double>(bits);
  std::fesetround(kModes[static_cast<int>(rounding)]);
  volatile double rounded = static_cast<double>(exact);
  std::fesetround(FE_TONEAREST);
  return std::bit_cast<uint64_t>(static_cast<double>(rounded));
}

double ToWhole(double v, Whole whole) {
  switch (whole) {
    case Whole::rni:
      return std::nearbyint(v);
    case Whole::rzi:
      return std::trunc(v);
    case Whole::rmi:
      return std::floor(v);
    case Whole::rpi:
      return std::ceil(v);
    default:
      return v;
  }
}

uint64_t FloatToInteger(double v, const Conversion& c) {
  const int bits = 8 * SizeOf(c.to);
  v = ToWhole(v, c.whole);
  if (v != v) return 0;
  if (IsSigned(c.to)) {
    const double limit = std::ldexp(1.0, bits - 1);
    if (v >= limit) return (uint64_t{1} << (bits - 1)) - 1;
    if (v < -limit) return Extend(uint64_t{1} << (bits - 1), c.to);
    return static_cast<uint64_t>(static_cast<int64_t>(v));
  }
  if (v <= 0) return 0;
  if (v >= std::ldexp(1.0, bits)) return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  return static_cast<uint64_t>(v);
}

double FlushTo(double v, double smallest) {
  return std::fabs(v) < smallest ? std::copysign(0.0, v) : v;
}

uint64_t StoreFloat(double v, const Conversion& c) {
  if (c.saturate) v = v != v ? 0 : std::clamp(v, 0.0, 1.0) + 0.0;
  if (c.relu && (v < 0 || v == 0)) v = 0;
  switch (c.to) {
    case Type::f16:
    case Type::f16x2:
      return RoundTo(v, 5, 10, c.rounding, c.finite);
    case Type::bf16:
    case Type::bf16x2:
      return RoundTo(v, 8, 7, c.rounding, c.finite);
    case Type::tf32:
      return RoundTo(v, 8, 10, c.rounding, c.finite) << 13;
    case Type::f32: {
      const uint32_t bits = RoundTo(v, 8, 23, c.rounding);
      const bool subnormal = (bits & 0x7f800000u) == 0;
      return c.flush && subnormal ? bits & 0x80000000u : bits;
    }
    default:
      return std::bit_cast<uint64_t>(v);
  }
}

uint64_t Saturated(uint64_t value, Type from, Type to) {
  const int bits = 8 * SizeOf(to);
  const uint64_t highest = (uint64_t{1} << (bits - (IsSigned(to) ? 1 : 0)) % 64) - 1;
  const bool negative = IsSigned(from) && static_cast<int64_t>(value) < 0;
  if (!negative) return bits == 64 && !IsSigned(to) ? value : std::min(value, highest);
  if (!IsSigned(to)) return 0;
  return static_cast<uint64_t>(
      std::max(static_cast<int64_t>(value), ~static_cast<int64_t>(highest)));
}

uint64_t ConvertOne(uint64_t bits, const Conversion& c) {
  if (!IsAnyFloat(c.from)) {
    const uint64_t value = Extend(bits, c.from);
    if (c.to == Type::f64) return IntegerToDouble(value, IsSigned(c.from), c.rounding);
    if (IsAnyFloat(c.to)) return StoreFloat(OddValue(value, IsSigned(c.from)), c);
    return Extend(c.saturate ? Saturated(value, c.from, c.to) : value, c.to);
  }
  double v = FloatValue(bits, c.from);
  if (c.flush && c.from == Type::f32) v = FlushTo(v, 0x1p-126);
  if (!IsAnyFloat(c.to)) return FloatToInteger(v, c);
  return StoreFloat(ToWhole(v, c.whole), c);
}

uint64_t ReadRegister(Warp& warp, uint32_t row, uint32_t width, int lane) {
  uint64_t value = 0;
  std::memcpy(&value, warp.Row<uint8_t>(row) + width * static_cast<uint32_t>(lane), width);
  return value;
}

void RunConvert(Warp& warp, const Op& op, Mask mask) {
  const Conversion c = Conversion::Unpack(static_cast<uint64_t>(op.offset));
  ForLanes(mask, [&](int lane) {
    const uint64_t value = ConvertOne(ReadRegister(warp, op.row[1], c.from_width, lane), c);
    std::memcpy(warp.Row<uint8_t>(op.row[0]) + c.to_width * static_cast<uint32_t>(lane), &value,
                c.to_width);
  });
}

// Two f32 into a pair: row 1 becomes the upper half, row 2 the lower.
void RunConvertPair(Warp& warp, const Op& op, Mask mask) {
  const Conversion c = Conversion::Unpack(static_cast<uint64_t>(op.offset));
  uint32_t* d = warp.Row<uint32_t>(op.row[0]);
  const uint32_t* high = warp.Row<uint32_t>(op.row[1]);
  const uint32_t* low = warp.Row<uint32_t>(op.row[2]);
  ForLanes(mask, [&](int lane) {
    d[lane] = static_cast<uint32_t>(ConvertOne(high[lane], c) << 16 | ConvertOne(low[lane], c));
  });
}

constexpr auto kCast = [](auto a) { return a; };
constexpr auto kHalf = [](uint16_t a) { return HalfToFloat(a); };
constexpr auto kToHalf = [](float a) { return FloatToHalf(a); };
constexpr auto kBrain = [](uint16_t a) { return Bf16ToFloat(a); };
constexpr auto kToBrain = [](float a) { return FloatToBf16(a); };

// The conversions kernels are full of, without any option.
Handler FastConversion(const Conversion& c) {
  const bool plain = c.rounding == Rounding::rn && c.whole == Whole::none && !c.saturate &&
                     !c.flush && !c.relu && !c.finite && c.to_width == SizeOf(c.to) &&
                     c.from_width == SizeOf(c.from);
  if (!plain) return nullptr;
  if (c.to == Type::f32) {
    switch (c.from) {
      case Type::s32:
        return MapUnary<float, int32_t, kCast>;
      case Type::u32:
        return MapUnary<float, uint32_t, kCast>;
      case Type::f16:
        return MapUnary<float, uint16_t, kHalf>;
      case Type::bf16:
        return MapUnary<float, uint16_t, kBrain>;
      default:
        return nullptr;
    }
  }
  if (c.to == Type::f16 && c.from == Type::f32) return MapUnary<uint16_t, float, kToHalf>;
  if (c.to == Type::bf16 && c.from == Type::f32) return MapUnary<uint16_t, float, kToBrain>;
  if (SizeOf(c.to) == 8 && c.from == Type::s32) return MapUnary<int64_t, int32_t, kCast>;
  if (SizeOf(c.to) == 8 && c.from == Type::u32) return MapUnary<uint64_t, uint32_t, kCast>;
  if (SizeOf(c.to) == 4 && IsInteger(c.to) && SizeOf(c.from) == 8 && IsInteger(c.from)) {
    return MapUnary<uint32_t, uint64_t, kCast>;
  }
  return nullptr;
}

Conversion TakeConversion(Decoder& d) {
  Conversion c;
  const int rounding = d.TakeOneOf({"rn", "rz", "rm", "rp", "rna"});
  if (rounding >= 0) c.rounding = static_cast<Rounding>(rounding);
  const int whole = d.TakeOneOf({"rni", "rzi", "rmi", "rpi"});
  if (whole >= 0) c.whole = static_cast<Whole>(whole + 1);
  c.flush = d.Take("ftz");
  c.saturate = d.Take("sat");
  c.relu = d.Take("relu");
  c.finite = d.Take("satfinite");
  c.to = d.TakeType();
  c.from = d.TakeType();
  const bool narrowing = IsAnyFloat(c.to) && (!IsAnyFloat(c.from) || SizeOf(c.to) < SizeOf(c.from));
  if (narrowing && rounding < 0 && whole < 0) d.Fail("a rounding is missing");
  if (IsAnyFloat(c.from) && !IsAnyFloat(c.to) && whole < 0) d.Fail("a rounding is missing");
  return c;
}

int RegisterWidth(Decoder& d, size_t i, Type type) {
  const int width = d.Width(d.operand(i));
  if (width == 0) return SizeOf(type) == 1 ? 2 : SizeOf(type);
  if (width < SizeOf(type) || (IsAnyFloat(type) && width != SizeOf(type))) {
    d.Fail("the register " + d.operand(i).name + " does not fit its type");
  }
  return width;
}

Type BitsOf(int width) { return width == 2 ? Type::b16 : width == 4 ? Type::b32 : Type::b64; }

void DecodeConvert(Decoder& d) {
  Conversion c = TakeConversion(d);
  if (c.to == Type::f16x2 || c.to == Type::bf16x2) {
    if (c.from != Type::f32) d.Fail("only from f32");
    d.RequireTarget(80);
    d.ExpectCount(3);
    d.op.row[0] = d.Dest(0, Type::b32);
    d.op.row[1] = d.Source(1, Type::b32);
    d.op.row[2] = d.Source(2, Type::b32);
    d.op.offset = static_cast<int64_t>(c.Pack());
    d.op.run = RunConvertPair;
    return;
  }
  if (c.from == Type::f16x2 || c.from == Type::bf16x2 || c.to == Type::f32x2 ||
      c.from == Type::f32x2 || c.to == Type::pred || c.from == Type::pred) {
    d.Fail("unknown conversion");
  }
  if (c.to == Type::tf32) d.RequireTarget(80);
  d.ExpectCount(2);
  c.to_width = static_cast<uint8_t>(RegisterWidth(d, 0, c.to));
  c.from_width = static_cast<uint8_t>(RegisterWidth(d, 1, c.from));
  d.op.row[0] = d.Dest(0, BitsOf(c.to_width));
  d.op.row[1] = d.Source(1, IsFloat(c.from) ? c.from : BitsOf(c.from_width));
  if (d.op.row[0] == kNoRow) d.Fail("the destination is missing");
  d.op.offset = static_cast<int64_t>(c.Pack());
  const Handler fast = FastConversion(c);
  d.op.run = fast != nullptr ? fast : RunConvert;
}

}  // namespace

void AddConvertOps(DecoderTable& table) { table.Add({"cvt"}, Group::any, DecodeConvert); }

}  // namespace fathom::cuda_sim
