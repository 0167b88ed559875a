// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Faults put into kernels that work: each must be found, named and placed.
#include <functional>

#include "tests/cuda_sim/test/sim_test.h"

namespace fathom::cuda_sim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

// The line of `text` in a module, as reports count.
std::string LineOf(const std::string& module, const std::string& text) {
  const size_t at = module.find(text);
  EXPECT_NE(at, std::string::npos) << text;
  return "PTX line " +
         std::to_string(std::count(module.begin(), module.begin() + static_cast<long>(at), '\n') +
                        1);
}

// Reverses 64 words through shared memory, then sums pairs by a shuffle.
const char kReverse[] = R"(
    .reg .b32 %t, %a, %v, %w; .reg .b64 %in, %out, %at; .reg .pred %p;
    .shared .align 16 .b8 buffer[256];
    ld.param.u64 %in, [p0];
    ld.param.u64 %out, [p1];
    mov.u32 %t, %tid.x;
    mul.wide.u32 %at, %t, 4;
    add.u64 %in, %in, %at;
    ld.global.u32 %v, [%in];
    mov.u32 %a, buffer;
    shl.b32 %w, %t, 2;
    add.u32 %a, %a, %w;
    st.shared.u32 [%a], %v;
    bar.sync 0;
    sub.u32 %w, 252, %w;
    mov.u32 %a, buffer;
    add.u32 %a, %a, %w;
    ld.shared.u32 %v, [%a];
    shfl.sync.bfly.b32 %w, %v, 1, 31, -1;
    add.u32 %v, %v, %w;
    add.u64 %out, %out, %at;
    st.global.u32 [%out], %v;
    ret;)";

class Faults : public ::testing::Test {
 protected:
  std::string Run(const std::string& module, uint32_t threads = 64, uint32_t in_words = 64) {
    Sim sim;
    EXPECT_EQ(sim.Load(module), "");
    std::vector<uint32_t> in(in_words);
    for (uint32_t i = 0; i < in_words; ++i) in[i] = i;
    const uint64_t out = sim.Allocate(256);
    const std::string report = sim.Launch("k", {1, 1, 1}, {threads, 1, 1}, {sim.Upload(in), out});
    error_ = sim.error();
    if (report.empty()) result_ = sim.Download<uint32_t>(out, 64);
    return report;
  }
  Error error_ = Error::ok;
  std::vector<uint32_t> result_;
};

TEST_F(Faults, NoneInTheGoodKernel) {
  EXPECT_EQ(Run(Ptx(2, kReverse)), "");
  for (uint32_t t = 0; t < 64; ++t) EXPECT_EQ(result_[t], 63 - t + (63 - (t ^ 1)));
}

TEST_F(Faults, RemovedBarrier) {
  const std::string module = Ptx(2, Replaced(kReverse, "bar.sync 0;", ""));
  const std::string report = Run(module);
  // Whichever warp comes first: it reads what nobody wrote.
  EXPECT_THAT(report,
              AllOf(HasSubstr("kernel k at " + LineOf(module, "ld.shared")),
                    HasSubstr("read of memory that nothing has written"),
                    HasSubstr("of buffer (256 bytes)"), HasSubstr("instruction: ld.shared")));
}

