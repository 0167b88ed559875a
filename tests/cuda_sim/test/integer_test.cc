// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Integer instructions against C++.
#include <algorithm>

#include "tests/cuda_sim/test/op_check.h"

namespace fathom::cuda_sim {
namespace {

using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;

TEST(IntegerOps, AddSubNegAbs) {
  CheckOp<u16, u16>("add.s16 %d, %a, %b;", [](u16 a, u16 b, u16) -> u16 { return a + b; });
  CheckOp<u32, u32>("add.s32 %d, %a, %b;", [](u32 a, u32 b, u32) { return a + b; });
  CheckOp<u64, u64>("add.s64 %d, %a, %b;", [](u64 a, u64 b, u64) { return a + b; });
  CheckOp<u32, u32>("sub.u32 %d, %a, %b;", [](u32 a, u32 b, u32) { return a - b; });
  CheckOp<u64, u64>("sub.u64 %d, %a, -5;", [](u64 a, u64, u64) { return a + 5; });
  CheckOp<u32, u32>("neg.s32 %d, %a;", [](u32 a, u32, u32) { return 0 - a; });
  CheckOp<u32, s32>("abs.s32 %d, %a;", [](s32 a, s32, s32) { return a < 0 ? 0 - u32(a) : u32(a); });
  CheckOp<s32, s32>("add.sat.s32 %d, %a, %b;", [](s32 a, s32 b, s32) {
    return s32(std::clamp<s64>(s64(a) + b, INT32_MIN, INT32_MAX));
  });
  CheckOp<s32, s32>("sub.sat.s32 %d, %a, %b;", [](s32 a, s32 b, s32) {
    return s32(std::clamp<s64>(s64(a) - b, INT32_MIN, INT32_MAX));
  });
}

TEST(IntegerOps, Products) {
  CheckOp<u16, u16>("mul.lo.s16 %d, %a, %b;", [](u16 a, u16 b, u16) -> u16 { return 1u * a * b; });
  CheckOp<u32, u32>("mul.lo.s32 %d, %a, %b;", [](u32 a, u32 b, u32) { return a * b; });
  CheckOp<u64, u64>("mul.lo.s64 %d, %a, %b;", [](u64 a, u64 b, u64) { return a * b; });
  CheckOp<u32, u32>("mul.hi.u32 %d, %a, %b;",
                    [](u32 a, u32 b, u32) { return u32(u64(a) * b >> 32); });
  CheckOp<s32, s32>("mul.hi.s32 %d, %a, %b;",
                    [](s32 a, s32 b, s32) { return s32((s64(a) * b) >> 32); });
  CheckOp<u64, u64>("mul.hi.u64 %d, %a, %b;",
                    [](u64 a, u64 b, u64) { return u64((unsigned __int128)(a)*b >> 64); });
  CheckOp<s64, s64>("mul.hi.s64 %d, %a, %b;",
                    [](s64 a, s64 b, s64) { return s64((__int128(a) * b) >> 64); });
  CheckOp<u32, u16>("mul.wide.u16 %d, %a, %b;", [](u16 a, u16 b, u16) { return u32(a) * b; });
  CheckOp<s32, s16>("mul.wide.s16 %d, %a, %b;", [](s16 a, s16 b, s16) { return s32(a) * b; });
  CheckOp<u64, u32>("mul.wide.u32 %d, %a, %b;", [](u32 a, u32 b, u32) { return u64(a) * b; });
  CheckOp<s64, s32>("mul.wide.s32 %d, %a, %b;", [](s32 a, s32 b, s32) { return s64(a) * b; });
  CheckOp<u32, u32>("mad.lo.s32 %d, %a, %b, %c;", [](u32 a, u32 b, u32 c) { return a * b + c; });
  CheckOp<u64, u64>("mad.lo.s64 %d, %a, %b, %c;", [](u64 a, u64 b, u64 c) { return a * b + c; });
  CheckOp<u64, u32, u64>("mad.wide.u32 %d, %a, %b, %c;",
                         [](u32 a, u32 b, u64 c) { return u64(a) * b + c; });
  CheckOp<u64, s32, u64>("mad.wide.s32 %d, %a, %b, %c;",
                         [](s32 a, s32 b, u64 c) { return u64(s64(a) * b) + c; });
  CheckOp<u32, s32>("mad.hi.s32 %d, %a, %b, %c;",
                    [](s32 a, s32 b, s32 c) { return u32((s64(a) * b) >> 32) + u32(c); });
  CheckOp<u32, u32>("mul24.lo.u32 %d, %a, %b;",
                    [](u32 a, u32 b, u32) { return u32(u64(a & 0xffffff) * (b & 0xffffff)); });
}

TEST(IntegerOps, Quotients) {
  CheckOp<u32, u32>("div.u32 %d, %a, %b;", [](u32 a, u32 b, u32) { return b == 0 ? ~0u : a / b; });
  CheckOp<u32, u32>("rem.u32 %d, %a, %b;", [](u32 a, u32 b, u32) { return b == 0 ? a : a % b; });
  CheckOp<s32, s32>("div.s32 %d, %a, %b;",
                    [](s32 a, s32 b, s32) { return b == 0 ? -1 : s32(s64(a) / b); });
  CheckOp<s32, s32>("rem.s32 %d, %a, %b;",
                    [](s32 a, s32 b, s32) { return b == 0 ? a : s32(s64(a) % b); });
  CheckOp<s64, s64>("div.s64 %d, %a, %b;",
                    [](s64 a, s64 b, s64) { return b == 0 ? -1 : s64(__int128(a) / b); });
  CheckOp<u64, u64>("rem.u64 %d, %a, %b;", [](u64 a, u64 b, u64) { return b == 0 ? a : a % b; });
}

TEST(IntegerOps, MinMaxLogic) {
  CheckOp<s32, s32>("min.s32 %d, %a, %b;", [](s32 a, s32 b, s32) { return std::min(a, b); });
  CheckOp<u32, u32>("max.u32 %d, %a, %b;", [](u32 a, u32 b, u32) { return std::max(a, b); });
  CheckOp<s64, s64>("max.s64 %d, %a, %b;", [](s64 a, s64 b, s64) { return std::max(a, b); });
  CheckOp<s16, s16>("min.s16 %d, %a, %b;", [](s16 a, s16 b, s16) { return std::min(a, b); });
  CheckOp<u32, u32>("and.b32 %d, %a, %b;", [](u32 a, u32 b, u32) { return a & b; });
  CheckOp<u64, u64>("or.b64 %d, %a, %b;", [](u64 a, u64 b, u64) { return a | b; });
  CheckOp<u16, u16>("xor.b16 %d, %a, %b;", [](u16 a, u16 b, u16) -> u16 { return a ^ b; });
  CheckOp<u32, u32>("not.b32 %d, %a;", [](u32 a, u32, u32) { return ~a; });
  CheckOp<u32, u32>("cnot.b32 %d, %a;", [](u32 a, u32, u32) { return u32(a == 0); });
  CheckOp<u32, u32>("lop3.b32 %d, %a, %b, %c, 0xe4;",
                    [](u32 a, u32 b, u32 c) { return (b & ~c) | (a & c); });
  CheckOp<u32, s32>("sad.s32 %d, %a, %b, %c;",
                    [](s32 a, s32 b, s32 c) { return u32(std::abs(s64(a) - b)) + u32(c); });
}

TEST(IntegerOps, Shifts) {
  CheckOp<u32, u32>("shl.b32 %d, %a, %b;", [](u32 a, u32 b, u32) { return b > 31 ? 0 : a << b; });
  CheckOp<u64, u64, u32>("shl.b64 %d, %a, %c;",
                         [](u64 a, u64, u32 c) { return c > 63 ? 0 : a << c; });
  CheckOp<u32, u32>("shr.u32 %d, %a, %b;", [](u32 a, u32 b, u32) { return b > 31 ? 0 : a >> b; });
  CheckOp<s32, s32>("shr.s32 %d, %a, %b;",
                    [](s32 a, s32 b, s32) { return a >> (u32(b) > 31 ? 31 : b); });
  CheckOp<s16, s16, u32>("shr.s16 %d, %a, %c;",
                         [](s16 a, s16, u32 c) { return s16(a >> std::min(c, 15u)); });
  CheckOp<u16, u16, u32>("shl.b16 %d, %a, %c;",
                         [](u16 a, u16, u32 c) { return u16(c > 15 ? 0 : a << c); });
  const auto funnel = [](u32 a, u32 b) { return u64(b) << 32 | a; };
  CheckOp<u32, u32>("shf.l.wrap.b32 %d, %a, %b, %c;",
                    [&](u32 a, u32 b, u32 c) { return u32((funnel(a, b) << (c & 31)) >> 32); });
  CheckOp<u32, u32>("shf.r.wrap.b32 %d, %a, %b, %c;",
                    [&](u32 a, u32 b, u32 c) { return u32(funnel(a, b) >> (c & 31)); });
  CheckOp<u32, u32>("shf.l.clamp.b32 %d, %a, %b, %c;", [&](u32 a, u32 b, u32 c) {
    return c >= 32 ? a : u32((funnel(a, b) << c) >> 32);
  });
  CheckOp<u32, u32>("shf.r.clamp.b32 %d, %a, %b, %c;",
                    [&](u32 a, u32 b, u32 c) { return c >= 32 ? b : u32(funnel(a, b) >> c); });
}

TEST(IntegerOps, BitCounts) {
  const auto popc = [](u64 a) {
    u32 n = 0;
    for (; a != 0; a &= a - 1) ++n;
    return n;
  };
  const auto clz = [](u64 a, u32 bits) {
    u32 n = 0;
    while (n < bits && (a >> (bits - 1 - n) & 1) == 0) ++n;
    return n;
  };
  CheckOp<u32, u32>("popc.b32 %d, %a;", [&](u32 a, u32, u32) { return popc(a); });
  CheckOp<u32, u64>("popc.b64 %d, %a;", [&](u64 a, u64, u64) { return popc(a); });
  CheckOp<u32, u32>("clz.b32 %d, %a;", [&](u32 a, u32, u32) { return clz(a, 32); });
  CheckOp<u32, u64>("clz.b64 %d, %a;", [&](u64 a, u64, u64) { return clz(a, 64); });
  CheckOp<u32, u32>("bfind.u32 %d, %a;", [&](u32 a, u32, u32) { return 31 - clz(a, 32); });
  CheckOp<u32, s32>("bfind.s32 %d, %a;",
                    [&](s32 a, s32, s32) { return 31 - clz(u32(a < 0 ? ~a : a), 32); });
  CheckOp<u32, u32>("brev.b32 %d, %a;", [](u32 a, u32, u32) {
    u32 r = 0;
    for (int i = 0; i < 32; ++i) r |= (a >> i & 1) << (31 - i);
    return r;
  });
}

TEST(IntegerOps, BitFields) {
  CheckOp<u32, u32>("bfe.u32 %d, %a, 5, 11;", [](u32 a, u32, u32) { return a >> 5 & 0x7ff; });
  CheckOp<s32, s32>("bfe.s32 %d, %a, 20, 30;", [](s32 a, s32, s32) { return a >> 20; });
  CheckOp<s32, s32>("bfe.s32 %d, %a, 3, 4;",
                    [](s32 a, s32, s32) { return s32(u32(a) << 25) >> 28; });
  CheckOp<u64, u64>("bfe.u64 %d, %a, 40, 9;", [](u64 a, u64, u64) { return a >> 40 & 0x1ff; });
  CheckOp<u32, u32>("bfe.u32 %d, %a, 5, 0;", [](u32, u32, u32) { return 0u; });
  CheckOp<u32, u32>("bfi.b32 %d, %a, %b, 8, 12;",
                    [](u32 a, u32 b, u32) { return (b & ~0xfff00u) | (a << 8 & 0xfff00u); });
  CheckOp<u64, u64>("bfi.b64 %d, %a, %b, 32, 32;",
                    [](u64 a, u64 b, u64) { return (b & 0xffffffffu) | a << 32; });
  CheckOp<u32, u32>("prmt.b32 %d, %a, %b, 0x7531;", [](u32 a, u32 b, u32) {
    return (a >> 8 & 0xff) | (a >> 24) << 8 | (b >> 8 & 0xff) << 16 | (b >> 24) << 24;
  });
  CheckOp<u32, u32>("prmt.b32 %d, %a, %b, 0x9884;", [](u32 a, u32 b, u32) {
    const auto sign = [](u32 byte) { return byte >> 7 ? 0xffu : 0u; };
    return (b & 0xff) | sign(a & 0xff) << 8 | sign(a & 0xff) << 16 | sign(a >> 8 & 0xff) << 24;
  });
}

template <typename A, typename B>
u32 Dot(u32 a, u32 b, u32 c) {
  for (int i = 0; i < 4; ++i) c += u32(s32(A(a >> 8 * i)) * s32(B(b >> 8 * i)));
  return c;
}

TEST(IntegerOps, DotProducts) {
  CheckOp<u32, u32>("dp4a.u32.u32 %d, %a, %b, %c;", Dot<uint8_t, uint8_t>);
  CheckOp<u32, u32>("dp4a.u32.s32 %d, %a, %b, %c;", Dot<uint8_t, int8_t>);
  CheckOp<u32, u32>("dp4a.s32.u32 %d, %a, %b, %c;", Dot<int8_t, uint8_t>);
  CheckOp<u32, u32>("dp4a.s32.s32 %d, %a, %b, %c;", Dot<int8_t, int8_t>);
  CheckOp<u32, u32>("dp2a.hi.s32.u32 %d, %a, %b, %c;", [](u32 a, u32 b, u32 c) {
    return c + u32(s32(s16(a)) * s32(uint8_t(b >> 16))) +
           u32(s32(s16(a >> 16)) * s32(uint8_t(b >> 24)));
  });
}

TEST(IntegerOps, ComparisonsAndSelection) {
  const std::string pick = " %q, %a, %b;\nselp.b32 %d, 1, 0, %q;";
  CheckOp<u32, s32>("setp.lt.s32" + pick, [](s32 a, s32 b, s32) { return u32(a < b); });
  CheckOp<u32, u32>("setp.lt.u32" + pick, [](u32 a, u32 b, u32) { return u32(a < b); });
  CheckOp<u32, u32>("setp.hs.u32" + pick, [](u32 a, u32 b, u32) { return u32(a >= b); });
  CheckOp<u32, u64>("setp.ne.b64" + pick, [](u64 a, u64 b, u64) { return u32(a != b); });
  CheckOp<u32, s16>("setp.ge.s16" + pick, [](s16 a, s16 b, s16) { return u32(a >= b); });
  CheckOp<u32, s32>(
      ".reg .pred %p;\nsetp.gt.s32 %p, %c, 0;\n"
      "setp.eq.and.s32 %q|%p, %a, %b, !%p;\nselp.b32 %d, 1, 0, %q;\n"
      "@%p add.s32 %d, %d, 2;",
      [](s32 a, s32 b, s32 c) {
        const bool p = !(c > 0);
        return u32(a == b && p) + 2 * u32(a != b && p);
      });
  CheckOp<u32, s32>(
      ".reg .pred %p;\nsetp.gt.s32 %p, %a, 0;\nsetp.lt.s32 %q, %b, 0;\n"
      "xor.pred %q, %p, %q;\nnot.pred %q, %q;\nselp.b32 %d, %a, %b, %q;",
      [](s32 a, s32 b, s32) { return u32((a > 0) != (b < 0) ? b : a); });
  CheckOp<u32, s32>("slct.b32.s32 %d, %a, %b, %c;",
                    [](s32 a, s32 b, s32 c) { return u32(c >= 0 ? a : b); });
}

}  // namespace
}  // namespace fathom::cuda_sim
