// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Control flow, what lanes do together, and every kind of memory.
#include "tests/cuda_sim/test/sim_test.h"

namespace fathom::cuda_sim {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Runs `body`, which leaves a value of each thread in %r; %t is the thread's number.
std::vector<uint32_t> PerThread(const std::string& body, uint32_t threads = 32, int sm = 80,
                                std::string* report = nullptr, const std::string& globals = "") {
  Sim sim(sm);
  const std::string text =
      ".reg .b32 %t, %r, %x, %y, %z;\n.reg .b64 %base, %at;\n.reg .pred %p, %q;\n.reg .b16 %h;\n"
      "mov.u32 %t, %tid.x;\n" +
      body +
      "\nld.param.u64 %base, [p0];\nmul.wide.u32 %at, %t, 4;\nadd.u64 %base, %base, %at;\n"
      "st.global.u32 [%base], %r;\nret;";
  EXPECT_EQ(sim.Load(Ptx(1, text, sm, globals)), "");
  const uint64_t out = sim.Allocate(4 * threads);
  const std::string found = sim.Launch("k", {1, 1, 1}, {threads, 1, 1}, {out});
  if (report != nullptr) {
    *report = found;
  } else {
    EXPECT_EQ(found, "");
  }
  return sim.Download<uint32_t>(out, threads);
}

TEST(ControlFlow, LoopsOfDifferentLength) {
  const auto r = PerThread(
      "mov.u32 %r, 0;\nmov.u32 %x, 0;\n"
      "$loop:\nsetp.gt.u32 %p, %x, %t;\n@%p bra $done;\n"
      "add.u32 %r, %r, %x;\nadd.u32 %x, %x, 1;\nbra.uni $loop;\n"
      "$done:\nadd.u32 %r, %r, 1000;");
  for (uint32_t t = 0; t < 32; ++t) EXPECT_EQ(r[t], 1000 + t * (t + 1) / 2);
}

// Lanes that left a loop early wait for the others at the shuffle, wherever its code lies.
TEST(ControlFlow, MeetsAgainAtAShuffleBehindACodePathThatJumpsBack) {
  const auto r = PerThread(
      "mov.u32 %r, %t;\nand.b32 %x, %t, 3;\nsetp.eq.u32 %p, %x, 0;\n@%p bra $cold;\n"
      "add.u32 %r, %r, 100;\n"
      "$join:\nshfl.sync.bfly.b32 %r, %r, 1, 31, -1;\nbra.uni $end;\n"
      "$cold:\nadd.u32 %r, %r, 500;\nbra.uni $join;\n$end:");
  for (uint32_t t = 0; t < 32; ++t) {
    const uint32_t other = t ^ 1;
    EXPECT_EQ(r[t], other + (other % 4 == 0 ? 500 : 100));
  }
}

TEST(ControlFlow, NestedBranchesAndEarlyExit) {
  Sim sim;
  ASSERT_EQ(sim.Load(Ptx(1, R"(
    .reg .b32 %t, %x; .reg .b64 %base, %at; .reg .pred %p, %q;
    mov.u32 %t, %tid.x;
    setp.ge.u32 %p, %t, 20;
    @%p ret;
    ld.param.u64 %base, [p0];
    mul.wide.u32 %at, %t, 4;
    add.u64 %base, %base, %at;
    and.b32 %x, %t, 1;
    setp.eq.u32 %p, %x, 0;
    setp.lt.u32 %q, %t, 8;
    @!%p bra $odd;
    @%q bra $small;
    mov.u32 %x, 3;
    bra $store;
    $small: mov.u32 %x, 2;
    bra $store;
    $odd: mov.u32 %x, 1;
    $store: st.global.u32 [%base], %x;
    ret;)")),
            "");
  const uint64_t out = sim.Upload(std::vector<uint32_t>(32, 77));
  ASSERT_EQ(sim.Launch("k", {1, 1, 1}, {32, 1, 1}, {out}), "");
  const auto r = sim.Download<uint32_t>(out, 32);
  for (uint32_t t = 0; t < 32; ++t) {
    EXPECT_EQ(r[t], t >= 20 ? 77u : t % 2 == 1 ? 1u : t < 8 ? 2u : 3u);
  }
}

TEST(ControlFlow, BranchByTable) {
  const auto r = PerThread(
      "and.b32 %x, %t, 3;\n$table: .branchtargets $a, $b, $c, $a;\nbrx.idx %x, $table;\n"
      "$a: mov.u32 %r, 10; bra $end;\n$b: mov.u32 %r, 20; bra $end;\n$c: mov.u32 %r, 30;\n$end:");
  for (uint32_t t = 0; t < 32; ++t) EXPECT_EQ(r[t], (std::array{10u, 20u, 30u, 10u})[t % 4]);
}

TEST(ControlFlow, SpecialRegisters) {
  Sim sim;
  ASSERT_EQ(sim.Load(Ptx(1, R"(
    .reg .b32 %a<12>, %i; .reg .b64 %base, %at;
    mov.u32 %a0, %tid.x; mov.u32 %a1, %tid.y; mov.u32 %a2, %tid.z;
    mov.u32 %a3, %ctaid.x; mov.u32 %a4, %ctaid.y; mov.u32 %a5, %nctaid.x;
    mov.u32 %a6, %ntid.y; mov.u32 %a7, %laneid; mov.u32 %a8, %warpid; mov.u32 %a9, %lanemask_lt;
    mov.u32 %a10, %ntid.x; mov.u32 %a11, %nctaid.y;
    mad.lo.u32 %i, %a2, %a6, %a1;
    mad.lo.u32 %i, %i, %a10, %a0;
    mad.lo.u32 %i, %a4, 128, %i;
    mad.lo.u32 %i, %a3, 64, %i;
    ld.param.u64 %base, [p0];
    mul.wide.u32 %at, %i, 48;
    add.u64 %base, %base, %at;
    st.global.v4.b32 [%base], {%a0, %a1, %a2, %a3};
    st.global.v4.b32 [%base+16], {%a4, %a5, %a6, %a7};
    st.global.v4.b32 [%base+32], {%a8, %a9, %a10, %a11};
    ret;)")),
            "");
  const uint64_t out = sim.Allocate(48 * 256);
  ASSERT_EQ(sim.Launch("k", {2, 2, 1}, {4, 8, 2}, {out}), "");
  const auto r = sim.Download<uint32_t>(out, 12 * 256);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t t = i % 64;
    const std::array<uint32_t, 12> wanted = {
        t % 4, t / 4 % 8, t / 32, i / 64 % 2,         i / 128, 2,
        8,     t % 32,    t / 32, (1u << t % 32) - 1, 4,       2};
    for (size_t j = 0; j < 12; ++j) ASSERT_EQ(r[12 * i + j], wanted[j]) << i << ", " << j;
  }
}

TEST(Together, ShufflesOfEveryMode) {
  const std::string from = "add.u32 %x, %t, 100;\n";
  const auto up = PerThread(from + "shfl.sync.up.b32 %r|%p, %x, 3, 0, -1;\n@!%p mov.u32 %r, 7;");
  const auto down =
      PerThread(from + "shfl.sync.down.b32 %r|%p, %x, 5, 31, -1;\n@!%p mov.u32 %r, 7;");
  const auto bfly = PerThread(from + "shfl.sync.bfly.b32 %r, %x, 17, 31, -1;");
  const auto idx = PerThread(from + "shr.u32 %y, %t, 1;\nshfl.sync.idx.b32 %r, %x, %y, 31, -1;");
  // Segments of eight: c = 0x1807.
  const auto part =
      PerThread(from + "shfl.sync.down.b32 %r|%p, %x, 1, 0x1807, -1;\n@!%p mov.u32 %r, 7;");
  for (uint32_t t = 0; t < 32; ++t) {
    EXPECT_EQ(up[t], t < 3 ? 7 : 97 + t);
    EXPECT_EQ(down[t], t > 26 ? 7 : 105 + t);
    EXPECT_EQ(bfly[t], 100 + (t ^ 17));
    EXPECT_EQ(idx[t], 100 + t / 2);
    EXPECT_EQ(part[t], t % 8 == 7 ? 7 : 101 + t);
  }
}

TEST(Together, HalfWarpsWithMasksOfTheirOwn) {
  const auto r = PerThread(
      "setp.lt.u32 %p, %t, 16;\nselp.b32 %y, 0x0000ffff, 0xffff0000, %p;\n"
      "shfl.sync.bfly.b32 %r, %t, 15, 31, %y;\nredux.sync.add.u32 %x, %t, %y;\n"
      "mad.lo.u32 %r, %x, 100, %r;");
  for (uint32_t t = 0; t < 32; ++t) EXPECT_EQ(r[t], (t < 16 ? 120u : 376u) * 100 + (t ^ 15));
}

TEST(Together, VotesMatchesAndReductions) {
  const std::string third = "rem.u32 %x, %t, 3;\nsetp.eq.u32 %p, %x, 0;\n";
  EXPECT_THAT(PerThread(third + "vote.sync.ballot.b32 %r, %p, -1;"), Each(0x49249249u));
  EXPECT_THAT(PerThread(third + "vote.sync.any.pred %q, %p, -1;\nselp.b32 %r, 1, 0, %q;"),
              Each(1u));
  EXPECT_THAT(PerThread(third + "vote.sync.all.pred %q, %p, -1;\nselp.b32 %r, 1, 0, %q;"),
              Each(0u));
  EXPECT_THAT(PerThread(third + "vote.sync.uni.pred %q, !%p, -1;\nselp.b32 %r, 1, 0, %q;"),
              Each(0u));
  EXPECT_THAT(PerThread("setp.lt.u32 %p, %t, 9;\nmov.u32 %r, 0;\n@%p activemask.b32 %r;\n"
                        "@!%p mov.u32 %r, 511;"),
              Each(511u));
  const auto match = PerThread(third + "match.any.sync.b32 %r, %x, -1;");
  EXPECT_EQ(match[0], 0x49249249u);
  EXPECT_EQ(match[1], 0x92492492u);
  EXPECT_THAT(PerThread("match.all.sync.b32 %r|%p, 5, -1;\n@!%p mov.u32 %r, 1;"), Each(~0u));
  EXPECT_THAT(PerThread("redux.sync.min.s32 %r, %t, -1;"), Each(0u));
  EXPECT_THAT(PerThread("neg.s32 %x, %t;\nredux.sync.min.s32 %r, %x, -1;"), Each(~30u));
  EXPECT_THAT(PerThread("redux.sync.xor.b32 %r, %t, -1;"), Each(0u));
  EXPECT_THAT(PerThread("redux.sync.or.b32 %r, %t, -1;"), Each(31u));
}

TEST(Memory, SharedAcrossBarriersInEveryWarpOrder) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const auto r = PerThread(
        ".shared .align 4 .b8 buffer[1024];\nmov.u32 %y, buffer;\nshl.b32 %x, %t, 2;\n"
        "add.u32 %y, %y, %x;\nst.shared.u32 [%y], %t;\nbar.sync 0;\n"
        "xor.b32 %x, %t, 255;\nshl.b32 %x, %x, 2;\nmov.u32 %y, buffer;\nadd.u32 %y, %y, %x;\n"
        "ld.shared.u32 %r, [%y];",
        256);
    for (uint32_t t = 0; t < 256; ++t) ASSERT_EQ(r[t], t ^ 255);
  }
}

