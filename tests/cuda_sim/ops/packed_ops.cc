// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Arithmetic of f16, bf16, their pairs, and pairs of f32; each result rounded once.
//
// Sums, products and quotients of two f16 or bf16 are computed in float: 24 bits are more than
// twice 11 plus two, so that rounding the float again is harmless. Only fma needs care (FmaToOdd).
#include <algorithm>
#include <cmath>

#include "tests/cuda_sim/ops/lanes.h"
#include "tests/cuda_sim/small_float.h"

namespace fathom::cuda_sim {
namespace {

struct HalfElement {
  using Bits = uint16_t;
  static float Load(uint16_t bits) { return HalfToFloat(bits); }
  static uint16_t Store(float v) { return FloatToHalf(v); }
  static constexpr float kSmallest = 0x1p-14f;
  static float Fma(float a, float b, float c) { return FmaToOdd(a, b, c); }
};
struct BrainElement {
  using Bits = uint16_t;
  static float Load(uint16_t bits) { return Bf16ToFloat(bits); }
  static uint16_t Store(float v) { return FloatToBf16(v); }
  static constexpr float kSmallest = 0x1p-126f;
  static float Fma(float a, float b, float c) { return FmaToOdd(a, b, c); }
};
struct FloatElement {
  using Bits = uint32_t;
  static float Load(uint32_t bits) { return std::bit_cast<float>(bits); }
  static uint32_t Store(float v) { return v != v ? 0x7fffffffu : std::bit_cast<uint32_t>(v); }
  static constexpr float kSmallest = 0x1p-126f;
  static float Fma(float a, float b, float c) { return std::fma(a, b, c); }
};

// What an instruction asks for besides its operation; flags of Op::param.
constexpr uint32_t kFlush = 1, kSaturate = 2, kRelu = 4, kNan = 8;

template <typename Element>
inline float FlushTo(float v) {
  return std::fabs(v) < Element::kSmallest ? std::copysign(0.f, v) : v;
}

template <typename Element>
inline typename Element::Bits Finished(float v, uint32_t wants) {
  if (wants == 0) return Element::Store(v);
  if ((wants & kSaturate) != 0) v = v != v ? 0.f : std::clamp(v, 0.f, 1.f) + 0.f;
  if ((wants & kRelu) != 0 && v < 0) v = 0;
  if ((wants & kFlush) != 0) v = FlushTo<Element>(v);
  return Element::Store(v);
}

// Applies f to each element of the sources; Whole holds one, two or more elements.
template <typename Element, typename Whole, auto f, int sources>
void RunElements(Warp& warp, const Op& op, Mask mask) {
  using Bits = typename Element::Bits;
  constexpr int kCount = sizeof(Whole) / sizeof(Bits);
  constexpr int kShift = 8 * sizeof(Bits) % (8 * sizeof(Whole));
  Whole* d = warp.Row<Whole>(op.row[0]);
  const Whole* a = warp.Row<Whole>(op.row[1]);
  const Whole* b = sources > 1 ? warp.Row<Whole>(op.row[2]) : a;
  const Whole* c = sources > 2 ? warp.Row<Whole>(op.row[3]) : a;
  const uint32_t wants = op.param;
  const auto load = [&](Whole whole, int i) {
    const float v = Element::Load(static_cast<Bits>(whole >> (kShift * i)));
    return (wants & kFlush) != 0 ? FlushTo<Element>(v) : v;
  };
  ForLanes(mask, [&](int lane) {
    Whole result = 0;
    for (int i = 0; i < kCount; ++i) {
      const float v = f(Element{}, load(a[lane], i), load(b[lane], i), load(c[lane], i), wants);
      result |= static_cast<Whole>(static_cast<Whole>(Finished<Element>(v, wants)) << (kShift * i));
    }
    d[lane] = result;
  });
}

constexpr auto kAdd = [](auto, float a, float b, float, uint32_t) { return a + b; };
constexpr auto kSub = [](auto, float a, float b, float, uint32_t) { return a - b; };
constexpr auto kMul = [](auto, float a, float b, float, uint32_t) { return a * b; };
constexpr auto kFma = [](auto element, float a, float b, float c, uint32_t) {
  return element.Fma(a, b, c);
};
constexpr auto kEx2 = [](auto, float a, float, float, uint32_t) { return std::exp2(a); };
constexpr auto kTanh = [](auto, float a, float, float, uint32_t) { return std::tanh(a); };

template <bool max>
inline float Extreme(float a, float b, uint32_t wants) {
  if ((wants & kNan) != 0 && (a != a || b != b)) return NAN;
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) == max ? b : a;
  return (a < b) == max ? b : a;
}
constexpr auto kMin = [](auto, float a, float b, float, uint32_t wants) {
  return Extreme<false>(a, b, wants);
};
constexpr auto kMax = [](auto, float a, float b, float, uint32_t wants) {
  return Extreme<true>(a, b, wants);
};

template <auto f, int sources>
Handler HandlerFor(Type type) {
  switch (type) {
    case Type::f16:
      return RunElements<HalfElement, uint16_t, f, sources>;
    case Type::bf16:
      return RunElements<BrainElement, uint16_t, f, sources>;
    case Type::f16x2:
      return RunElements<HalfElement, uint32_t, f, sources>;
    case Type::bf16x2:
      return RunElements<BrainElement, uint32_t, f, sources>;
    case Type::f32x2:
      return RunElements<FloatElement, uint64_t, f, sources>;
    default:
      return nullptr;
  }
}

bool IsBrain(Type type) { return type == Type::bf16 || type == Type::bf16x2; }

template <auto f, int sources>
void DecodeElements(Decoder& d) {
  const std::string& name = d.name();
  if (d.TakeOneOf({"rz", "rm", "rp"}) >= 0) d.Fail("only .rn is supported for packed types");
  d.Take("rn");
  const bool approximate = d.Take("approx");
  uint32_t wants = 0;
  if (d.Take("ftz")) wants |= kFlush;
  if (d.Take("sat")) wants |= kSaturate;
  if (d.Take("relu")) wants |= kRelu;
  if (d.Take("NaN")) wants |= kNan;
  const Type type = d.TakeType();
  const bool extreme = name == "min" || name == "max";
  const bool function = name == "ex2" || name == "tanh";
  if (type == Type::f32x2) {
    if (extreme || function) d.Fail("not for f32x2");
    d.RequireTarget(100);
  } else if (function) {
    d.RequireTarget(name == "tanh" && !IsBrain(type) ? 75 : IsBrain(type) ? 90 : 75);
    if (!approximate) d.Fail("expected .approx");
  } else if (IsBrain(type)) {
    d.RequireTarget(name == "fma" || extreme ? 80 : 90);
  } else {
    d.RequireTarget(extreme ? 80 : 53);
  }
  if ((wants & kNan) != 0 && !extreme) d.Fail(".NaN is for min and max");
  if ((wants & kRelu) != 0 && name != "fma") d.Fail(".relu is for fma");
  DecodeSameType(d, type, sources);
  d.op.param = wants;
  SetHandler(d, HandlerFor<f, sources>(type));
}

// neg and abs on the signs alone: flag is abs, offset the mask of the signs.
template <typename Whole>
void RunSigns(Warp& warp, const Op& op, Mask mask) {
  Whole* d = warp.Row<Whole>(op.row[0]);
  const Whole* a = warp.Row<Whole>(op.row[1]);
  const auto signs = static_cast<Whole>(op.offset);
  ForLanes(mask, [&](int lane) {
    d[lane] = op.flag ? static_cast<Whole>(a[lane] & ~signs) : static_cast<Whole>(a[lane] ^ signs);
  });
}

void DecodeSigns(Decoder& d) {
  if (d.Take("ftz")) d.Fail(".ftz is not supported here");
  const Type type = d.TakeType();
  d.op.flag = d.name() == "abs";
  DecodeSameType(d, type, 1);
  if (type == Type::f32x2) d.Fail("not for f32x2");
  d.op.offset = SizeOf(type) == 2 ? 0x8000 : int64_t{0x80008000};
  d.op.run = SizeOf(type) == 2 ? RunSigns<uint16_t> : RunSigns<uint32_t>;
}

}  // namespace

void AddPackedOps(DecoderTable& table) {
  table.Add({"add"}, Group::small_float, DecodeElements<kAdd, 2>);
  table.Add({"sub"}, Group::small_float, DecodeElements<kSub, 2>);
  table.Add({"mul"}, Group::small_float, DecodeElements<kMul, 2>);
  table.Add({"fma"}, Group::small_float, DecodeElements<kFma, 3>);
  table.Add({"min"}, Group::small_float, DecodeElements<kMin, 2>);
  table.Add({"max"}, Group::small_float, DecodeElements<kMax, 2>);
  table.Add({"ex2"}, Group::small_float, DecodeElements<kEx2, 1>);
  table.Add({"tanh"}, Group::small_float, DecodeElements<kTanh, 1>);
  table.Add({"neg", "abs"}, Group::small_float, DecodeSigns);
}

}  // namespace fathom::cuda_sim
