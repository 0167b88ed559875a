// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Softmax scales, YaRN and llama3 frequencies and rotation against numbers derived by hand.
#include "models/reference/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

#include "tests/oracle/checkpoint.h"

namespace fathom::reference {
namespace {

const char kV2Lite[] = "tests/golden/configs/deepseek_v2_lite.json";
const char kV3[] = "tests/golden/configs/deepseek_v3.json";

void ExpectRelative(double actual, double expected, double tolerance) {
  EXPECT_NEAR(actual / expected, 1.0, tolerance) << actual << " instead of " << expected;
}

TEST(SoftmaxScale, HasMscaleSquared) {
  ModelConfig v3 = oracle::ReadConfig(kV3);
  ExpectRelative(YarnMscale(40, 1.0), 1.3688879, 1e-7);
  ExpectRelative(SoftmaxScale(v3), 0.1352337788608801, 1e-15);
  // (0.1 * 0.707 * ln 40 + 1)^2 / sqrt(192) with 40 decimal digits, then rounded.
  ExpectRelative(SoftmaxScale(oracle::ReadConfig(kV2Lite)), 0.1147213867929261, 1e-15);
  v3.rope.scaling = RopeScaling::kNone;
  ExpectRelative(SoftmaxScale(v3), 0.0721687836, 1e-9);
}

TEST(RopeMultiplier, IsOneForDeepseek) {
  EXPECT_EQ(RopeMultiplier(oracle::ReadConfig(kV3).rope), 1.0);
  EXPECT_EQ(RopeMultiplier(oracle::ReadConfig(kV2Lite).rope), 1.0);
  RopeConfig plain_yarn;
  plain_yarn.scaling = RopeScaling::kYarn;
  plain_yarn.factor = 4;
  ExpectRelative(RopeMultiplier(plain_yarn), 0.1 * std::log(4.0) + 1.0, 1e-15);
}

TEST(Yarn, CorrectionRanges) {
  RopeConfig rope = oracle::ReadConfig(kV3).rope;
  EXPECT_EQ(YarnCorrectionRange(rope, 64).low, 10);
  EXPECT_EQ(YarnCorrectionRange(rope, 64).high, 23);
  rope.theta = 50000;  // Kimi K2
  rope.beta_fast = rope.beta_slow = 1;
  EXPECT_EQ(YarnCorrectionRange(rope, 64).low, 19);
  EXPECT_EQ(YarnCorrectionRange(rope, 64).high, 20);
  rope.theta = 160000;  // the compressed layers of DeepSeek-V4
  rope.beta_fast = 32;
  rope.original_max_position_embeddings = 65536;
  EXPECT_EQ(YarnCorrectionRange(rope, 64).low, 15);
  EXPECT_EQ(YarnCorrectionRange(rope, 64).high, 25);
}

TEST(Yarn, FrequenciesOfDeepseekV3) {
  const auto frequencies = RopeFrequencies(oracle::ReadConfig(kV3).rope, 64);
  ASSERT_EQ(frequencies.size(), 32U);
  const std::map<int, double> expected = {
      {0, 1.0},           {10, 5.62341325e-2}, {11, 3.90069266e-2},
      {16, 5.5e-3},       {22, 1.77827941e-4}, {23, 3.33380358e-5},
      {31, 3.33380358e-6}};
  for (const auto& [pair, value] : expected) ExpectRelative(frequencies[pair], value, 5e-9);
}

TEST(Yarn, FrequenciesOfAnotherRange) {
  RopeConfig rope = oracle::ReadConfig(kV3).rope;
  rope.theta = 160000;
  rope.factor = 16;
  rope.original_max_position_embeddings = 65536;
  const auto frequencies = RopeFrequencies(rope, 64);
  const std::map<int, double> expected = {{10, 2.36435402e-2},
                                          {16, 2.26562500e-3},
                                          {22, 9.08678430e-5},
                                          {23, 4.54442323e-5},
                                          {31, 5.68052904e-7}};
  for (const auto& [pair, value] : expected) ExpectRelative(frequencies[pair], value, 5e-9);
}

// Llama 3.1 with head_dim 128: pairs that turn more than 4 times over 8192 tokens keep their
// frequency, those that turn less than once are divided by 8.
TEST(Llama3, FrequencyBands) {
  RopeConfig rope;
  rope.theta = 500000;
  rope.scaling = RopeScaling::kLlama3;
  rope.factor = 8;
  rope.original_max_position_embeddings = 8192;
  const auto frequencies = RopeFrequencies(rope, 128);
  const auto base = [](int j) { return std::pow(500000.0, -j / 64.0); };
  const auto turns = [&](int j) { return 8192 * base(j) / (2 * M_PI); };
  ASSERT_GT(turns(28), 4);
  ASSERT_LT(turns(35), 1);
  ExpectRelative(frequencies[28], base(28), 1e-14);
  ExpectRelative(frequencies[35], base(35) / 8, 1e-14);
  const double smooth = (turns(32) - 1) / 3;
  ASSERT_GT(smooth, 0);
  ASSERT_LT(smooth, 1);
  ExpectRelative(frequencies[32], base(32) * (smooth + (1 - smooth) / 8), 1e-14);
}

TEST(ApplyRope, TurnsPairsInBothLayouts) {
  const std::vector<double> frequencies = {1.0, 0.1};
  float interleaved[] = {1, 0, 0, 2};
  ApplyRope(frequencies, 1.0, 3, true, interleaved);
  EXPECT_FLOAT_EQ(interleaved[0], std::cos(3.0));
  EXPECT_FLOAT_EQ(interleaved[1], std::sin(3.0));
  EXPECT_FLOAT_EQ(interleaved[2], -2 * std::sin(0.3));
  EXPECT_FLOAT_EQ(interleaved[3], 2 * std::cos(0.3));
  float halves[] = {1, 0, 0, 2};  // the pairs are (x0, x2) and (x1, x3)
  ApplyRope(frequencies, 1.0, 3, false, halves);
  EXPECT_FLOAT_EQ(halves[0], std::cos(3.0));
  EXPECT_FLOAT_EQ(halves[2], std::sin(3.0));
  EXPECT_FLOAT_EQ(halves[1], -2 * std::sin(0.3));
  EXPECT_FLOAT_EQ(halves[3], 2 * std::cos(0.3));
}

// Splitting interleaved pairs into halves permutes q and k alike, so their product is the same.
TEST(ApplyRope, InterleavedEqualsPermutedHalves) {
  const auto frequencies = RopeFrequencies(oracle::ReadConfig(kV3).rope, 64);
  std::vector<float> q(64), k(64), q_halves(64), k_halves(64);
  for (int i = 0; i < 64; ++i) {
    q[i] = static_cast<float>(std::sin(i + 1.0));
    k[i] = static_cast<float>(std::cos(3.0 * i));
    q_halves[i / 2 + i % 2 * 32] = q[i];
    k_halves[i / 2 + i % 2 * 32] = k[i];
  }
  ApplyRope(frequencies, 1.0, 5000, true, q.data());
  ApplyRope(frequencies, 1.0, 4321, true, k.data());
  ApplyRope(frequencies, 1.0, 5000, false, q_halves.data());
  ApplyRope(frequencies, 1.0, 4321, false, k_halves.data());
  double product = 0, product_halves = 0;
  for (int i = 0; i < 64; ++i) {
    product += q[i] * k[i];
    product_halves += q_halves[i] * k_halves[i];
    EXPECT_EQ(q_halves[i / 2 + i % 2 * 32], q[i]);
  }
  EXPECT_NEAR(product, product_halves, 1e-6);
}

}  // namespace
}  // namespace fathom::reference