TEST_F(Faults, RemovedBarrierBeforeTheNextRound) {
  // Written again while another warp may still read.
  const std::string module =
      Ptx(2, Replaced(kReverse, "add.u64 %out", "st.shared.u32 [%a], %v;\nadd.u64 %out"));
  EXPECT_EQ(Run(module), "");  // each thread writes what it alone has read
  const std::string other = Ptx(2, Replaced(kReverse, "add.u64 %out",
                                            "xor.b32 %w, %t, 32;\nshl.b32 %w, %w, 2;\n"
                                            "mov.u32 %a, buffer;\nadd.u32 %a, %a, %w;\n"
                                            "st.shared.u32 [%a], 1;\nadd.u64 %out"));
  // Lane t ^ 32 writes what lane 63 - t reads: both of one warp.
  EXPECT_THAT(Run(other), HasSubstr("without a bar.warp.sync"));
  const std::string racing = Ptx(2, Replaced(kReverse, "add.u64 %out",
                                             "mov.u32 %a, buffer;\nshl.b32 %w, %t, 2;\n"
                                             "add.u32 %a, %a, %w;\n"
                                             "st.shared.u32 [%a], 1;\nadd.u64 %out"));
  EXPECT_THAT(Run(racing), AllOf(HasSubstr("data race: "), HasSubstr("without a barrier"),
                                 HasSubstr("at " + LineOf(racing, "st.shared.u32 [%a], 1"))));
}

TEST_F(Faults, WriteWriteRace) {
  const std::string module =
      Ptx(2, Replaced(kReverse, "bar.sync 0;", "st.shared.u32 [buffer], %t;\nbar.sync 0;"));
  EXPECT_THAT(Run(module), AllOf(HasSubstr("data race: write by thread"),
                                 HasSubstr("after a write"), HasSubstr("byte 0 of buffer")));
  // The same value from every lane of one warp is no race.
  const std::string same = Ptx(2, Replaced(kReverse, "st.shared.u32 [%a], %v;",
                                           "st.shared.u32 [%a], %v;\nsetp.lt.u32 %p, %t, 32;\n"));
  EXPECT_EQ(Run(same), "");
}

TEST_F(Faults, RaceInsideAWarp) {
  const std::string body = R"(
    .reg .b32 %t, %a, %v; .reg .b64 %out;
    .shared .align 8 .b8 buffer[128];
    ld.param.u64 %out, [p1];
    mov.u32 %t, %tid.x;
    shl.b32 %a, %t, 2;
    mov.u32 %v, buffer;
    add.u32 %a, %a, %v;
    st.shared.u32 [%a], %t;
    bar.warp.sync -1;
    xor.b32 %a, %a, 4;
    ld.shared.u32 %v, [%a];
    ret;)";
  EXPECT_EQ(Run(Ptx(2, body), 32), "");
  EXPECT_THAT(Run(Ptx(2, Replaced(body, "bar.warp.sync -1;", "")), 32),
              AllOf(HasSubstr("data race: read by thread"), HasSubstr("without a bar.warp.sync")));
}

TEST_F(Faults, WrongShuffleDistanceOrMask) {
  // A wrong distance is a wrong result.
  EXPECT_EQ(Run(Ptx(2, Replaced(kReverse, "%w, %v, 1, 31", "%w, %v, 2, 31"))), "");
  EXPECT_NE(result_[0], 63u + 62u);
  const std::string mask = Ptx(2, Replaced(kReverse, "1, 31, -1", "1, 31, 0x7fffffff"));
  EXPECT_THAT(Run(mask), AllOf(HasSubstr("the member mask 0x7fffffff lacks the lane that executes"),
                               HasSubstr("lane 31"), HasSubstr(LineOf(mask, "shfl.sync"))));
  const std::string part =
      Ptx(2, Replaced(kReverse, "shfl.sync", "setp.lt.u32 %p, %t, 48;\n@%p shfl.sync"));
  EXPECT_THAT(Run(part), HasSubstr("names lanes 0xffff0000, which have exited"));
  const std::string outside =
      Ptx(2, Replaced(Replaced(kReverse, "shfl.sync",
                               "and.b32 %w, %t, 16;\nsetp.eq.u32 %p, %w, 0;\n@%p shfl.sync"),
                      "1, 31, -1", "16, 31, 0xffff"));
  EXPECT_THAT(Run(outside),
              HasSubstr("the shuffle reads lane 16, which is not in the member mask 0xffff"));
}