TEST(Memory, LocalAndGenericAddresses) {
  const auto r = PerThread(
      ".local .align 8 .b8 depot[64];\n.shared .align 4 .b8 word[4];\n"
      "mov.u64 %at, depot;\ncvta.local.u64 %base, %at;\nand.b32 %x, %t, 7;\n"
      "mul.wide.u32 %at, %x, 8;\nadd.u64 %base, %base, %at;\nst.u32 [%base+4], %t;\n"
      "ld.u32 %r, [%base+4];\nisspacep.local %p, %base;\n@%p add.u32 %r, %r, 1000;\n"
      "mov.u64 %at, word;\ncvta.shared.u64 %base, %at;\nsetp.eq.u32 %q, %t, 0;\n"
      "@%q st.u32 [%base], 50000;\nbar.sync 0;\nld.u32 %x, [%base];\nadd.u32 %r, %r, %x;");
  for (uint32_t t = 0; t < 32; ++t) EXPECT_EQ(r[t], 51000 + t);
}

TEST(Memory, ConstantsAndInitialisedGlobals) {
  const auto r = PerThread(
      "and.b32 %x, %t, 3;\nmul.wide.u32 %at, %x, 4;\nmov.u64 %base, table;\n"
      "add.u64 %at, %base, %at;\nld.const.u32 %r, [%at];\nld.global.s8 %x, [bytes+1];\n"
      "add.s32 %r, %r, %x;\nld.global.u16 %h, [bytes+2];\ncvt.u32.u16 %x, %h;\n"
      "add.u32 %r, %r, %x;",
      32, 80, nullptr,
      ".const .align 4 .u32 table[4] = {10, 20, 30};\n"
      ".global .align 2 .b8 bytes[4] = {1, 254, 0x34, 0x12};\n");
  for (uint32_t t = 0; t < 32; ++t) {
    EXPECT_EQ(r[t], (std::array{10u, 20u, 30u, 0u})[t % 4] - 2 + 0x1234);
  }
}

