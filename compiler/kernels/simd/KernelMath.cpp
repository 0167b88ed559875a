// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dot products of the CPU kernels: the instruction where the ISA has one, else what stands for it.
#include "compiler/kernels/simd/KernelBuilder.h"

using namespace mlir;

namespace fathom::kernels {

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
  ValueBuilder& k = a.k();
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
  ValueBuilder& k = acc.k();
  return inHalves({acc, a, b}, [&](ArrayRef<Val> half) {
    return inHalves(half, [&](ArrayRef<Val> q) {
      return k.intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", q[0].type(), q);
    });
  });
}

// Bytes 4l, 4l+1 and 4l+2, 4l+3 widened apart: sums of four products without any dot instruction.
static Val widening(Val acc, Val u8, Val s8) {
  ValueBuilder& k = acc.k();
  Val u = bitcast(u8, k.i32()), s = bitcast(s8, k.i32());
  for (int b = 0; b < 4; ++b) {
    Val ub = b == 3 ? shr(u, 24) : shr(u, 8 * b) & number(u, 255);
    acc = acc + ub * sar(b == 3 ? s : shl(s, 24 - 8 * b), 24);
  }
  return acc;
}

Val dotU8S8(Val acc, Val u8, Val s8) {
  ValueBuilder& k = acc.k();
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
  ValueBuilder& k = acc.k();
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
  ValueBuilder& k = acc.k();
  if (k.profile().avx512Bf16) {
    Type bf16 = k.b().getBF16Type();
    return k.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", acc.type(),
                       {acc, bitcast(a, bf16), bitcast(b, bf16)});
  }
  return fma(highBf16(a), highBf16(b), fma(lowBf16(a), lowBf16(b), acc));
}

}  // namespace fathom::kernels