TEST_F(Faults, DivergentBarrier) {
  const std::string module = Ptx(2, Replaced(kReverse, "bar.sync 0;", R"(setp.lt.u32 %p, %t, 16;
    @%p bra $skip;
    bar.sync 0;
    bra $join;
    $skip:
    bar.sync 0;
    $join:)"));
  EXPECT_THAT(Run(module), HasSubstr("lanes wait for each other at different places: lanes"));
  const std::string warps = Ptx(2, Replaced(kReverse, "bar.sync 0;", R"(setp.lt.u32 %p, %t, 32;
    @%p bra $skip;
    bar.sync 0;
    bra $join;
    $skip:
    bar.sync 0;
    $join:)"));
  EXPECT_THAT(Run(warps), HasSubstr("warps of a block wait at different barriers"));
}

TEST_F(Faults, OutOfBounds) {
  EXPECT_THAT(Run(Ptx(2, kReverse), 64, 63),
              AllOf(HasSubstr("read of 4 bytes out of bounds: address 0x"),
                    HasSubstr("0 bytes behind the end of the allocation of 252 bytes"),
                    HasSubstr("lane 31, thread (63,0,0)")));
  EXPECT_EQ(error_, Error::illegal_address);
  EXPECT_THAT(Run(Ptx(2, Replaced(kReverse, "buffer[256]", "buffer[252]"))),
              AllOf(HasSubstr("out of bounds"), HasSubstr("byte 252 of buffer (252 bytes)")));
  EXPECT_THAT(
      Run(Ptx(2, Replaced(kReverse, "ld.param.u64 %out, [p1];", "ld.param.u64 %out, [p1+8];"))),
      HasSubstr("read beyond the parameters"));
  EXPECT_THAT(
      Run(Ptx(2, Replaced(kReverse, "st.global.u32 [%out]", "st.global.u32 [%at]"))),
      AllOf(HasSubstr("write of 4 bytes out of bounds"), HasSubstr("bytes before the allocation")));
}

TEST_F(Faults, Misaligned) {
  const std::string module = Ptx(2, R"(
    .reg .b32 %a, %r<4>; .reg .b64 %in;
    .shared .align 4 .b8 buffer[64];
    ld.param.u64 %in, [p0];
    ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%in];
    mov.u32 %a, buffer;
    st.shared.v4.u32 [%a], {%r0, %r1, %r2, %r3};
    ret;)");
  // Declared with an alignment of 4, so it has no more.
  EXPECT_THAT(Run(module, 1), AllOf(HasSubstr("access of 16 bytes at the misaligned address"),
                                    HasSubstr(LineOf(module, "st.shared.v4"))));
  EXPECT_EQ(error_, Error::misaligned_address);
  EXPECT_EQ(Run(Replaced(module, ".align 4", ".align 16"), 1), "");
  EXPECT_THAT(Run(Replaced(module, "[%in];\n    mov", "[%in+8];\n    mov"), 1),
              HasSubstr("misaligned address"));
}

TEST_F(Faults, Uninitialised) {
  const std::string global = Ptx(2, Replaced(kReverse, "ld.global.u32 %v, [%in]",
                                             "ld.param.u64 %in, [p1];\nld.global.u32 %v, [%in]"));
  EXPECT_THAT(Run(global), AllOf(HasSubstr("read of memory that nothing has written: address"),
                                 HasSubstr("byte 0 of the allocation of 256 bytes")));
  const std::string local = Ptx(2, R"(
    .local .align 4 .b8 depot[16];
    .reg .b32 %r;
    ld.local.u32 %r, [depot+8];
    ret;)");
  EXPECT_THAT(Run(local, 1), HasSubstr("nothing has written: local memory, byte 1"));
  // In the other mode they are NaN.
  Sim sim(80, Uninitialised::poison);
  ASSERT_EQ(sim.Load(Ptx(2, Replaced(kReverse, "st.shared.u32 [%a], %v;", ""))), "");
  const uint64_t out = sim.Allocate(256);
  ASSERT_EQ(sim.Launch("k", {1, 1, 1}, {64, 1, 1}, {sim.Upload(std::vector<uint32_t>(64)), out}),
            "");
  EXPECT_EQ(sim.Download<uint32_t>(out, 1)[0], 0xfffffffeu);
}

TEST_F(Faults, MissingWaitForAnAsynchronousCopy) {
  const std::string good = R"(
    .reg .b32 %s, %r, %t; .reg .b64 %in, %out, %at; .reg .pred %p;
    .shared .align 16 .b8 tile[1024];
    ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1];
    mov.u32 %t, %tid.x;
    shl.b32 %r, %t, 4;
    mov.u32 %s, tile;
    add.u32 %s, %s, %r;
    and.b32 %r, %t, 3;
    mul.wide.u32 %at, %r, 16;
    add.u64 %in, %in, %at;
    cp.async.cg.shared.global [%s], [%in], 16;
    cp.async.commit_group;
    cp.async.wait_group 0;
    bar.sync 0;
    ld.shared.u32 %r, [tile];
    mul.wide.u32 %at, %t, 4;
    add.u64 %out, %out, %at;
    st.global.u32 [%out], %r;
    ret;)";
  EXPECT_EQ(Run(Ptx(2, good)), "");
  const std::string no_wait = Ptx(2, Replaced(good, "cp.async.wait_group 0;", ""));
  EXPECT_THAT(Run(no_wait),
              AllOf(HasSubstr("the asynchronous copy at " + LineOf(no_wait, "cp.async.cg")),
                    HasSubstr("has not brought yet"), HasSubstr("byte 0 of tile")));
  EXPECT_THAT(Run(Ptx(2, Replaced(good, "wait_group 0", "wait_group 1"))),
              HasSubstr("has not brought yet"));
  EXPECT_THAT(Run(Ptx(2, Replaced(good, "bar.sync 0;", ""))),
              ::testing::AnyOf(HasSubstr("data race: read"), HasSubstr("has not brought yet"),
                               HasSubstr("nothing has written")));
  EXPECT_THAT(Run(Ptx(2, Replaced(good, "cp.async.wait_group 0;", "st.shared.u32 [%s], %t;"))),
              HasSubstr("write over bytes that the asynchronous copy"));
}

