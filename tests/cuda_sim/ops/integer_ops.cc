// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Integer arithmetic, shifts, logic and bit fields.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {
namespace {

template <typename T>
using Unsigned = std::make_unsigned_t<T>;
template <typename T>
constexpr uint32_t kBits = 8 * sizeof(T);

// Wrapping arithmetic: through 64 unsigned bits, cut to the type by the caller.
constexpr auto kAdd = [](auto a, auto b) {
  return static_cast<uint64_t>(a) + static_cast<uint64_t>(b);
};
constexpr auto kSub = [](auto a, auto b) {
  return static_cast<uint64_t>(a) - static_cast<uint64_t>(b);
};
constexpr auto kMulLow = [](auto a, auto b) {
  return static_cast<uint64_t>(a) * static_cast<uint64_t>(b);
};
constexpr auto kMadLow = [](auto a, auto b, auto c) {
  return static_cast<uint64_t>(a) * static_cast<uint64_t>(b) + static_cast<uint64_t>(c);
};
constexpr auto kMulHigh = [](auto a, auto b) {
  using Wide = std::conditional_t<std::is_signed_v<decltype(a)>, __int128, unsigned __int128>;
  return static_cast<decltype(a)>((static_cast<Wide>(a) * static_cast<Wide>(b)) >>
                                  kBits<decltype(a)>);
};
constexpr auto kMadHigh = [](auto a, auto b, auto c) {
  return static_cast<uint64_t>(kMulHigh(a, b)) + static_cast<uint64_t>(c);
};
// A product of 24-bit values.
template <typename T>
constexpr T Low24(T v) {
  if constexpr (std::is_signed_v<T>) return static_cast<T>(static_cast<uint32_t>(v) << 8) >> 8;
  return v & 0xffffff;
}
constexpr auto kMul24 = [](auto a, auto b) {
  return static_cast<uint64_t>(static_cast<int64_t>(Low24(a)) * static_cast<int64_t>(Low24(b)));
};
constexpr auto kMad24 = [](auto a, auto b, auto c) {
  return kMul24(a, b) + static_cast<uint64_t>(c);
};

// Division by zero gives all ones (unspecified by PTX); INT_MIN / -1 wraps.
constexpr auto kDiv = [](auto a, auto b) {
  using T = decltype(a);
  if (b == 0) return static_cast<T>(~T{0});
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return static_cast<T>(0 - static_cast<uint64_t>(a));
  }
  return static_cast<T>(a / b);
};
constexpr auto kRem = [](auto a, auto b) {
  using T = decltype(a);
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return T{0};
  }
  return static_cast<T>(a % b);
};
constexpr auto kMin = [](auto a, auto b) { return std::min(a, b); };
constexpr auto kMax = [](auto a, auto b) { return std::max(a, b); };
constexpr auto kAbs = [](auto a) {
  return static_cast<uint64_t>(a) * (a < 0 ? ~uint64_t{0} : uint64_t{1});
};
constexpr auto kNeg = [](auto a) { return 0 - static_cast<uint64_t>(a); };
constexpr auto kNot = [](auto a) { return ~a; };
constexpr auto kCnot = [](auto a) { return a == 0; };
constexpr auto kAnd = [](auto a, auto b) { return a & b; };
constexpr auto kOr = [](auto a, auto b) { return a | b; };
constexpr auto kXor = [](auto a, auto b) { return a ^ b; };
constexpr auto kPopc = [](auto a) { return __builtin_popcountll(a); };
constexpr auto kClz = [](auto a) {
  return a == 0 ? kBits<decltype(a)> : __builtin_clzll(a) - (64 - kBits<decltype(a)>);
};
constexpr auto kBrev = [](auto a) {
  decltype(a) r = 0;
  for (uint32_t i = 0; i < kBits<decltype(a)>; ++i)
    r = static_cast<decltype(a)>(r << 1 | (a >> i & 1));
  return r;
};
// Position of the highest bit that differs from the sign; all ones if there is none.
constexpr auto kBfind = [](auto a) {
  using U = Unsigned<decltype(a)>;
  U bits = static_cast<U>(a);
  if (std::is_signed_v<decltype(a)> && a < 0) bits = static_cast<U>(~bits);
  return bits == 0 ? ~0u : 63u - static_cast<uint32_t>(__builtin_clzll(bits));
};

