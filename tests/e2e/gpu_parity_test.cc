// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Whole models on GPUs against the same goldens, in float32; skipped where a driver has no device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/hal/driver_registry.h"
#include "tests/e2e/compiled_model.h"
#include "tests/oracle/golden.h"

namespace fathom::e2e {
namespace {

using oracle::RelativeError;
using ::testing::ElementsAreArray;

struct Gpu {
  std::string target, device, golden;
};

void PrintTo(const Gpu& gpu, std::ostream* os) { *os << gpu.target << " " << gpu.golden; }

// Every kind of attention, routing and projection once.
std::vector<Gpu> Cases() {
  std::vector<Gpu> cases;
  for (const char* golden : {"deepseek_v2_greedy", "deepseek_v3_group", "llama_tied", "qwen3_moe"})
    for (const auto& [target, device] : {std::pair{"vulkan:generic", "vulkan:0"}, {"cuda:sm_80", "cuda:0"}})
      cases.push_back({target, device, golden});
  cases.push_back({"vulkan:32bit", "vulkan:0", "deepseek_v3_plain"});
  return cases;
}

std::vector<int32_t> Ids(const std::vector<int64_t>& ids) { return {ids.begin(), ids.end()}; }

class GpuParity : public ::testing::TestWithParam<Gpu> {
 protected:
  void SetUp() override {
    auto opened = hal::MakeDriverRegistry().Open(GetParam().device, {});
    if (!opened.ok()) GTEST_SKIP() << opened.status().message();
  }
};

// |a - b| / |b| over the vocabulary: the order of float32 sums, and products rounded before a sum.
constexpr double kF32 = 1e-4;

TEST_P(GpuParity, Float32) {
  const Gpu& gpu = GetParam();
  const std::string folder = "tests/golden/" + gpu.golden;
  const oracle::Golden golden = oracle::ReadGolden(folder + "/golden.json");
  CompiledModel model(folder, "f32", gpu.target, 0, gpu.device);
  const std::vector<int32_t> prompt = Ids(golden.prompt), greedy = Ids(golden.greedy);
  EXPECT_LT(RelativeError(model.Prefill(model.AddSequence(), prompt), golden.rows.back().logits), kF32);
  EXPECT_THAT(model.Greedy(prompt, greedy.size()), ElementsAreArray(greedy));

  // The prompt token by token, and two sequences in one batch.
  model.NewSession({});
  const int32_t sequence = model.AddSequence();
  std::vector<float> logits = model.Prefill(sequence, {prompt[0]});
  for (size_t i = 1; i < prompt.size(); ++i) logits = model.Decode({sequence}, {prompt[i]})[0];
  EXPECT_LT(RelativeError(logits, golden.rows.back().logits), kF32) << "decoded token by token";
  const auto& other = golden.batch.at(0);
  const int32_t second = model.AddSequence();
  std::vector<int32_t> last = {ArgMax(logits), ArgMax(model.Prefill(second, Ids(other.prompt)))};
  for (size_t step = 0; step < 8; ++step) {
    EXPECT_EQ(last[0], greedy[step]) << step;
    EXPECT_EQ(last[1], other.greedy[step]) << step;
    const auto next = model.Decode({sequence, second}, last);
    last = {ArgMax(next[0]), ArgMax(next[1])};
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, GpuParity, ::testing::ValuesIn(Cases()), [](const auto& info) {
  std::string name = info.param.target + "_" + info.param.golden;
  for (char& c : name)
    if (!isalnum(c)) c = '_';
  return name;
});

}  // namespace
}  // namespace fathom::e2e