// Each block adds 1 to a word: to its own, or to all the same one.
TEST(GlobalRaces, BetweenBlocks) {
  const std::string body = R"(
    .reg .b32 %c, %r; .reg .b64 %out, %at;
    ld.param.u64 %out, [p0];
    mov.u32 %c, %ctaid.x;
    mul.wide.u32 %at, %c, 4;
    add.u64 %out, %out, %at;
    ld.global.u32 %r, [%out];
    add.u32 %r, %r, 1;
    st.global.u32 [%out], %r;
    ret;)";
  Sim good;
  ASSERT_EQ(good.Load(Ptx(1, body)), "");
  const uint64_t words = good.Upload(std::vector<uint32_t>(100));
  for (int i = 0; i < 3; ++i) {  // another launch may touch what the last one wrote
    EXPECT_EQ(good.Launch("k", {100, 1, 1}, {1, 1, 1}, {words}), "");
  }
  Sim bad;
  const std::string module = Ptx(1, Replaced(body, "%at, %c, 4", "%at, %c, 0"));
  ASSERT_EQ(bad.Load(module), "");
  const uint64_t word = bad.Upload(std::vector<uint32_t>(1));
  EXPECT_THAT(bad.Launch("k", {100, 1, 1}, {1, 1, 1}, {word}),
              AllOf(HasSubstr("data race in global memory"), HasSubstr("in the same launch"),
                    HasSubstr(LineOf(module, "st.global"))));
  bad.options().global_races = false;
  EXPECT_EQ(bad.Launch("k", {100, 1, 1}, {1, 1, 1}, {word}), "");
  // Atomics are what they are for; one value may be written by all.
  Sim atomic;
  ASSERT_EQ(atomic.Load(Ptx(1, R"(
    .reg .b64 %out;
    ld.param.u64 %out, [p0];
    red.global.add.u32 [%out], 1;
    st.global.u32 [%out+4], 7;
    ret;)")),
            "");
  const uint64_t both = atomic.Upload(std::vector<uint32_t>(2));
  EXPECT_EQ(atomic.Launch("k", {100, 1, 1}, {32, 1, 1}, {both}), "");
  EXPECT_EQ(atomic.Download<uint32_t>(both, 1)[0], 3200u);
}

