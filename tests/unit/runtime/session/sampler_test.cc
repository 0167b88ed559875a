// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What each filter keeps, how often tokens come, and that a seed fixes everything.
#include "runtime/session/sampler.h"

#include <cmath>
#include <limits>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Everything kept, temperature 1.
SamplerOptions Plain(uint64_t seed = 1) { return {1.0f, 0, 1.0f, 0.0f, seed}; }

Sampler Make(const SamplerOptions& options) {
  auto sampler = Sampler::Create(options);
  EXPECT_TRUE(sampler.ok()) << sampler.status();
  return *std::move(sampler);
}

std::map<int32_t, double> Frequencies(const SamplerOptions& options,
                                      const std::vector<float>& logits, int draws = 20000) {
  Sampler sampler = Make(options);
  std::map<int32_t, double> counts;
  for (int i = 0; i < draws; ++i) counts[*sampler.Sample(logits)] += 1.0 / draws;
  return counts;
}

TEST(Random, IsTheSameEverywhere) {
  // The first numbers for seed 0, from an independent program of the published algorithms.
  Random random(0);
  EXPECT_EQ(random.Next(), 11091344671253066420u);
  EXPECT_EQ(random.Next(), 13793997310169335082u);
  EXPECT_EQ(random.Next(), 1900383378846508768u);
  EXPECT_EQ(random.Next(), 7684712102626143532u);
}

TEST(Random, UniformFillsTheUnitInterval) {
  Random random(7);
  double sum = 0, lowest = 1, highest = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = random.Uniform();
    ASSERT_TRUE(x >= 0 && x < 1);
    sum += x;
    lowest = std::min(lowest, x);
    highest = std::max(highest, x);
  }
  EXPECT_NEAR(sum / 100000, 0.5, 0.005);
  EXPECT_LT(lowest, 0.001);
  EXPECT_GT(highest, 0.999);
}

TEST(Sampler, GreedyTakesTheHighestAndTheLowerIdOfATie) {
  SamplerOptions options;
  options.temperature = 0;
  Sampler sampler = Make(options);
  EXPECT_EQ(*sampler.Sample({{1, 5, 3}}), 1);
  EXPECT_EQ(*sampler.Sample({{1, 5, 5}}), 1);
  EXPECT_EQ(*sampler.Sample({{kNan, -7, kNan}}), 1);
  EXPECT_EQ(*sampler.Sample({{1, kInf, 3}}), 1);
  const int32_t banned[] = {1};
  EXPECT_EQ(*sampler.Sample({{1, 5, 3}}, banned), 2);
}

TEST(Sampler, DrawsByProbability) {
  const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(7.0f)};
  auto counts = Frequencies(Plain(), logits);
  EXPECT_NEAR(counts[0], 0.1, 0.01);
  EXPECT_NEAR(counts[1], 0.2, 0.01);
  EXPECT_NEAR(counts[2], 0.7, 0.01);
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  const std::vector<float> logits = {0, 1};
  for (float temperature : {0.5f, 2.0f}) {
    SamplerOptions options = Plain();
    options.temperature = temperature;
    const double expected = 1 / (1 + std::exp(-1 / temperature));
    EXPECT_NEAR(Frequencies(options, logits)[1], expected, 0.01);
  }
}

TEST(Sampler, TopKKeepsTheMostLikely) {
  SamplerOptions options = Plain();
  options.top_k = 2;
  const auto counts = Frequencies(options, {0, 2, 1, 2, -5});
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts.at(1), 0.5, 0.02);
  EXPECT_NEAR(counts.at(3), 0.5, 0.02);
  options.top_k = 1;
  EXPECT_EQ(Frequencies(options, {0, 2, 1, 2, -5}).begin()->first, 1);  // the tie's lower id
  options.top_k = 100;
  EXPECT_GE(Frequencies(options, {0, 2, 1, 2, -1}).size(), 5u);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.5f), std::log(0.25f),
                                     std::log(0.15f)};
  SamplerOptions options = Plain();
  options.top_p = 0.4f;
  EXPECT_EQ(Frequencies(options, logits).size(), 1u);
  options.top_p = 0.7f;
  EXPECT_EQ(Frequencies(options, logits).size(), 2u);
  options.top_p = 0.8f;
  EXPECT_EQ(Frequencies(options, logits).size(), 3u);
  options.top_p = 0.95f;
  EXPECT_EQ(Frequencies(options, logits).size(), 4u);
}

TEST(Sampler, MinPDropsTheUnlikely) {
  const std::vector<float> logits = {std::log(0.02f), std::log(0.5f), std::log(0.3f),
                                     std::log(0.18f)};
  SamplerOptions options = Plain();
  options.min_p = 0.05f;
  EXPECT_EQ(Frequencies(options, logits).count(0), 0u);
  options.min_p = 0.5f;
  EXPECT_EQ(Frequencies(options, logits).size(), 2u);
  options.min_p = 1.0f;
  EXPECT_EQ(Frequencies(options, logits).size(), 1u);
}

TEST(Sampler, TheSeedDecides) {
  const std::vector<float> logits(50, 0.0f);
  const auto draw = [&](uint64_t seed) {
    Sampler sampler = Make(Plain(seed));
    std::vector<int32_t> tokens;
    for (int i = 0; i < 30; ++i) tokens.push_back(*sampler.Sample(logits));
    return tokens;
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
}

TEST(Sampler, SurvivesEveryLogit) {
  for (float temperature : {0.0f, 0.8f}) {
    SamplerOptions options;
    options.temperature = temperature;
    Sampler sampler = Make(options);
    EXPECT_EQ(sampler.Sample({{kNan, kNan}}).status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(sampler.Sample({{-kInf, -kInf}}).status().code(), absl::StatusCode::kInternal);
    EXPECT_FALSE(sampler.Sample({}).ok());
    EXPECT_EQ(*sampler.Sample({{kNan, 1, -kInf}}), 1);
    EXPECT_EQ(*sampler.Sample({{0, kInf, 0}}), 1);
    EXPECT_EQ(*sampler.Sample({{-3e38f, 3e38f}}), 1);
  }
  const int32_t banned[] = {0, 1};
  EXPECT_FALSE(Make(Plain()).Sample({{1, 2}}, banned).ok());
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto with = [](auto change) {
    SamplerOptions options;
    change(options);
    return Sampler::Create(options).status();
  };
  EXPECT_FALSE(with([](auto& o) { o.temperature = -1; }).ok());
  EXPECT_FALSE(with([](auto& o) { o.temperature = kNan; }).ok());
  EXPECT_FALSE(with([](auto& o) { o.temperature = kInf; }).ok());
  EXPECT_FALSE(with([](auto& o) { o.top_k = -1; }).ok());
  EXPECT_FALSE(with([](auto& o) { o.top_p = 0; }).ok());
  EXPECT_FALSE(with([](auto& o) { o.top_p = 1.01f; }).ok());
  EXPECT_FALSE(with([](auto& o) { o.top_p = kNan; }).ok());
  EXPECT_FALSE(with([](auto& o) { o.min_p = -0.1f; }).ok());
  EXPECT_FALSE(with([](auto& o) { o.min_p = kNan; }).ok());
  EXPECT_TRUE(with([](auto&) {}).ok());
}

}  // namespace
}  // namespace fathom
