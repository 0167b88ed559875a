// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernels as LLVM makes them, for two architectures and several seeds, against plain C++.
#include <cmath>

#include "tests/cuda_sim/small_float.h"
#include "tests/cuda_sim/test/sim_test.h"

namespace fathom::cuda_sim {
namespace {

class Samples : public ::testing::TestWithParam<std::tuple<int, uint64_t>> {
 protected:
  Sim& Loaded(const std::string& name) {
    sim_ = std::make_unique<Sim>(std::get<0>(GetParam()));
    sim_->options().seed = std::get<1>(GetParam());
    const std::string path = "tests/cuda_sim/samples/" + name + ".sm_" +
                             std::to_string(std::get<0>(GetParam())) + ".ptx";
    EXPECT_EQ(sim_->Load(ReadText(path)), "");
    return *sim_;
  }
  float Random() { return std::uniform_real_distribution<float>(-1, 1)(random_); }
  std::unique_ptr<Sim> sim_;
  std::mt19937 random_{7};
};

INSTANTIATE_TEST_SUITE_P(Architectures, Samples,
                         ::testing::Combine(::testing::Values(80, 120),
                                            ::testing::Values(1, 2, 3)));

TEST_P(Samples, RmsNorm) {
  Sim& sim = Loaded("rms_norm");
  constexpr size_t kRows = 5, kWidth = 700;
  std::vector<float> x(kRows * kWidth), gamma(kWidth);
  for (float& v : x) v = Random();
  for (float& v : gamma) v = Random();
  const uint64_t y = sim.Allocate(4 * x.size());
  const float eps = 1e-6f;
  ASSERT_EQ(sim.Launch("rms_norm", {kRows, 1, 1}, {256, 1, 1},
                       {sim.Upload(x), sim.Upload(gamma), y, kWidth, std::bit_cast<uint32_t>(eps)}),
            "");
  const auto found = sim.Download<float>(y, x.size());
  for (size_t r = 0; r < kRows; ++r) {
    double sum = 0;
    for (size_t i = 0; i < kWidth; ++i) sum += double{x[r * kWidth + i]} * x[r * kWidth + i];
    const double scale = 1 / std::sqrt(sum / kWidth + 1e-6);
    for (size_t i = 0; i < kWidth; ++i) {
      ASSERT_NEAR(found[r * kWidth + i], x[r * kWidth + i] * scale * gamma[i], 1e-5);
    }
  }
}

TEST_P(Samples, Q4Matvec) {
  Sim& sim = Loaded("q4_matvec");
  constexpr size_t kTiles = 3, kSuperblocks = 6, kCols = 64 * kSuperblocks, kRows = 16 * kTiles;
  std::vector<uint8_t> weights(kTiles * kSuperblocks * 576);
  for (uint8_t& byte : weights) byte = static_cast<uint8_t>(random_());
  for (size_t block = 0; block < kTiles * kSuperblocks; ++block) {
    for (size_t i = 0; i < 32; ++i) {
      const uint16_t scale = FloatToHalf(Random());
      std::memcpy(&weights[block * 576 + 2 * i], &scale, 2);
    }
  }
  std::vector<int8_t> x(kCols);
  std::vector<float> groups;
  for (int8_t& v : x) v = static_cast<int8_t>(random_());
  for (size_t g = 0; g < kCols / 32; ++g) {
    int sum = 0;
    for (size_t i = 0; i < 32; ++i) sum += x[32 * g + i];
    groups.push_back(Random());
    groups.push_back(8 * groups.back() * static_cast<float>(sum));
  }
  const uint64_t y = sim.Allocate(4 * kRows);
  ASSERT_EQ(sim.Launch("q4_matvec", {kTiles, 1, 1}, {128, 1, 1},
                       {sim.Upload(weights), sim.Upload(x), sim.Upload(groups), y, kSuperblocks}),
            "");
  const auto found = sim.Download<float>(y, kRows);
  for (size_t row = 0; row < kRows; ++row) {
    double sum = 0;
    for (size_t k = 0; k < kCols; ++k) {
      const uint8_t* block = &weights[(row / 16 * kSuperblocks + k / 64) * 576];
      const size_t g = k / 32 % 2, in = k % 32, r = row % 16;
      uint16_t scale = 0;
      std::memcpy(&scale, block + 2 * (16 * g + r), 2);
      const uint8_t byte = block[64 + 256 * g + 64 * (in % 16 / 4) + 4 * r + in % 4];
      const int nibble = in < 16 ? byte & 15 : byte >> 4;
      sum += double{HalfToFloat(scale)} * (nibble - 8) * x[k] * groups[k / 32 * 2];
    }
    EXPECT_NEAR(found[row], sum, 2e-3 * (1 + std::fabs(sum)));
  }
}

TEST_P(Samples, MmaMatmul) {
  Sim& sim = Loaded("mma_matmul");
  constexpr size_t kM = 128, kN = 64, kK = 96;
  std::vector<uint16_t> a(kM * kK), b(kN * kK);
  for (uint16_t& v : a) v = FloatToHalf(Random());
  for (uint16_t& v : b) v = FloatToHalf(Random());
  const uint64_t c = sim.Allocate(4 * kM * kN);
  ASSERT_EQ(sim.Launch("mma_matmul", {kM / 64, kN / 32, 1}, {128, 1, 1},
                       {sim.Upload(a), sim.Upload(b), c, kK, kN}),
            "");
  const auto found = sim.Download<float>(c, kM * kN);
  for (size_t i = 0; i < kM; ++i) {
    for (size_t j = 0; j < kN; ++j) {
      double sum = 0;
      for (size_t k = 0; k < kK; ++k) {
        sum += double{HalfToFloat(a[i * kK + k])} * HalfToFloat(b[j * kK + k]);
      }
      ASSERT_NEAR(found[i * kN + j], sum, 1e-4) << i << ", " << j;
    }
  }
}

}  // namespace
}  // namespace fathom::cuda_sim