constexpr auto kSaturatedAdd = [](int32_t a, int32_t b) {
  return std::clamp<int64_t>(int64_t{a} + b, INT32_MIN, INT32_MAX);
};
constexpr auto kSaturatedSub = [](int32_t a, int32_t b) {
  return std::clamp<int64_t>(int64_t{a} - b, INT32_MIN, INT32_MAX);
};
constexpr auto kSaturatedMad = [](int32_t a, int32_t b, int32_t c) {
  return std::clamp<int64_t>(((int64_t{a} * b) >> 32) + c, INT32_MIN, INT32_MAX);
};

void DecodeAddSub(Decoder& d) {
  const bool add = d.name() == "add";
  const bool saturate = d.Take("sat");
  const Type type = d.TakeType();
  DecodeSameType(d, type, 2);
  if (saturate) {
    if (type != Type::s32) d.Fail(".sat needs s32");
    d.op.run = add ? MapBinary<int32_t, int32_t, kSaturatedAdd>
                   : MapBinary<int32_t, int32_t, kSaturatedSub>;
    return;
  }
  SetHandler(d, add ? BinaryFor<kAdd>(type) : BinaryFor<kSub>(type));
}

template <auto f>
Handler WideBinary(Type type) {
  switch (type) {
    case Type::u16:
      return MapBinary<uint32_t, uint16_t, f>;
    case Type::s16:
      return MapBinary<int32_t, int16_t, f>;
    case Type::u32:
      return MapBinary<uint64_t, uint32_t, f>;
    case Type::s32:
      return MapBinary<int64_t, int32_t, f>;
    default:
      return nullptr;
  }
}

template <auto f>
Handler WideTernary(Type type) {
  switch (type) {
    case Type::u16:
      return MapTernary<uint32_t, uint16_t, f>;
    case Type::s16:
      return MapTernary<int32_t, int16_t, f>;
    case Type::u32:
      return MapTernary<uint64_t, uint32_t, f>;
    case Type::s32:
      return MapTernary<int64_t, int32_t, f>;
    default:
      return nullptr;
  }
}

Type Widened(Type type) {
  switch (type) {
    case Type::u16:
      return Type::u32;
    case Type::s16:
      return Type::s32;
    case Type::u32:
      return Type::u64;
    case Type::s32:
      return Type::s64;
    default:
      return Type::none;
  }
}

void DecodeMul(Decoder& d) {
  const bool mad = d.name() == "mad";
  const int part = d.TakeOneOf({"lo", "hi", "wide"});
  const bool saturate = mad && d.Take("sat");
  const Type type = d.TakeType();
  if (part < 0) d.Fail("expected .lo, .hi or .wide");
  if (part != 2) {
    DecodeSameType(d, type, mad ? 3 : 2);
    if (saturate) {
      if (type != Type::s32 || part != 1) d.Fail(".sat needs hi.s32");
      d.op.run = MapTernary<int32_t, int32_t, kSaturatedMad>;
    } else if (mad) {
      SetHandler(d, part == 0 ? TernaryFor<kMadLow>(type) : TernaryFor<kMadHigh>(type));
    } else {
      SetHandler(d, part == 0 ? BinaryFor<kMulLow>(type) : BinaryFor<kMulHigh>(type));
    }
    return;
  }
  const Type wide = Widened(type);
  if (wide == Type::none) d.Fail(".wide needs 16 or 32 bits");
  d.ExpectCount(mad ? 4 : 3);
  d.op.row[0] = d.Dest(0, wide);
  d.op.row[1] = d.Source(1, type);
  d.op.row[2] = d.Source(2, type);
  if (mad) d.op.row[3] = d.Source(3, wide);
  SetHandler(d, mad ? WideTernary<kMadLow>(type) : WideBinary<kMulLow>(type));
}