TEST(GlobalRaces, InsideABlock) {
  const std::string body = R"(
    .reg .b16 %h; .reg .b32 %t, %r; .reg .b64 %out, %at;
    ld.param.u64 %out, [p0];
    mov.u32 %t, %tid.x;
    mul.wide.u32 %at, %t, 2;
    add.u64 %at, %out, %at;
    mov.b16 %h, 5;
    st.global.u16 [%at], %h;
    bar.sync 0;
    xor.b32 %r, %t, 64;
    mul.wide.u32 %at, %r, 2;
    add.u64 %at, %out, %at;
    ld.global.u16 %r, [%at];
    ret;)";
  Sim sim;
  const uint64_t out = sim.Upload(std::vector<uint32_t>(64));
  ASSERT_EQ(sim.Load(Ptx(1, body)), "");
  EXPECT_EQ(sim.Launch("k", {1, 1, 1}, {128, 1, 1}, {out}), "");
  const std::string module =
      Ptx(1, Replaced(Replaced(body, "bar.sync 0;", ""), "mov.b16 %h, 5", "mov.b16 %h, 6"));
  ASSERT_EQ(sim.Load(module), "");
  EXPECT_THAT(
      sim.Launch("k", {1, 1, 1}, {128, 1, 1}, {out}),
      AllOf(HasSubstr("data race in global memory"), HasSubstr("another warp of the block")));
}

TEST_F(Faults, EndlessKernel) {
  Sim sim;
  ASSERT_EQ(sim.Load(Ptx(0, "$again: bra $again;")), "");
  sim.options().max_steps = 100'000;
  EXPECT_THAT(sim.Launch("k", {1, 1, 1}, {32, 1, 1}, {}), HasSubstr("the kernel seems not to end"));
  EXPECT_EQ(sim.error(), Error::launch_timeout);
}

TEST_F(Faults, SameReportWhateverTheThreads) {
  const std::string module = Ptx(2, Replaced(kReverse, "bar.sync 0;", ""));
  Sim sim;
  ASSERT_EQ(sim.Load(module), "");
  const uint64_t in = sim.Upload(std::vector<uint32_t>(64)), out = sim.Allocate(256);
  const std::string first = sim.Launch("k", {50, 1, 1}, {64, 1, 1}, {in, out});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(sim.Launch("k", {50, 1, 1}, {64, 1, 1}, {in, out}), first);
}

// --- modules that are refused ---

std::string LoadError(const std::string& body, int device = 80, int target = 80) {
  Sim sim(device);
  return sim.Load(Ptx(
      1, ".reg .b32 %r<4>; .reg .b64 %d<4>; .reg .b16 %h<4>; .reg .pred %p<4>;\n" + body, target));
}

