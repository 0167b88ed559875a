// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Comparisons, selections and logic on predicates.
#include <cmath>
#include <string>

#include "tests/cuda_sim/ops/lanes.h"
#include "tests/cuda_sim/small_float.h"

namespace fathom::cuda_sim {
namespace {

enum class Comparison : uint8_t {
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  equ,
  neu,
  ltu,
  leu,
  gtu,
  geu,
  num,
  nan,
};

struct Half {
  static float Widen(uint16_t v) { return HalfToFloat(v); }
};
struct Brain {
  static float Widen(uint16_t v) { return Bf16ToFloat(v); }
};
// Subnormals count as zero of their sign.
struct FlushedFloat {
  static float Widen(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.f, v) : v; }
};
struct Plain {
  template <typename T>
  static T Widen(T v) {
    return v;
  }
};

template <Comparison c, typename T>
inline bool Compare(T a, T b) {
  switch (c) {
    case Comparison::eq:
      return a == b;
    case Comparison::ne:
      return a < b || a > b;  // false for NaN
    case Comparison::lt:
      return a < b;
    case Comparison::le:
      return a <= b;
    case Comparison::gt:
      return a > b;
    case Comparison::ge:
      return a >= b;
    case Comparison::equ:
      return !(a < b || a > b);
    case Comparison::neu:
      return !(a == b);
    case Comparison::ltu:
      return !(a >= b);
    case Comparison::leu:
      return !(a > b);
    case Comparison::gtu:
      return !(a <= b);
    case Comparison::geu:
      return !(a < b);
    case Comparison::num:
      return a == a && b == b;
    case Comparison::nan:
      return a != a || b != b;
  }
  return false;
}

// How the result joins the predicate c: setp.lt.and p|q, a, b, c gives p = cmp and c,
// q = not cmp and c.
enum class Join : uint32_t { none, land, lor, lxor };

Mask Joined(Join join, Mask value, Mask c) {
  switch (join) {
    case Join::land:
      return value & c;
    case Join::lor:
      return value | c;
    case Join::lxor:
      return value ^ c;
    default:
      return value;
  }
}

template <Comparison c, typename T, typename Widening>
void RunSetp(Warp& warp, const Op& op, Mask mask) {
  const T* a = warp.Row<T>(op.row[2]);
  const T* b = warp.Row<T>(op.row[3]);
  Mask value = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    value |= Mask{Compare<c>(Widening::Widen(a[lane]), Widening::Widen(b[lane]))} << lane;
  }
  const auto join = static_cast<Join>(op.param);
  Mask joined = 0;
  if (join != Join::none) {
    joined = warp.Predicate(op.row[4]);
    if (op.flag) joined = ~joined;
  }
  warp.SetPredicate(op.row[0], mask, Joined(join, value, joined));
  if (op.row[1] != kNoRow) warp.SetPredicate(op.row[1], mask, Joined(join, ~value, joined));
}

template <typename T, typename Widening>
Handler SetpFor(Comparison c) {
  switch (c) {
    case Comparison::eq:
      return RunSetp<Comparison::eq, T, Widening>;
    case Comparison::ne:
      return RunSetp<Comparison::ne, T, Widening>;
    case Comparison::lt:
      return RunSetp<Comparison::lt, T, Widening>;
    case Comparison::le:
      return RunSetp<Comparison::le, T, Widening>;
    case Comparison::gt:
      return RunSetp<Comparison::gt, T, Widening>;
    case Comparison::ge:
      return RunSetp<Comparison::ge, T, Widening>;
    case Comparison::equ:
      return RunSetp<Comparison::equ, T, Widening>;
    case Comparison::neu:
      return RunSetp<Comparison::neu, T, Widening>;
    case Comparison::ltu:
      return RunSetp<Comparison::ltu, T, Widening>;
    case Comparison::leu:
      return RunSetp<Comparison::leu, T, Widening>;
    case Comparison::gtu:
      return RunSetp<Comparison::gtu, T, Widening>;
    case Comparison::geu:
      return RunSetp<Comparison::geu, T, Widening>;
    case Comparison::num:
      return RunSetp<Comparison::num, T, Widening>;
    case Comparison::nan:
      return RunSetp<Comparison::nan, T, Widening>;
  }
  return nullptr;
}

Handler SetpHandler(Type type, Comparison c, bool flush) {
  switch (type) {
    case Type::s16:
      return SetpFor<int16_t, Plain>(c);
    case Type::s32:
      return SetpFor<int32_t, Plain>(c);
    case Type::s64:
      return SetpFor<int64_t, Plain>(c);
    case Type::u16:
    case Type::b16:
      return SetpFor<uint16_t, Plain>(c);
    case Type::u32:
    case Type::b32:
      return SetpFor<uint32_t, Plain>(c);
    case Type::u64:
    case Type::b64:
      return SetpFor<uint64_t, Plain>(c);
    case Type::f16:
      return SetpFor<uint16_t, Half>(c);
    case Type::bf16:
      return SetpFor<uint16_t, Brain>(c);
    case Type::f32:
      return flush ? SetpFor<float, FlushedFloat>(c) : SetpFor<float, Plain>(c);
    case Type::f64:
      return SetpFor<double, Plain>(c);
    default:
      return nullptr;
  }
}

