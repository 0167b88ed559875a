// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Arithmetic of the kernel builder: operators, vectors, conversions, exp and log, dot products.
#include "compiler/kernels/simd/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace fathom::kernels {

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
constexpr double kRoundMagic = 12582912.0;
Val round(Val a) { return (a + kRoundMagic) - kRoundMagic; }

// --- Vectors -------------------------------------------------------------------------------------

Val splat(Val scalar, int64_t lanes) {
  if (lanes == 0) return scalar;
  KernelBuilder& k = scalar.k();
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

Val maskBelow(KernelBuilder& k, Val count, int64_t lanes) {
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
  KernelBuilder& k = v.k();
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
Val toFloat(Val v) { return convert<arith::SIToFPOp>(v, v.k().f32()); }
Val truncToI32(Val v) { return convert<arith::FPToSIOp>(v, v.k().i32()); }
Val f16ToF32(Val bits) {
  return convert<arith::ExtFOp>(bitcast(bits, bits.k().b().getF16Type()), bits.k().f32());
}
Val bf16ToF32(Val bits) { return bitcast(shl(zext(bits, bits.k().i32()), 16), bits.k().f32()); }

// The rounded upper half of each float, in bits 16..31 of an i32.
static Val roundedToBf16(Val v) {
  KernelBuilder& k = v.k();
  Val u = bitcast(v, k.i32());
  Val up = u + (shr(u, 16) & number(u, 1)) + number(u, 0x7fff);
  return select(v == v, up, u | number(u, 0x400000));
}

Val f32ToBf16(Val v) {
  KernelBuilder& k = v.k();
  if (k.profile().avx512Bf16 && v.lanes() == 16) {
    Val h = k.intrinsic("llvm.x86.avx512bf16.cvtneps2bf16.512", k.vec(k.b().getBF16Type()), {v});
    return bitcast(h, k.i16());
  }
  return convert<arith::TruncIOp>(shr(roundedToBf16(v), 16), k.i16());
}

Val packBf16(Val lo, Val hi) {
  KernelBuilder& k = lo.k();
  if (k.profile().avx512Bf16 && lo.lanes() == 16)
    return zext(f32ToBf16(lo), k.i32()) | shl(zext(f32ToBf16(hi), k.i32()), 16);
  Val h = roundedToBf16(hi);
  return shr(roundedToBf16(lo), 16) | (h & number(h, -65536));
}
Val lowBf16(Val pairs) { return bitcast(shl(pairs, 16), pairs.k().f32()); }
Val highBf16(Val pairs) { return bitcast(pairs & number(pairs, -65536), pairs.k().f32()); }

// --- Functions -----------------------------------------------------------------------------------

static Val polynomial(Val x, std::initializer_list<double> highestFirst) {
  Val p;
  for (double c : highestFirst) p = p ? fma(p, x, number(x, c)) : number(x, c);
  return p;
}

// e^x = 2^n e^r with n = round(x log2 e), |r| <= ln2/2; the polynomial's relative error is 3e-9.
// x is cut to [-87, 88], where neither 2^n nor the product leaves the normal floats.
Val exp(Val x) {
  KernelBuilder& k = x.k();
  Val inside = x > -87.0;
  Val c = min(select(inside, x, number(x, -87.0)), number(x, 88.0));
  Val t = fma(c, number(c, 1.4426950408889634), number(c, kRoundMagic));
  Val n = t - kRoundMagic;
  // ln2 in two parts, the first with so few bits that n times it is exact.
  Val r = fma(n, number(c, -0.693359375), c);
  r = fma(n, number(c, 2.12194440e-4), r);
  Val p = polynomial(r, {1.381454016850788e-3, 8.368745108987987e-3, 4.166839078369764e-2,
                         1.6666520399042145e-1, 4.9999993432128687e-1, 1.0, 1.0});
  // The low bits of t are n; the shift leaves them in the exponent's place.
  Val y = bitcast(bitcast(p, k.i32()) + shl(bitcast(t, k.i32()), 23), k.f32());
  return select(inside, y, number(y, 0.0));
}

Val sigmoid(Val x) { return number(x, 1.0) / (exp(-x) + 1.0); }
Val silu(Val x) { return x / (exp(-x) + 1.0); }

// log x = e ln2 + log(1 + z) with 1 + z in [sqrt(1/2), sqrt(2)).
Val log(Val x) {
  KernelBuilder& k = x.k();
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

// --- Dot products --------------------------------------------------------------------------------

// Applies `op` to the lower and the upper halves of the operands and joins the results.
static Val inHalves(ArrayRef<Val> args, function_ref<Val(ArrayRef<Val>)> op) {
  Val out[2];
  for (int h = 0; h < 2; ++h) {
    Vals part;
    for (Val a : args) part.push_back(slice(a, h * a.lanes() / 2, a.lanes() / 2));
    out[h] = op(part);
  }
  return concat(out[0], out[1]);
}

// Pairwise products of 16-bit values, summed to 32 bits: 32 x i16 -> 16 x i32.
static Val maddI16(Val a, Val b) {
  KernelBuilder& k = a.k();
  if (k.profile().avx512)
    return k.intrinsic("llvm.x86.avx512.pmaddw.d.512", k.vec(k.i32()), {a, b});
  return inHalves({a, b}, [&](ArrayRef<Val> h) {
    return k.intrinsic("llvm.x86.avx2.pmadd.wd", k.vec(k.i32(), 8), h);
  });
}

static Val vnni(Val acc, Val u8, Val s8) {
  return acc.k().intrinsic("llvm.x86.avx512.vpdpbusd.512", acc.type(), {acc, u8, s8});
}

// sdot, 16 bytes at a time.
static Val sdot(Val acc, Val a, Val b) {
  KernelBuilder& k = acc.k();
  return inHalves({acc, a, b}, [&](ArrayRef<Val> half) {
    return inHalves(half, [&](ArrayRef<Val> q) {
      return k.intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", q[0].type(), q);
    });
  });
}

// Bytes 4l, 4l+1 and 4l+2, 4l+3 widened apart: sums of four products without any dot instruction.
static Val widening(Val acc, Val u8, Val s8) {
  KernelBuilder& k = acc.k();
  Val u = bitcast(u8, k.i32()), s = bitcast(s8, k.i32());
  for (int b = 0; b < 4; ++b) {
    Val ub = b == 3 ? shr(u, 24) : shr(u, 8 * b) & number(u, 255);
    acc = acc + ub * sar(b == 3 ? s : shl(s, 24 - 8 * b), 24);
  }
  return acc;
}

Val dotU8S8(Val acc, Val u8, Val s8) {
  KernelBuilder& k = acc.k();
  if (k.profile().vnni) return vnni(acc, u8, s8);
  if (k.profile().dotprod) {
    // u = (u - 128) + 128: two dots with 64 make up for what flipping the sign bit took away. They
    // depend on the activations alone, so that one pair serves every tile of weights.
    Val by64 = sdot(number(acc, 0), number(s8, 64), s8);
    return sdot(acc, u8 ^ number(u8, -128), s8) + shl(by64, 1);
  }
  if (!k.profile().avx2) return widening(acc, u8, s8);
  // pmaddubsw saturates at 16 bits; even and odd bytes go through pmaddwd.
  Val u = bitcast(u8, k.i16()), s = bitcast(s8, k.i16());
  acc = acc + maddI16(u & number(u, 255), sar(shl(s, 8), 8));
  return acc + maddI16(shr(u, 8), sar(s, 8));
}

Val dotU7S8(Val acc, Val u7, Val s8) {
  KernelBuilder& k = acc.k();
  if (k.profile().vnni) return vnni(acc, u7, s8);
  if (k.profile().dotprod) return sdot(acc, u7, s8);
  if (!k.profile().avx2) return widening(acc, u7, s8);
  // 2 x 127 x 128 = 32512: no saturation.
  Val pairs;
  if (k.profile().avx512)
    pairs = k.intrinsic("llvm.x86.avx512.pmaddubs.w.512", k.vec(k.i16(), 32), {u7, s8});
  else
    pairs = inHalves({u7, s8}, [&](ArrayRef<Val> a) {
      return k.intrinsic("llvm.x86.avx2.pmadd.ub.sw", k.vec(k.i16()), a);
    });
  return acc + maddI16(pairs, number(pairs, 1));
}

Val dotBf16(Val acc, Val a, Val b) {
  KernelBuilder& k = acc.k();
  if (k.profile().avx512Bf16) {
    Type bf16 = k.b().getBF16Type();
    return k.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", acc.type(),
                       {acc, bitcast(a, bf16), bitcast(b, bf16)});
  }
  return fma(highBf16(a), highBf16(b), fma(lowBf16(a), lowBf16(b), acc));
}

}  // namespace fathom::kernels