TEST(Memory, VectorsAndNarrowElements) {
  Sim sim(100);
  ASSERT_EQ(sim.Load(Ptx(2, R"(
    .reg .b16 %h<4>; .reg .b32 %r<8>; .reg .b64 %in, %out, %w<4>; .reg .b128 %q;
    ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1];
    ld.global.v8.b32 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, [%in];
    st.global.v4.b32 [%out], {%r7, %r6, %r5, %r4};
    ld.global.nc.v2.u8 {%h0, %h1}, [%in+2];
    st.global.v2.u16 [%out+16], {%h0, %h1};
    ld.global.s16 %r0, [%in+4];
    st.global.u32 [%out+20], %r0;
    ld.global.v2.b64 {%w0, %w1}, [%in+16];
    mov.b128 %q, {%w1, %w0};
    mov.b64 {_, %r1}, %w0;
    mov.b64 %w2, {%r1, %r1};
    mov.b128 {%w0, %w1}, %q;
    st.global.L1::no_allocate.v2.b64 [%out+32], {%w0, %w1};
    st.global.b64 [%out+24], %w2;
    ret;)",
                         100)),
            "");
  std::vector<uint32_t> in = {0x87654321, 0xffff8001, 3, 4, 5, 6, 7, 8};
  // 256-bit loads need an address that is a multiple of 32; allocations are.
  const uint64_t out = sim.Allocate(64);
  ASSERT_EQ(sim.Launch("k", {1, 1, 1}, {1, 1, 1}, {sim.Upload(in), out}), "");
  EXPECT_THAT(sim.Download<uint32_t>(out, 12),
              ElementsAre(8, 7, 6, 5, 0x00870065, 0xffff8001, 6, 6, 7, 8, 5, 6));
}

