// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The PTX interpreter catches what may be wrong with copies beside the arithmetic, in the kernel
// that uses them: a matrix product without its waits or without its barriers.
#include <cstdio>

#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

constexpr int64_t kRows = 128, kCols = 512, kTokens = 16;

// Replaces every `removed` in the code by as many spaces: offsets in the image stay as they are.
int blank(std::vector<char>& code, const std::string& removed) {
  std::string text(code.begin(), code.end());
  int count = 0;
  for (size_t at = text.find(removed); at != std::string::npos; at = text.find(removed, at)) {
    text.replace(at, removed.size(), removed.size(), ' ');
    ++count;
  }
  code.assign(text.begin(), text.end());
  return count;
}

// Runs the product and leaves the process: an error costs the device. The interpreter reports to
// stderr.
[[noreturn]] void run(const std::string& removed) {
  TestAct act = encodeAct("i8", randomFloats(kTokens * kCols, 1), kTokens, kCols);
  TestWeight weight = encodeWeight("q4", randomFloats(kRows * kCols, 2), kRows, kCols);
  KernelSpec spec{"k", "linear",
                  "rows = 128, cols = 512, batch = 1, act_batch_stride = 0, enc = \"q4\", act = "
                  "\"i8\", out_ld = 128, epilogue = \"store\", bias = false, form = \"many\", "
                  "panel_tiles = 8, act_stride = " +
                      std::to_string(act.stride)};
  std::vector<char> code;
  std::string report = compileBytes(profileNamed("cuda:sm_80"), {spec}, code);
  if (report.empty() && !removed.empty() && blank(code, removed) == 0)
    report = "the code has no " + removed;
  std::vector<float> out(kTokens * kRows);
  if (report.empty())
    report = GpuImage("cuda", code)
                 .run("k", {1, 1, 1},
                      {{act.bytes.data(), act.bytes.size()},
                       {weight.bytes.data(), weight.bytes.size()},
                       {out.data(), out.size() * sizeof(float)}},
                      {kTokens});
  std::fprintf(stderr, "report: %s\n", report.empty() ? "good" : report.c_str());
  std::_Exit(0);
}

class CudaFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    if (!haveGpu("cuda", "cuda:sm_80", {"sm_80"})) GTEST_SKIP() << "no PTX interpreter";
  }
};

TEST_F(CudaFaults, NoneInTheKernel) {
  EXPECT_EXIT(run(""), ::testing::ExitedWithCode(0), "report: good");
}

TEST_F(CudaFaults, MissingWaits) {
  EXPECT_EXIT(run("cp.async.wait_group \t2;"), ::testing::ExitedWithCode(0),
              "asynchronous copy .*has not brought yet");
}

TEST_F(CudaFaults, MissingBarriers) {
  EXPECT_EXIT(run("bar.sync \t0;"), ::testing::ExitedWithCode(0), "data race: read");
}

}  // namespace
}  // namespace fathom::testing
