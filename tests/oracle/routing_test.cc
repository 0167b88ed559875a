// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Routing: the worked example, the corner cases that broke ports, and a brute-force search.
#include "models/reference/routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace fathom::reference {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

ModelConfig Noaux(int64_t experts, int64_t top_k, int64_t groups, int64_t keep) {
  ModelConfig config;
  config.family = Family::kDeepseekV3;
  config.topk_method = TopkMethod::kNoauxTc;
  config.num_experts = experts;
  config.num_experts_per_tok = top_k;
  config.n_group = groups;
  config.topk_group = keep;
  config.norm_topk_prob = true;
  config.routed_scaling_factor = 2.5;
  return config;
}

TEST(Route, NoauxWorkedExample) {
  const std::vector<float> logits = {2, -1, .5, .3, -2, 1.5, 0, -.5};
  const std::vector<float> bias = {0, 0, .3, 0, -.9, -.9, .1, 0};
  const Routing routing = Route(Noaux(8, 3, 4, 2), logits.data(), bias.data());
  EXPECT_THAT(routing.experts, ElementsAre(2, 0, 3));
  EXPECT_THAT(routing.weights, ElementsAre(FloatNear(0.7489768, 1e-6), FloatNear(1.0598228, 1e-6),
                                           FloatNear(0.6912004, 1e-6)));
}

// Excluded experts are below every score, also below negative ones: with three picks from two kept
// experts' groups of negative score + bias, a mask of 0 would choose outside the groups.
TEST(Route, NoauxNegativeScoresStayInTheirGroups) {
  const std::vector<float> logits = {0, 0, 0, 0, 0, 0, 0, 0};
  const std::vector<float> bias = {-.6, -.7, -.8, -.9, -2, -2, -2, -2};
  const Routing routing = Route(Noaux(8, 3, 2, 1), logits.data(), bias.data());
  EXPECT_THAT(routing.experts, ElementsAre(0, 1, 2));
  const float third = 2.5F / 3;
  EXPECT_THAT(routing.weights,
              ElementsAre(FloatNear(third, 1e-6), FloatNear(third, 1e-6), FloatNear(third, 1e-6)));
}

TEST(Route, TiesGoToTheLowerIndex) {
  ModelConfig config;
  config.num_experts = 6;
  config.num_experts_per_tok = 3;
  const std::vector<float> logits = {1, 2, 1, 2, 1, 2};
  EXPECT_THAT(Route(config, logits.data(), nullptr).experts, ElementsAre(1, 3, 5));
  const std::vector<float> equal(6, 0.5F);
  EXPECT_THAT(Route(config, equal.data(), nullptr).experts, ElementsAre(0, 1, 2));
}

TEST(Route, SoftmaxOverAllThenScaledOrRenormalised) {
  ModelConfig config;
  config.num_experts = 4;
  config.num_experts_per_tok = 2;
  config.routed_scaling_factor = 16;
  const std::vector<float> logits = {0, std::log(2.0F), std::log(3.0F), std::log(4.0F)};
  Routing routing = Route(config, logits.data(), nullptr);
  EXPECT_THAT(routing.experts, ElementsAre(3, 2));
  EXPECT_THAT(routing.weights, ElementsAre(FloatNear(6.4, 1e-5), FloatNear(4.8, 1e-5)));
  config.norm_topk_prob = true;
  config.routed_scaling_factor = 1;
  routing = Route(config, logits.data(), nullptr);
  EXPECT_THAT(routing.weights, ElementsAre(FloatNear(4.0 / 7, 1e-6), FloatNear(3.0 / 7, 1e-6)));
}

TEST(Route, SoftmaxOfLargeLogitsIsFinite) {
  ModelConfig config;
  config.num_experts = 3;
  config.num_experts_per_tok = 2;
  const std::vector<float> logits = {1000, 999, -1000};
  const Routing routing = Route(config, logits.data(), nullptr);
  EXPECT_THAT(routing.weights, ElementsAre(FloatNear(0.7310586, 1e-6), FloatNear(0.2689414, 1e-6)));
}

// A group's V2 score is its best expert only: group 0 has the two largest sums but not the best
// two.
TEST(Route, GroupLimitedGreedyTakesTheBestExpertOfAGroup) {
  ModelConfig config;
  config.topk_method = TopkMethod::kGroupLimitedGreedy;
  config.num_experts = 6;
  config.num_experts_per_tok = 2;
  config.n_group = 3;
  config.topk_group = 1;
  const std::vector<float> logits = {2, 2, 2.1, -5, 0, 0};
  EXPECT_THAT(Route(config, logits.data(), nullptr).experts, ElementsAre(2, 3));
  config.topk_group = 2;
  EXPECT_THAT(Route(config, logits.data(), nullptr).experts, ElementsAre(2, 0));
}

// The set of size count among candidates that maximises the sum of scores, by trying all of them.
uint32_t BestSubset(const std::vector<double>& scores, uint32_t candidates, int count) {
  uint32_t best = 0;
  double best_sum = -1e300;
  for (uint32_t set = 0; set < 1U << scores.size(); ++set) {
    if ((set & ~candidates) != 0 || std::popcount(set) != count) continue;
    double sum = 0;
    for (size_t i = 0; i < scores.size(); ++i) sum += set >> i & 1 ? scores[i] : 0;
    if (sum > best_sum) {
      best_sum = sum;
      best = set;
    }
  }
  return best;
}

TEST(Route, EqualsBruteForceOnRandomLogits) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (int trial = 0; trial < 500; ++trial) {
    const bool noaux = trial % 2 == 0;
    ModelConfig config = Noaux(12, 1 + trial % 5, 4, 2 + trial % 2);
    if (!noaux) config.topk_method = TopkMethod::kGroupLimitedGreedy;
    std::vector<float> logits(12), bias(12);
    for (float& value : logits) value = 2 * normal(random);
    for (float& value : bias) value = normal(random);  // often below -score

    std::vector<double> scores(12), choice(12), groups(4);
    double total = 0;
    for (int e = 0; e < 12; ++e) total += std::exp(logits[e]);
    for (int e = 0; e < 12; ++e) {
      scores[e] = noaux ? 1 / (1 + std::exp(-logits[e])) : std::exp(logits[e]) / total;
      choice[e] = scores[e] + (noaux ? bias[e] : 0);
    }
    for (int g = 0; g < 4; ++g) {
      const double a = choice[3 * g], b = choice[3 * g + 1], c = choice[3 * g + 2];
      groups[g] = noaux ? std::max({a + b, a + c, b + c}) : std::max({a, b, c});
    }
    const uint32_t kept = BestSubset(groups, 15, static_cast<int>(config.topk_group));
    uint32_t candidates = 0;
    for (int e = 0; e < 12; ++e) candidates |= (kept >> e / 3 & 1) << e;
    const uint32_t expected =
        BestSubset(choice, candidates, static_cast<int>(config.num_experts_per_tok));

    const Routing routing = Route(config, logits.data(), noaux ? bias.data() : nullptr);
    uint32_t actual = 0;
    double sum = 0, weights = 0;
    for (const int64_t e : routing.experts) {
      actual |= 1U << e;
      sum += scores[e];
    }
    ASSERT_EQ(actual, expected) << "trial " << trial;
    for (size_t i = 0; i < routing.experts.size(); ++i) {
      EXPECT_NEAR(routing.weights[i], 2.5 * scores[routing.experts[i]] / sum, 1e-5);
      weights += routing.weights[i];
    }
    EXPECT_NEAR(weights, 2.5, 1e-5);
  }
}

}  // namespace
}  // namespace fathom::reference
