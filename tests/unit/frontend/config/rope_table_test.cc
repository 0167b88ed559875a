// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rotary tables against published constants and against values worked out by hand.
#include "frontend/config/rope_table.h"

#include <cmath>

#include "tests/unit/frontend/config/config_texts.h"
#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

RopeTable Table(const nlohmann::json& json) {
  const auto config = ParseConfig(json.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return MakeRopeTable(*config);
}

TEST(RopeTable, DeepseekV3) {
  const RopeTable table = Table(DeepseekV3());
  EXPECT_EQ(table.rotary_dim, 64);
  EXPECT_TRUE(table.interleaved);
  EXPECT_EQ(table.yarn_low, 10);
  EXPECT_EQ(table.yarn_high, 23);
  EXPECT_EQ(table.cos_sin_scale, 1.0);
  EXPECT_NEAR(table.softmax_scale, 0.1352337788608801, 1e-15);
  ASSERT_EQ(table.inverse_frequencies.size(), 32u);
  const std::vector<std::pair<int, double>> golden = {{0, 1},
                                                      {10, 5.62341325e-2},
                                                      {11, 3.90069266e-2},
                                                      {16, 5.5e-3},
                                                      {22, 1.77827941e-4},
                                                      {23, 3.33380358e-5},
                                                      {31, 3.33380358e-6}};
  for (const auto& [j, f] : golden) EXPECT_NEAR(table.inverse_frequencies[j], f, f * 3e-9) << j;
}

TEST(RopeTable, DeepseekV2) {
  // 192^-0.5 (0.0707 ln 40 + 1)^2, to 16 digits.
  EXPECT_NEAR(Table(DeepseekV2Lite()).softmax_scale, 0.1147213867929261, 1e-15);
  EXPECT_NEAR(YarnMscale(40, 1.0), 1.368887945411394, 1e-15);
  EXPECT_EQ(YarnMscale(1, 1.0), 1.0);
  EXPECT_EQ(YarnMscale(0.5, 1.0), 1.0);
  nlohmann::json plain = DeepseekV2Lite();
  plain.erase("rope_scaling");
  EXPECT_NEAR(Table(plain).softmax_scale, 0.07216878364870323, 1e-16);
}

// The other published combinations of the ramp's inputs.
TEST(RopeTable, YarnRanges) {
  nlohmann::json k2 = DeepseekV3();
  k2["rope_theta"] = 50000;
  k2["rope_scaling"]["beta_fast"] = 1;
  const RopeTable kimi = Table(k2);
  EXPECT_EQ(kimi.yarn_low, 19);
  EXPECT_EQ(kimi.yarn_high, 20);
  nlohmann::json v4 = DeepseekV3();
  v4["rope_theta"] = 160000;
  v4["rope_scaling"]["factor"] = 16;
  v4["rope_scaling"]["original_max_position_embeddings"] = 65536;
  const RopeTable table = Table(v4);
  EXPECT_EQ(table.yarn_low, 15);
  EXPECT_EQ(table.yarn_high, 25);
  for (const auto& [j, f] : std::vector<std::pair<int, double>>{{10, 2.36435402e-2},
                                                                {16, 2.26562500e-3},
                                                                {22, 9.08678430e-5},
                                                                {23, 4.54442323e-5},
                                                                {31, 5.68052904e-7}}) {
    EXPECT_NEAR(table.inverse_frequencies[j], f, f * 3e-9) << j;
  }
}

TEST(RopeTable, YarnCosSinScale) {
  nlohmann::json json = DeepseekV3();
  json["rope_scaling"]["mscale"] = 0.5;
  EXPECT_NEAR(Table(json).cos_sin_scale, (0.05 * std::log(40.0) + 1) / (0.1 * std::log(40.0) + 1),
              1e-15);
  json["rope_scaling"].erase("mscale");
  json["rope_scaling"].erase("mscale_all_dim");
  EXPECT_NEAR(Table(json).cos_sin_scale, 0.1 * std::log(40.0) + 1, 1e-15);
  EXPECT_NEAR(Table(json).softmax_scale, 1 / std::sqrt(192.0), 1e-15);
  json["rope_scaling"]["attention_factor"] = 0.75;
  EXPECT_EQ(Table(json).cos_sin_scale, 0.75);
}

TEST(RopeTable, YarnWithoutRounding) {
  nlohmann::json json = DeepseekV3();
  json["rope_scaling"]["truncate"] = false;
  const RopeTable table = Table(json);
  EXPECT_NEAR(table.yarn_low, 64 * std::log(4096 / (32 * 2 * M_PI)) / (2 * std::log(1e4)), 1e-12);
  EXPECT_NEAR(table.yarn_high, 64 * std::log(4096 / (2 * M_PI)) / (2 * std::log(1e4)), 1e-12);
}

TEST(RopeTable, Llama3) {
  const RopeTable table = Table(Llama32_1B());
  EXPECT_FALSE(table.interleaved);
  EXPECT_EQ(table.cos_sin_scale, 1.0);
  EXPECT_EQ(table.softmax_scale, 0.125);
  for (int j = 0; j < 32; ++j) {
    const double f = std::pow(500000.0, -2.0 * j / 64);
    const double wavelength = 2 * M_PI / f;
    const double found = table.inverse_frequencies[j];
    if (wavelength < 2048) {
      EXPECT_NEAR(found, f, f * 1e-14) << j;
    } else if (wavelength > 8192) {
      EXPECT_NEAR(found, f / 32, f * 1e-14) << j;
    } else {
      const double smooth = (8192 / wavelength - 1) / 3;
      EXPECT_NEAR(found, f * (smooth + (1 - smooth) / 32), f * 1e-14) << j;
      EXPECT_TRUE(found < f && found > f / 32);
    }
  }
  // The file's 29 frequencies of long waves start here.
  EXPECT_LT(table.inverse_frequencies[18], std::pow(500000.0, -36.0 / 64) / 31);
}

TEST(RopeTable, DefaultAndLinear) {
  nlohmann::json json = Small("llama");
  const RopeTable plain = Table(json);
  EXPECT_EQ(plain.inverse_frequencies.size(), 4u);
  EXPECT_NEAR(plain.inverse_frequencies[1], 0.1, 1e-16);
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 8}};
  EXPECT_NEAR(Table(json).inverse_frequencies[1], 0.0125, 1e-17);
}

TEST(RopeTable, CosSin) {
  const RopeTable table = Table(DeepseekV3());
  std::vector<float> cosines(32), sines(32);
  table.CosSin(0, cosines.data(), sines.data());
  EXPECT_THAT(cosines, testing::Each(1.0f));
  EXPECT_THAT(sines, testing::Each(0.0f));
  table.CosSin(123456, cosines.data(), sines.data());
  EXPECT_FLOAT_EQ(cosines[0], static_cast<float>(std::cos(123456.0)));
  EXPECT_FLOAT_EQ(sines[16], static_cast<float>(std::sin(123456.0 * 5.5e-3)));
}

TEST(RopeTable, FrequencyFactors) {
  ModelConfig config = *ParseConfig(Small("llama").dump(), "config.json");
  config.rope_freq_factors = {1, 2, 4, 8};
  const RopeTable table = MakeRopeTable(config);
  EXPECT_EQ(table.inverse_frequencies[0], 1.0);
  EXPECT_NEAR(table.inverse_frequencies[3], 1e-3 / 8, 1e-18);
}

}  // namespace
}  // namespace fathom