void DecodeMul24(Decoder& d) {
  const bool mad = d.name() == "mad24";
  if (!d.Take("lo")) d.Fail("only .lo is supported");
  const Type type = d.TakeType();
  if (type != Type::u32 && type != Type::s32) d.Fail("needs u32 or s32");
  DecodeSameType(d, type, mad ? 3 : 2);
  SetHandler(d, mad ? TernaryFor<kMad24>(type) : BinaryFor<kMul24>(type));
}

void DecodeBinary(Decoder& d) {
  const Type type = d.TakeType();
  DecodeSameType(d, type, 2);
  const std::string& name = d.name();
  SetHandler(d, name == "div"   ? BinaryFor<kDiv>(type)
                : name == "rem" ? BinaryFor<kRem>(type)
                : name == "min" ? BinaryFor<kMin>(type)
                : name == "max" ? BinaryFor<kMax>(type)
                : name == "and" ? BinaryFor<kAnd>(type)
                : name == "or"  ? BinaryFor<kOr>(type)
                                : BinaryFor<kXor>(type));
}

void DecodeUnary(Decoder& d) {
  const Type type = d.TakeType();
  DecodeSameType(d, type, 1);
  const std::string& name = d.name();
  SetHandler(d, name == "abs"    ? UnaryFor<kAbs>(type)
                : name == "neg"  ? UnaryFor<kNeg>(type)
                : name == "not"  ? UnaryFor<kNot>(type)
                : name == "brev" ? UnaryFor<kBrev>(type)
                                 : UnaryFor<kCnot>(type));
}

// popc, clz, bfind: the result has 32 bits.
void DecodeCount(Decoder& d) {
  if (d.name() == "bfind" && d.Take("shiftamt")) d.Fail("bfind.shiftamt is not supported");
  const Type type = d.TakeType();
  const bool wide = SizeOf(type) == 8;
  if (SizeOf(type) < 4) d.Fail("needs 32 or 64 bits");
  d.ExpectCount(2);
  d.op.row[0] = d.Dest(0, Type::b32);
  d.op.row[1] = d.Source(1, type);
  if (d.name() == "popc") {
    d.op.run = wide ? MapUnary<uint32_t, uint64_t, kPopc> : MapUnary<uint32_t, uint32_t, kPopc>;
  } else if (d.name() == "clz") {
    d.op.run = wide ? MapUnary<uint32_t, uint64_t, kClz> : MapUnary<uint32_t, uint32_t, kClz>;
  } else if (IsSigned(type)) {
    d.op.run = wide ? MapUnary<uint32_t, int64_t, kBfind> : MapUnary<uint32_t, int32_t, kBfind>;
  } else {
    d.op.run = wide ? MapUnary<uint32_t, uint64_t, kBfind> : MapUnary<uint32_t, uint32_t, kBfind>;
  }
}

// Amounts of at least the width shift everything out.
template <typename T, bool left>
void RunShift(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  const uint32_t* amount = warp.Row<uint32_t>(op.row[2]);
  ForLanes(mask, [&](int lane) {
    const uint32_t n = amount[lane];
    if constexpr (left) {
      d[lane] = n >= kBits<T> ? T{0} : static_cast<T>(static_cast<uint64_t>(a[lane]) << n);
    } else if constexpr (std::is_signed_v<T>) {
      d[lane] = static_cast<T>(a[lane] >> std::min(n, kBits<T> - 1));
    } else {
      d[lane] = n >= kBits<T> ? T{0} : static_cast<T>(a[lane] >> n);
    }
  });
}

template <bool left>
Handler ShiftFor(Type type) {
  if (!left && IsSigned(type)) {
    return type == Type::s16   ? RunShift<int16_t, left>
           : type == Type::s32 ? RunShift<int32_t, left>
                               : RunShift<int64_t, left>;
  }
  return SizeOf(type) == 2   ? RunShift<uint16_t, left>
         : SizeOf(type) == 4 ? RunShift<uint32_t, left>
         : SizeOf(type) == 8 ? RunShift<uint64_t, left>
                             : nullptr;
}

void DecodeShift(Decoder& d) {
  const Type type = d.TakeType();
  d.ExpectCount(3);
  d.op.row[0] = d.Dest(0, type);
  d.op.row[1] = d.Source(1, type);
  d.op.row[2] = d.Source(2, Type::u32);
  SetHandler(d, d.name() == "shl" ? ShiftFor<true>(type) : ShiftFor<false>(type));
}