TEST(Memory, AtomicsOfManyBlocks) {
  Sim sim;
  ASSERT_EQ(sim.Load(Ptx(1, R"(
    .reg .b32 %t, %r, %c, %n; .reg .b64 %out, %w; .reg .f32 %f; .reg .pred %p;
    .shared .align 4 .b8 counter[4];
    ld.param.u64 %out, [p0];
    mov.u32 %t, %tid.x; mov.u32 %c, counter;
    setp.eq.u32 %p, %t, 0;
    @%p st.shared.u32 [%c], 0;
    bar.sync 0;
    atom.shared.add.u32 %r, [%c], 1;
    bar.sync 0;
    ld.shared.u32 %n, [%c];
    @%p red.global.add.u32 [%out], %n;
    atom.global.max.s32 %r, [%out+4], %t;
    red.relaxed.gpu.global.add.f32 [%out+8], 0f3F800000;
    atom.global.cas.b32 %r, [%out+12], 0, 5;
    atom.global.inc.u32 %r, [%out+16], 9;
    atom.global.or.b64 %w, [%out+24], 0x100000001;
    atom.global.exch.b32 %r, [%out+32], 77;
    ret;)")),
            "");
  const uint64_t out = sim.Upload(std::vector<uint32_t>(9, 0));
  ASSERT_EQ(sim.Launch("k", {10, 1, 1}, {96, 1, 1}, {out}), "");
  const auto r = sim.Download<uint32_t>(out, 9);
  EXPECT_THAT(r, ElementsAre(960, 95, std::bit_cast<uint32_t>(960.0f), 5, 0, 0, 1, 1, 77));
}

TEST(Memory, DynamicSharedMemory) {
  Sim sim;
  ASSERT_EQ(sim.Load(Ptx(1, R"(
    .reg .b32 %r<4>; .reg .b64 %out;
    ld.param.u64 %out, [p0];
    mov.u32 %r0, pool; mov.u32 %r1, %dynamic_smem_size;
    add.u32 %r2, %r0, %r1;
    st.shared.u32 [%r2+-4], %r1;
    ld.shared.u32 %r3, [%r2+-4];
    st.global.u32 [%out], %r3;
    ret;)",
                         80, ".extern .shared .align 16 .b8 pool[];")),
            "");
  const uint64_t out = sim.Allocate(4);
  ASSERT_EQ(sim.Launch("k", {1, 1, 1}, {1, 1, 1}, {out}, 4096), "");
  EXPECT_EQ(sim.Download<uint32_t>(out, 1)[0], 4096u);
}

