// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Arithmetic of kernels: operators, vectors, conversions, exp and log; constants and control flow.
#include "compiler/kernels/Values.h"

#include <numbers>

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace fathom::kernels {

// --- Constants -----------------------------------------------------------------------------------

Type ValueBuilder::vec(Type elem, int64_t lanes) { return VectorType::get({lanes}, elem); }

Val ValueBuilder::constant(Type type, double v) {
  Type elem = getElementTypeOrSelf(type);
  TypedAttr one;
  if (isa<FloatType>(elem))
    one = b_.getFloatAttr(elem, v);
  else
    one = b_.getIntegerAttr(elem, static_cast<int64_t>(v));
  TypedAttr all = one;
  if (auto vt = dyn_cast<VectorType>(type)) all = SplatElementsAttr::get(vt, Attribute(one));
  return Val(*this, arith::ConstantOp::create(b_, all));
}

Val ValueBuilder::iota(int64_t lanes) {
  SmallVector<int32_t> values;
  for (int64_t l = 0; l < lanes; ++l) values.push_back(static_cast<int32_t>(l));
  auto attr = DenseElementsAttr::get(cast<VectorType>(vec(i32(), lanes)), ArrayRef(values));
  return Val(*this, arith::ConstantOp::create(b_, attr));
}

// --- Control flow --------------------------------------------------------------------------------

static SmallVector<Value> raw(ArrayRef<Val> vals) {
  SmallVector<Value> out;
  for (Val v : vals) out.push_back(v.v());
  return out;
}

static Vals wrap(ValueBuilder& k, ValueRange values) {
  Vals out;
  for (Value v : values) out.push_back(Val(k, v));
  return out;
}

Vals ValueBuilder::forLoop(Val lo, Val hi, int64_t step, ArrayRef<Val> init, LoopBody body) {
  OpBuilder::InsertionGuard guard(b_);
  auto loop = scf::ForOp::create(b_, lo.v(), hi.v(), idx(step).v(), raw(init));
  Block* block = loop.getBody();
  // Without carried values the loop comes with its terminator.
  if (init.empty())
    b_.setInsertionPointToStart(block);
  else
    b_.setInsertionPointToEnd(block);
  Vals next = body(Val(*this, loop.getInductionVar()), wrap(*this, loop.getRegionIterArgs()));
  assert(next.size() == init.size() && "a loop yields as many values as it carries");
  if (!init.empty()) scf::YieldOp::create(b_, raw(next));
  return wrap(*this, loop.getResults());
}

void ValueBuilder::forLoop(Val lo, Val hi, int64_t step, function_ref<void(Val)> body) {
  forLoop(lo, hi, step, {}, [&](Val i, ArrayRef<Val>) {
    body(i);
    return Vals{};
  });
}

void ValueBuilder::ifThen(Val cond, function_ref<void()> then) {
  OpBuilder::InsertionGuard guard(b_);
  auto op = scf::IfOp::create(b_, cond.v(), /*withElseRegion=*/false);
  b_.setInsertionPointToStart(op.thenBlock());
  then();
}

Vals ValueBuilder::ifElse(Val cond, function_ref<Vals()> then, function_ref<Vals()> otherwise) {
  // The op's own builders put b_ into the region and back.
  auto emit = [&](function_ref<Vals()> body) {
    return [&, body](OpBuilder&, Location) { scf::YieldOp::create(b_, raw(body())); };
  };
  auto op = scf::IfOp::create(b_, cond.v(), emit(then), emit(otherwise));
  return wrap(*this, op.getResults());
}

Vals ValueBuilder::whileLoop(ArrayRef<Val> init, function_ref<Val(ArrayRef<Val>)> cond,
                             function_ref<Vals(ArrayRef<Val>)> body) {
  SmallVector<Value> start = raw(init);
  auto before = [&](OpBuilder&, Location, ValueRange args) {
    Val go = cond(wrap(*this, args));
    scf::ConditionOp::create(b_, go.v(), args);
  };
  auto after = [&](OpBuilder&, Location, ValueRange args) {
    scf::YieldOp::create(b_, raw(body(wrap(*this, args))));
  };
  auto op = scf::WhileOp::create(b_, ValueRange(start).getTypes(), start, before, after);
  return wrap(*this, op.getResults());
}

Val ValueBuilder::intrinsic(StringRef name, Type result, ArrayRef<Val> args) {
  auto call = LLVM::CallIntrinsicOp::create(b_, result, b_.getStringAttr(name), raw(args));
  return Val(*this, call.getResult(0));
}

// --- Arithmetic ----------------------------------------------------------------------------------

Type Val::elem() const { return getElementTypeOrSelf(type()); }

int64_t Val::lanes() const {
  auto vt = dyn_cast<VectorType>(type());
  return vt ? vt.getDimSize(0) : 0;
}

static Type withElem(Val like, Type elem) {
  return like.lanes() ? like.k().vec(elem, like.lanes()) : elem;
}

// A scalar beside a vector is broadcast.
static void match(Val& a, Val& b) {
  if (a.lanes() && !b.lanes()) b = splat(b, a.lanes());
  if (b.lanes() && !a.lanes()) a = splat(a, b.lanes());
  assert(a.type() == b.type() && "operands of different types");
}

template <typename FloatOp, typename IntOp>
static Val binary(Val a, Val b) {
  match(a, b);
  ImplicitLocOpBuilder& builder = a.k().b();
  if (isa<FloatType>(a.elem())) return Val(a.k(), builder.createOrFold<FloatOp>(a.v(), b.v()));
  return Val(a.k(), builder.createOrFold<IntOp>(a.v(), b.v()));
}

template <typename IntOp>
static Val integer(Val a, Val b) {
  match(a, b);
  return Val(a.k(), a.k().b().createOrFold<IntOp>(a.v(), b.v()));
}

static Val compare(Val a, Val b, arith::CmpFPredicate f, arith::CmpIPredicate i) {
  match(a, b);
  ImplicitLocOpBuilder& builder = a.k().b();
  if (isa<FloatType>(a.elem()))
    return Val(a.k(), builder.createOrFold<arith::CmpFOp>(f, a.v(), b.v()));
  return Val(a.k(), builder.createOrFold<arith::CmpIOp>(i, a.v(), b.v()));
}

Val operator+(Val a, Val b) { return binary<arith::AddFOp, arith::AddIOp>(a, b); }
Val operator-(Val a, Val b) { return binary<arith::SubFOp, arith::SubIOp>(a, b); }
Val operator*(Val a, Val b) { return binary<arith::MulFOp, arith::MulIOp>(a, b); }
Val operator/(Val a, Val b) { return binary<arith::DivFOp, arith::DivUIOp>(a, b); }
Val operator%(Val a, Val b) { return integer<arith::RemUIOp>(a, b); }
Val operator&(Val a, Val b) { return integer<arith::AndIOp>(a, b); }
Val operator|(Val a, Val b) { return integer<arith::OrIOp>(a, b); }
Val operator^(Val a, Val b) { return integer<arith::XOrIOp>(a, b); }

Val operator<(Val a, Val b) {
  return compare(a, b, arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt);
}
Val operator<=(Val a, Val b) {
  return compare(a, b, arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle);
}
Val operator>(Val a, Val b) {
  return compare(a, b, arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt);
}
Val operator>=(Val a, Val b) {
  return compare(a, b, arith::CmpFPredicate::OGE, arith::CmpIPredicate::sge);
}
Val operator==(Val a, Val b) {
  return compare(a, b, arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq);
}
Val operator!=(Val a, Val b) {
  return compare(a, b, arith::CmpFPredicate::UNE, arith::CmpIPredicate::ne);
}

Val operator-(Val a) {
  if (isa<FloatType>(a.elem())) return Val(a.k(), a.k().b().createOrFold<arith::NegFOp>(a.v()));
  return number(a, 0) - a;
}
Val number(Val like, double v) { return like.k().constant(like.type(), v); }

Val shl(Val a, int n) { return integer<arith::ShLIOp>(a, number(a, n)); }
Val shr(Val a, int n) { return integer<arith::ShRUIOp>(a, number(a, n)); }
Val shr(Val a, Val n) { return integer<arith::ShRUIOp>(a, n); }
Val sar(Val a, int n) { return integer<arith::ShRSIOp>(a, number(a, n)); }

Val max(Val a, Val b) {
  match(a, b);
  return select(a > b, a, b);
}
Val min(Val a, Val b) {
  match(a, b);
  return select(a < b, a, b);
}
Val select(Val cond, Val a, Val b) {
  match(a, b);
  return Val(a.k(), a.k().b().createOrFold<arith::SelectOp>(cond.v(), a.v(), b.v()));
}

Val fma(Val a, Val b, Val c) {
  match(a, b);
  match(a, c);
  if (!b.lanes()) b = splat(b, a.lanes());
  return Val(a.k(), math::FmaOp::create(a.k().b(), a.v(), b.v(), c.v()));
}

Val sqrt(Val a) { return Val(a.k(), math::SqrtOp::create(a.k().b(), a.v())); }
Val abs(Val a) {
  return bitcast(bitcast(a, a.k().i32()) & number(bitcast(a, a.k().i32()), 0x7fffffff),
                 a.k().f32());
}

// Adding 1.5 x 2^23 leaves the nearest integer in the low mantissa bits.
ValueBuilder::Rounded ValueBuilder::roundProduct(Val x, double factor) {
  constexpr double kMagic = 12582912.0;
  Val t = fma(x, number(x, factor), number(x, kMagic));
  return {t - kMagic, t};
}

// --- Vectors -------------------------------------------------------------------------------------

Val splat(Val scalar, int64_t lanes) {
  if (lanes == 0) return scalar;
  ValueBuilder& k = scalar.k();
  return Val(k, k.b().createOrFold<vector::BroadcastOp>(k.vec(scalar.type(), lanes), scalar.v()));
}

Val lane(Val v, int64_t i) {
  return Val(v.k(), v.k().b().createOrFold<vector::ExtractOp>(v.v(), i));
}

Val permute(Val a, Val b, ArrayRef<int64_t> pick) {
  return Val(a.k(), vector::ShuffleOp::create(a.k().b(), a.v(), b.v(), pick));
}

Val slice(Val v, int64_t from, int64_t lanes) {
  if (from == 0 && lanes == v.lanes()) return v;
  SmallVector<int64_t> pick;
  for (int64_t l = 0; l < lanes; ++l) pick.push_back(from + l);
  return permute(v, v, pick);
}

Val concat(Val a, Val b) {
  SmallVector<int64_t> pick;
  for (int64_t l = 0; l < a.lanes() + b.lanes(); ++l) pick.push_back(l);
  return permute(a, b, pick);
}

Val maskBelow(ValueBuilder& k, Val count, int64_t lanes) {
  auto type = cast<VectorType>(k.vec(k.b().getI1Type(), lanes));
  return Val(k, vector::CreateMaskOp::create(k.b(), type, ValueRange{count.v()}));
}

static Val reduce(Val v, function_ref<Val(Val, Val)> op) {
  while (v.lanes() > 2) v = op(slice(v, 0, v.lanes() / 2), slice(v, v.lanes() / 2, v.lanes() / 2));
  return v.lanes() == 2 ? op(lane(v, 0), lane(v, 1)) : lane(v, 0);
}
Val reduceAdd(Val v) {
  return reduce(v, [](Val a, Val b) { return a + b; });
}
Val reduceMax(Val v) {
  return reduce(v, [](Val a, Val b) { return max(a, b); });
}
Val reduceMin(Val v) {
  return reduce(v, [](Val a, Val b) { return min(a, b); });
}

// --- Conversions ---------------------------------------------------------------------------------

template <typename Op>
static Val convert(Val v, Type elem) {
  return Val(v.k(), v.k().b().createOrFold<Op>(withElem(v, elem), v.v()));
}

Val bitcast(Val v, Type elem) {
  ValueBuilder& k = v.k();
  if (v.elem() == elem) return v;
  if (!v.lanes()) return convert<arith::BitcastOp>(v, elem);
  int64_t bits = v.lanes() * v.elem().getIntOrFloatBitWidth();
  Type type = k.vec(elem, bits / elem.getIntOrFloatBitWidth());
  return Val(k, vector::BitCastOp::create(k.b(), cast<VectorType>(type), v.v()));
}

Val toIndex(Val v) {
  return v.elem().isIndex() ? v : convert<arith::IndexCastOp>(v, v.k().index());
}
Val toInt(Val v, Type elem) {
  if (v.elem() == elem) return v;
  if (v.elem().isIndex()) return convert<arith::IndexCastOp>(v, elem);
  if (v.elem().getIntOrFloatBitWidth() > elem.getIntOrFloatBitWidth())
    return convert<arith::TruncIOp>(v, elem);
  return convert<arith::ExtSIOp>(v, elem);
}
Val zext(Val v, Type elem) { return convert<arith::ExtUIOp>(v, elem); }
Val sext(Val v, Type elem) { return convert<arith::ExtSIOp>(v, elem); }
Val toFloat(Val v) { return convert<arith::SIToFPOp>(v, v.k().f32()); }
Val truncToI32(Val v) { return convert<arith::FPToSIOp>(v, v.k().i32()); }
Val f16ToF32(Val bits) {
  return convert<arith::ExtFOp>(bitcast(bits, bits.k().b().getF16Type()), bits.k().f32());
}
Val bf16ToF32(Val bits) { return bitcast(shl(zext(bits, bits.k().i32()), 16), bits.k().f32()); }

// The rounded upper half of each float, in bits 16..31 of an i32.
static Val roundedToBf16(Val v) {
  ValueBuilder& k = v.k();
  Val u = bitcast(v, k.i32());
  Val up = u + (shr(u, 16) & number(u, 1)) + number(u, 0x7fff);
  return select(v == v, up, u | number(u, 0x400000));
}

Val f32ToBf16(Val v) {
  ValueBuilder& k = v.k();
  if (k.profile().avx512Bf16 && v.lanes() == 16) {
    Val h = k.intrinsic("llvm.x86.avx512bf16.cvtneps2bf16.512", k.vec(k.b().getBF16Type()), {v});
    return bitcast(h, k.i16());
  }
  return convert<arith::TruncIOp>(shr(roundedToBf16(v), 16), k.i16());
}

Val packBf16(Val lo, Val hi) {
  ValueBuilder& k = lo.k();
  if (k.profile().avx512Bf16 && lo.lanes() == 16)
    return zext(f32ToBf16(lo), k.i32()) | shl(zext(f32ToBf16(hi), k.i32()), 16);
  Val h = roundedToBf16(hi);
  return shr(roundedToBf16(lo), 16) | (h & number(h, -65536));
}
Val lowBf16(Val pairs) { return bitcast(shl(pairs, 16), pairs.k().f32()); }
Val highBf16(Val pairs) { return bitcast(pairs & number(pairs, -65536), pairs.k().f32()); }

// --- Functions -----------------------------------------------------------------------------------

Val polynomial(Val x, std::initializer_list<double> coefficients) {
  Val p;
  for (double c : coefficients) p = p ? fma(p, x, number(x, c)) : number(x, c);
  return p;
}

// The low bits are n; the shift leaves them in the exponent's place.
Val timesPowerOf2(Val p, Val bits) {
  Type i32 = p.k().i32();
  return bitcast(bitcast(p, i32) + shl(bitcast(bits, i32), 23), p.k().f32());
}

// e^x = 2^n e^r with n = round(x log2 e), |r| <= ln2/2; the polynomial's relative error is 3e-9.
// x is cut to [-87, 88], where neither 2^n nor the product leaves the normal floats.
Val exp(Val x) {
  ValueBuilder& k = x.k();
  Val inside = x > -87.0;
  Val c = min(select(inside, x, number(x, -87.0)), number(x, 88.0));
  auto [n, bits] = k.roundProduct(c, std::numbers::log2e);
  // ln2 in two parts, the first with so few bits that n times it is exact.
  Val r = fma(n, number(c, -0.693359375), c);
  r = fma(n, number(c, 2.12194440e-4), r);
  Val p = polynomial(r, {1.381454016850788e-3, 8.368745108987987e-3, 4.166839078369764e-2,
                         1.6666520399042145e-1, 4.9999993432128687e-1, 1.0, 1.0});
  Val y = timesPowerOf2(p, bits);
  return select(inside, y, number(y, 0.0));
}

Val sigmoid(Val x) { return number(x, 1.0) / (exp(-x) + 1.0); }
Val silu(Val x) { return x / (exp(-x) + 1.0); }

// log x = e ln2 + log(1 + z) with 1 + z in [sqrt(1/2), sqrt(2)).
Val log(Val x) {
  ValueBuilder& k = x.k();
  Val bits = bitcast(x, k.i32());
  Val e = sar(bits - number(bits, 0x3f3504f3), 23);
  Val z = bitcast(bits - shl(e, 23), k.f32()) - 1.0;
  Val n = toFloat(e);
  Val p = polynomial(z, {7.332532684036827e-2, -1.1659930312370463e-1, 1.1634661769915813e-1,
                         -1.2396700238550515e-1, 1.4251155687150407e-1, -1.6669151015467032e-1,
                         2.00006880858171e-1, -2.4999981186077697e-1, 3.333333125683939e-1});
  Val z2 = z * z;
  Val tail = fma(n, number(x, -2.12194440e-4), p * z2 * z - z2 * 0.5);
  return fma(n, number(x, 0.693359375), z + tail);
}

}  // namespace fathom::kernels