// A funnel: flag is left; param 1 clamps the amount at 32.
void RunFunnel(Warp& warp, const Op& op, Mask mask) {
  uint32_t* d = warp.Row<uint32_t>(op.row[0]);
  const uint32_t* low = warp.Row<uint32_t>(op.row[1]);
  const uint32_t* high = warp.Row<uint32_t>(op.row[2]);
  const uint32_t* amount = warp.Row<uint32_t>(op.row[3]);
  ForLanes(mask, [&](int lane) {
    const uint64_t both = uint64_t{high[lane]} << 32 | low[lane];
    const uint32_t n = op.param == 1 ? std::min(amount[lane], 32u) : amount[lane] & 31;
    d[lane] = op.flag ? static_cast<uint32_t>((both << n) >> 32)
                      : static_cast<uint32_t>(n == 32 ? both >> 32 : both >> n);
  });
}

void DecodeFunnel(Decoder& d) {
  const int side = d.TakeOneOf({"l", "r"});
  const int mode = d.TakeOneOf({"wrap", "clamp"});
  if (side < 0 || mode < 0 || d.TakeType() != Type::b32)
    d.Fail("expected shf.{l,r}.{wrap,clamp}.b32");
  DecodeSameType(d, Type::b32, 3);
  d.op.flag = side == 0;
  d.op.param = static_cast<uint32_t>(mode);
  d.op.run = RunFunnel;
}

void RunLop3(Warp& warp, const Op& op, Mask mask) {
  uint32_t* d = warp.Row<uint32_t>(op.row[0]);
  const uint32_t* a = warp.Row<uint32_t>(op.row[1]);
  const uint32_t* b = warp.Row<uint32_t>(op.row[2]);
  const uint32_t* c = warp.Row<uint32_t>(op.row[3]);
  ForLanes(mask, [&](int lane) {
    uint32_t result = 0;
    for (uint32_t i = 0; i < 8; ++i) {
      if ((op.param >> i & 1) == 0) continue;
      result |= ((i & 4) != 0 ? a[lane] : ~a[lane]) & ((i & 2) != 0 ? b[lane] : ~b[lane]) &
                ((i & 1) != 0 ? c[lane] : ~c[lane]);
    }
    d[lane] = result;
  });
}

void DecodeLop3(Decoder& d) {
  if (d.TakeType() != Type::b32) d.Fail("expected b32");
  d.ExpectCount(5);
  d.op.row[0] = d.Dest(0, Type::b32);
  for (size_t i = 1; i <= 3; ++i) d.op.row[i] = d.Source(i, Type::b32);
  d.op.param = static_cast<uint32_t>(d.Immediate(4)) & 0xff;
  d.op.run = RunLop3;
}

void RunPrmt(Warp& warp, const Op& op, Mask mask) {
  uint32_t* d = warp.Row<uint32_t>(op.row[0]);
  const uint32_t* a = warp.Row<uint32_t>(op.row[1]);
  const uint32_t* b = warp.Row<uint32_t>(op.row[2]);
  const uint32_t* selector = warp.Row<uint32_t>(op.row[3]);
  ForLanes(mask, [&](int lane) {
    const uint64_t bytes = uint64_t{b[lane]} << 32 | a[lane];
    uint32_t result = 0;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t pick = selector[lane] >> (4 * i) & 15;
      uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (pick & 7))) & 0xff;
      if ((pick & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;
      result |= byte << (8 * i);
    }
    d[lane] = result;
  });
}