Comparison TakeComparison(Decoder& d) {
  const int ordered = d.TakeOneOf(
      {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
  if (ordered >= 0) return static_cast<Comparison>(ordered);
  switch (d.TakeOneOf({"lo", "ls", "hi", "hs"})) {
    case 0:
      return Comparison::lt;
    case 1:
      return Comparison::le;
    case 2:
      return Comparison::gt;
    case 3:
      return Comparison::ge;
    default:
      d.Fail("unknown comparison");
  }
}

void DecodeSetp(Decoder& d) {
  const Comparison c = TakeComparison(d);
  const int join = d.TakeOneOf({"and", "or", "xor"});
  const bool flush = d.Take("ftz");
  const Type type = d.TakeType();
  if (c > Comparison::ge && IsInteger(type)) d.Fail("an unordered comparison of integers");
  const size_t first = d.paired() ? 2 : 1;
  d.ExpectCount(first + 2 + (join >= 0));
  d.op.row[0] = d.DestPredicate(0);
  d.op.row[1] = d.paired() ? d.DestPredicate(1) : kNoRow;
  d.op.row[2] = d.Source(first, type);
  d.op.row[3] = d.Source(first + 1, type);
  d.op.param = static_cast<uint32_t>(join + 1);
  if (join >= 0) d.op.row[4] = d.SourcePredicate(first + 2, &d.op.flag);
  SetHandler(d, SetpHandler(type, c, flush));
}

template <typename T>
void RunSelp(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  const T* b = warp.Row<T>(op.row[2]);
  const Mask choice = op.flag ? ~warp.Predicate(op.row[3]) : warp.Predicate(op.row[3]);
  ForLanes(mask, [&](int lane) { d[lane] = (choice >> lane & 1) != 0 ? a[lane] : b[lane]; });
}

void DecodeSelp(Decoder& d) {
  const Type type = d.TakeType();
  d.ExpectCount(4);
  d.op.row[0] = d.Dest(0, type);
  d.op.row[1] = d.Source(1, type);
  d.op.row[2] = d.Source(2, type);
  d.op.row[3] = d.SourcePredicate(3, &d.op.flag);
  SetHandler(d, SizeOf(type) == 2   ? RunSelp<uint16_t>
                : SizeOf(type) == 4 ? RunSelp<uint32_t>
                : SizeOf(type) == 8 ? RunSelp<uint64_t>
                                    : nullptr);
}

// slct: c >= 0 ? a : b.
template <typename T, typename C>
void RunSlct(Warp& warp, const Op& op, Mask mask) {
  T* d = warp.Row<T>(op.row[0]);
  const T* a = warp.Row<T>(op.row[1]);
  const T* b = warp.Row<T>(op.row[2]);
  const C* c = warp.Row<C>(op.row[3]);
  ForLanes(mask, [&](int lane) { d[lane] = c[lane] >= 0 ? a[lane] : b[lane]; });
}

void DecodeSlct(Decoder& d) {
  if (d.Take("ftz")) d.Fail(".ftz is not supported here");
  const Type type = d.TakeType();
  const Type choice = d.TakeType();
  d.ExpectCount(4);
  d.op.row[0] = d.Dest(0, type);
  d.op.row[1] = d.Source(1, type);
  d.op.row[2] = d.Source(2, type);
  d.op.row[3] = d.Source(3, choice);
  if (choice != Type::s32 && choice != Type::f32) d.Fail("the choice must be s32 or f32");
  const bool is_float = choice == Type::f32;
  SetHandler(
      d, SizeOf(type) == 4   ? (is_float ? RunSlct<uint32_t, float> : RunSlct<uint32_t, int32_t>)
         : SizeOf(type) == 8 ? (is_float ? RunSlct<uint64_t, float> : RunSlct<uint64_t, int32_t>)
                             : nullptr);
}

// --- predicates ---

constexpr uint32_t kNegateA = 1, kNegateB = 2;

Mask PredicateSource(Warp& warp, uint32_t row, bool negate) {
  return negate ? ~warp.Predicate(row) : warp.Predicate(row);
}

template <Join join>
void RunPredicates(Warp& warp, const Op& op, Mask mask) {
  const Mask a = PredicateSource(warp, op.row[1], (op.param & kNegateA) != 0);
  const Mask b = PredicateSource(warp, op.row[2], (op.param & kNegateB) != 0);
  warp.SetPredicate(op.row[0], mask, Joined(join, a, b));
}

void DecodePredicates(Decoder& d) {
  d.TakeType();
  d.ExpectCount(3);
  bool negate_a = false, negate_b = false;
  d.op.row[0] = d.DestPredicate(0);
  d.op.row[1] = d.SourcePredicate(1, &negate_a);
  d.op.row[2] = d.SourcePredicate(2, &negate_b);
  d.op.param = (negate_a ? kNegateA : 0) | (negate_b ? kNegateB : 0);
  d.op.run = d.name() == "and"  ? RunPredicates<Join::land>
             : d.name() == "or" ? RunPredicates<Join::lor>
                                : RunPredicates<Join::lxor>;
}

void RunPredicateMove(Warp& warp, const Op& op, Mask mask) {
  warp.SetPredicate(op.row[0], mask, PredicateSource(warp, op.row[1], op.flag));
}

void DecodePredicateMove(Decoder& d) {
  d.TakeType();
  d.ExpectCount(2);
  bool negated = false;
  d.op.row[0] = d.DestPredicate(0);
  d.op.row[1] = d.SourcePredicate(1, &negated);
  d.op.flag = negated != (d.name() == "not");
  d.op.run = RunPredicateMove;
}

}  // namespace

void AddCompareOps(DecoderTable& table) {
  table.Add({"setp"}, Group::any, DecodeSetp);
  table.Add({"selp"}, Group::any, DecodeSelp);
  table.Add({"slct"}, Group::any, DecodeSlct);
  table.Add({"and", "or", "xor"}, Group::predicate, DecodePredicates);
  table.Add({"mov", "not"}, Group::predicate, DecodePredicateMove);
}

}  // namespace fathom::cuda_sim