TEST(Memory, AsynchronousCopiesInGroups) {
  Sim sim;
  ASSERT_EQ(sim.Load(Ptx(2, R"(
    .reg .b32 %s, %r<4>; .reg .b64 %in, %out;
    .shared .align 16 .b8 tile[48];
    ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1];
    mov.u32 %s, tile;
    cp.async.cg.shared.global [%s], [%in], 16;
    cp.async.commit_group;
    cp.async.ca.shared.global.L2::128B [%s+16], [%in+16], 8;
    cp.async.cg.shared.global [%s+32], [%in+32], 16, 4;
    cp.async.commit_group;
    cp.async.wait_group 1;
    ld.shared.v2.u32 {%r0, %r1}, [%s+8];
    cp.async.wait_all;
    ld.shared.u32 %r2, [%s+20];
    st.global.v2.u32 [%out], {%r0, %r1};
    st.global.u32 [%out+8], %r2;
    ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [%s+32];
    st.global.v4.u32 [%out+16], {%r0, %r1, %r2, %r3};
    ret;)")),
            "");
  const uint64_t out = sim.Upload(std::vector<uint32_t>(8, 9));
  ASSERT_EQ(
      sim.Launch("k", {1, 1, 1}, {1, 1, 1},
                 {sim.Upload(std::vector<uint32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}), out}),
      "");
  EXPECT_THAT(sim.Download<uint32_t>(out, 8), ElementsAre(3, 4, 6, 9, 9, 0, 0, 0));
}

}  // namespace
}  // namespace fathom::cuda_sim