void DecodePrmt(Decoder& d) {
  if (d.TakeOneOf({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"}) >= 0) {
    d.Fail("modes of prmt are not supported");
  }
  if (d.TakeType() != Type::b32) d.Fail("expected b32");
  DecodeSameType(d, Type::b32, 3);
  d.op.run = RunPrmt;
}

// Bits [position, position + length) of a; a signed field is extended by its last bit.
template <typename T>
void RunBfe(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  const uint32_t* position = warp.Row<uint32_t>(op.row[2]);
  const uint32_t* length = warp.Row<uint32_t>(op.row[3]);
  ForLanes(mask, [&](int lane) {
    const uint32_t begin = position[lane] & 0xff, count = length[lane] & 0xff;
    const auto bits = static_cast<uint64_t>(static_cast<Unsigned<T>>(a[lane]));
    const uint32_t last = std::min(begin + count - (count != 0), kBits<T> - 1);
    const uint64_t sign = std::is_signed_v<T> && count != 0 ? bits >> last & 1 : 0;
    uint64_t result = 0;
    for (uint32_t i = 0; i < kBits<T>; ++i) {
      const uint64_t bit = i < count && begin + i < kBits<T> ? bits >> (begin + i) & 1 : sign;
      result |= bit << i;
    }
    d[lane] = static_cast<T>(result);
  });
}

template <typename T>
void RunBfi(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  const T* b = warp.Row<T>(op.row[2]);
  const uint32_t* position = warp.Row<uint32_t>(op.row[3]);
  const uint32_t* length = warp.Row<uint32_t>(op.row[4]);
  ForLanes(mask, [&](int lane) {
    const uint32_t begin = position[lane] & 0xff, count = length[lane] & 0xff;
    if (begin >= kBits<T> || count == 0) {
      d[lane] = b[lane];
      return;
    }
    const T field = static_cast<T>((count >= kBits<T> ? T{0} : T{1} << count) - 1) << begin;
    d[lane] = (b[lane] & ~field) | (static_cast<T>(a[lane] << begin) & field);
  });
}

void DecodeBitField(Decoder& d) {
  const bool insert = d.name() == "bfi";
  const Type type = d.TakeType();
  const bool wide = SizeOf(type) == 8;
  if (SizeOf(type) < 4 || (insert && IsSigned(type))) d.Fail("unknown type for " + d.name());
  d.ExpectCount(insert ? 5 : 4);
  d.op.row[0] = d.Dest(0, type);
  size_t i = 1;
  for (; i <= (insert ? 2u : 1u); ++i) d.op.row[i] = d.Source(i, type);
  for (; i < d.count(); ++i) d.op.row[i] = d.Source(i, Type::u32);
  if (insert) {
    d.op.run = wide ? RunBfi<uint64_t> : RunBfi<uint32_t>;
  } else if (IsSigned(type)) {
    d.op.run = wide ? RunBfe<int64_t> : RunBfe<int32_t>;
  } else {
    d.op.run = wide ? RunBfe<uint64_t> : RunBfe<uint32_t>;
  }
}

// sad: c + |a - b|.
constexpr auto kSad = [](auto a, auto b, auto c) {
  const uint64_t distance = a < b ? static_cast<uint64_t>(b) - static_cast<uint64_t>(a)
                                  : static_cast<uint64_t>(a) - static_cast<uint64_t>(b);
  return distance + static_cast<uint64_t>(c);
};

void DecodeSad(Decoder& d) {
  const Type type = d.TakeType();
  DecodeSameType(d, type, 3);
  SetHandler(d, TernaryFor<kSad>(type));
}

}  // namespace

void AddIntegerOps(DecoderTable& table) {
  table.Add({"add", "sub"}, Group::integer, DecodeAddSub);
  table.Add({"mul", "mad"}, Group::integer, DecodeMul);
  table.Add({"mul24", "mad24"}, Group::integer, DecodeMul24);
  table.Add({"div", "rem", "min", "max", "and", "or", "xor"}, Group::integer, DecodeBinary);
  table.Add({"abs", "neg", "not", "cnot", "brev"}, Group::integer, DecodeUnary);
  table.Add({"popc", "clz", "bfind"}, Group::integer, DecodeCount);
  table.Add({"shl", "shr"}, Group::integer, DecodeShift);
  table.Add({"shf"}, Group::integer, DecodeFunnel);
  table.Add({"lop3"}, Group::integer, DecodeLop3);
  table.Add({"prmt"}, Group::integer, DecodePrmt);
  table.Add({"bfe", "bfi"}, Group::integer, DecodeBitField);
  table.Add({"sad"}, Group::integer, DecodeSad);
}

}  // namespace fathom::cuda_sim