TEST(Refused, WhatIsNotKnown) {
  EXPECT_THAT(LoadError("frobnicate.u32 %r1, %r2;"),
              AllOf(HasSubstr("line 9: unknown instruction frobnicate"),
                    HasSubstr("frobnicate.u32 %r1, %r2")));
  EXPECT_THAT(LoadError("add.strange.u32 %r1, %r2, %r3;"), HasSubstr("unknown modifier .strange"));
  EXPECT_THAT(LoadError("add.u32 %r1, %r2;"), HasSubstr("expected 3 operands, found 2"));
  EXPECT_THAT(LoadError("add.u32 %r1, %r2, %d3;"), HasSubstr("%d3 has another size"));
  EXPECT_THAT(LoadError("add.u32 %r1, %r2, %r9;"), HasSubstr("unknown register %r9"));
  EXPECT_THAT(LoadError("add.f32 %r1, %r2, 5;"), HasSubstr("an integer where"));
  EXPECT_THAT(LoadError("mov.u32 %r1, %clock;"), HasSubstr("unknown register %clock"));
  EXPECT_THAT(LoadError("bra $nowhere;"), HasSubstr("unknown name \"$nowhere\""));
  EXPECT_THAT(LoadError("ld.shared.u32 %r1, [p0];"), HasSubstr("is a parameter"));
  EXPECT_THAT(LoadError("ld.global.u32 %h1, [%d1];"), HasSubstr("narrower than the element"));
  EXPECT_THAT(LoadError("ld.global.v4.u32 {%r0, %r1}, [%d1];"),
              HasSubstr("expected a vector of 4"));
  EXPECT_THAT(LoadError("cvt.u32.f32 %r1, %r2;"), HasSubstr("a rounding is missing"));
  EXPECT_THAT(LoadError("call foo;"), HasSubstr("device functions are not supported"));
  EXPECT_THAT(LoadError(".maxregs 5;"), HasSubstr("unknown directive \".maxregs\""));
  EXPECT_THAT(
      LoadError(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r0,%r1}, {%r0}, {%r1}, {%r2};"),
      HasSubstr("expected a vector of 4"));
  Sim sim;
  EXPECT_THAT(sim.Load(".version 8.0\n.target sm_80\n.address_size 64\n.func foo() { ret; }"),
              HasSubstr("line 4: device functions are not supported"));
  EXPECT_THAT(sim.Load(".version 8.0\n.target sm_80\n.address_size 32\n"), HasSubstr("64-bit"));
  EXPECT_THAT(sim.Load("hello"), HasSubstr("unknown directive \"hello\""));
  EXPECT_THAT(sim.Load(".version 8.0\n.target sm_80\n.entry k() { ret;"),
              HasSubstr("does not end"));
  EXPECT_THAT(sim.Load(""), HasSubstr("needs .version and .target"));
}

TEST(Refused, WhatTheDeviceIsTooOldFor) {
  Sim sim(80);
  EXPECT_THAT(sim.Load(Ptx(0, "ret;", 90)), HasSubstr("made for sm_90, the device is sm_80"));
  EXPECT_EQ(sim.error(), Error::no_binary_for_gpu);
  EXPECT_EQ(sim.Load(Ptx(0, "ret;", 75)), "");
  EXPECT_THAT(sim.Load(".version 99.0\n.target sm_80\n.address_size 64\n"),
              HasSubstr("newer than this driver"));
  EXPECT_EQ(sim.error(), Error::unsupported_ptx_version);
  EXPECT_THAT(LoadError("add.rn.f32x2 %d1, %d2, %d3;", 120, 90),
              HasSubstr("needs .target sm_100 or higher, found sm_90"));
  EXPECT_EQ(LoadError("add.rn.f32x2 %d1, %d2, %d3;", 120, 120), "");
  EXPECT_THAT(LoadError("add.bf16 %h1, %h2, %h3;", 80, 80), HasSubstr("needs .target sm_90"));
  EXPECT_THAT(LoadError("redux.sync.add.s32 %r1, %r2, -1;", 80, 75),
              HasSubstr("needs .target sm_80"));
}

// Cut anywhere, a module is refused or loaded, never a crash.
TEST(Refused, ModulesCutShort) {
  const std::string text = ReadText("tests/cuda_sim/samples/mma_matmul.sm_80.ptx");
  for (size_t length = 0; length < text.size(); length += 37) {
    Sim sim;
    (void)sim.Load(text.substr(0, length));
  }
}

}  // namespace
}  // namespace fathom::cuda_sim
