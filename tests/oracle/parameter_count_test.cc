// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parameter totals from config.json alone equal the published ones.
#include <gtest/gtest.h>

#include "models/reference/model_config.h"
#include "tests/oracle/checkpoint.h"

namespace fathom::reference {
namespace {

int64_t CountOf(const char* name) {
  return ParameterCount(oracle::ReadConfig(std::string("tests/golden/configs/") + name));
}

TEST(ParameterCount, DeepseekV2Lite) { EXPECT_EQ(CountOf("deepseek_v2_lite.json"), 15706484224); }

TEST(ParameterCount, DeepseekV3) { EXPECT_EQ(CountOf("deepseek_v3.json"), 671026419200); }

// Written out: embedding and head, 12 layers of attention and norms, 1 dense and 11 MoE layers.
TEST(ParameterCount, DsSmall) {
  const int64_t hidden = 1024, heads = 16, latent = 256;
  const int64_t attention = hidden * heads * (64 + 32) + hidden * (latent + 32) + latent +
                            latent * heads * (64 + 64) + heads * 64 * hidden;
  const int64_t expert = 3 * hidden * 512;
  const int64_t expected = 2 * 32000 * hidden + hidden + 12 * (attention + 2 * hidden) +
                           3 * hidden * 4096 + 11 * (33 * expert + 32 * hidden);
  EXPECT_EQ(CountOf("ds_small.json"), expected);
}

TEST(IsMoeLayer, StartsAfterTheDenseLayers) {
  const ModelConfig v3 = oracle::ReadConfig("tests/golden/configs/deepseek_v3.json");
  EXPECT_FALSE(IsMoeLayer(v3, 2));
  EXPECT_TRUE(IsMoeLayer(v3, 3));
  EXPECT_TRUE(IsMoeLayer(v3, 60));
}

}  // namespace
}  // namespace fathom::reference
