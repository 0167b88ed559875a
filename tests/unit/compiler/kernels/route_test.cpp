// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// route and route_plan: scoring functions, group limits, ties, against a scalar router in doubles.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

struct Router {
  int64_t experts, topK, groups = 1, topGroups = 1;
  std::string scoring = "softmax", method = "greedy";
  bool normalize = false;
  double scale = 1;

  int64_t ld() const { return (experts + 15) / 16 * 16; }
  std::string config() const {
    return "experts = " + std::to_string(experts) + ", top_k = " + std::to_string(topK) +
           ", n_group = " + std::to_string(groups) + ", topk_group = " + std::to_string(topGroups) +
           ", scoring = \"" + scoring + "\", method = \"" + method +
           "\", normalize = " + (normalize ? "true" : "false") +
           ", scale = " + std::to_string(scale) +
           ", norm_eps = 1.0e-20, in_ld = " + std::to_string(ld());
  }
};

struct Choice {
  std::vector<int32_t> index;
  std::vector<double> weight;
  double margin = 1;  // least distance between what was compared: 0 for a tie
};

// Indices of the `count` largest, the lower index first among equal ones.
std::vector<int64_t> largest(const std::vector<double>& v, int64_t count, double* margin) {
  std::vector<int64_t> order(v.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return v[a] > v[b]; });
  for (int64_t i = 0; i < count && i + 1 < static_cast<int64_t>(order.size()); ++i)
    if (std::isfinite(v[order[i + 1]])) *margin = std::min(*margin, v[order[i]] - v[order[i + 1]]);
  order.resize(count);
  return order;
}

Choice route(const Router& r, const float* logits, const float* bias) {
  std::vector<double> score(r.experts), choice;
  double top = *std::max_element(logits, logits + r.experts), sum = 0;
  for (int64_t e = 0; e < r.experts; ++e) {
    double x = logits[e];
    score[e] = r.scoring == "softmax" ? std::exp(x - top)
               : r.scoring == "sigmoid"
                   ? 1 / (1 + std::exp(-x))
                   : std::sqrt(std::log1p(std::exp(-std::fabs(x))) + std::max(x, 0.0));
    sum += score[e];
  }
  if (r.scoring == "softmax")
    for (double& s : score) s /= sum;
  choice = score;
  if (r.method == "noaux_tc")
    for (int64_t e = 0; e < r.experts; ++e) choice[e] += bias[e];
  Choice out;
  if (r.method != "greedy") {
    int64_t size = r.experts / r.groups;
    std::vector<double> groupScore;
    for (int64_t g = 0; g < r.groups; ++g) {
      std::vector<double> in(choice.begin() + g * size, choice.begin() + (g + 1) * size);
      std::sort(in.rbegin(), in.rend());
      groupScore.push_back(r.method == "noaux_tc" && size > 1 ? in[0] + in[1] : in[0]);
    }
    std::vector<int64_t> kept = largest(groupScore, r.topGroups, &out.margin);
    for (int64_t e = 0; e < r.experts; ++e)
      if (std::find(kept.begin(), kept.end(), e / size) == kept.end()) choice[e] = -INFINITY;
  }
  double total = 1e-20;
  for (int64_t e : largest(choice, r.topK, &out.margin)) {
    out.index.push_back(static_cast<int32_t>(e));
    out.weight.push_back(score[e]);
    total += score[e];
  }
  for (double& w : out.weight) w *= r.scale / (r.normalize ? total : 1);
  return out;
}

void run(const KernelImage& image, const Router& r, int64_t tokens, Guarded<float>& logits,
         Guarded<float>& bias, Guarded<int32_t>& index, Guarded<float>& weight) {
  std::vector<void*> bindings = {logits};
  if (r.method == "noaux_tc") bindings.push_back(bias);
  bindings.push_back(index);
  bindings.push_back(weight);
  image.run("r", tokens, 1, 1, bindings);
}

// Scores are within 4 ulp; a choice decided by less than that may fall either way and is skipped.
TEST(Route, MatchesDoubles) {
  const Router routers[] = {
      {64, 6},
      {8, 2, 1, 1, "softmax", "greedy", true},
      {60, 4, 1, 1, "sigmoid", "greedy", true, 2.0},
      {160, 6, 8, 3, "softmax", "group_limited_greedy", false, 16.0},
      {24, 4, 4, 2, "softmax", "group_limited_greedy"},
      {256, 8, 8, 4, "sigmoid", "noaux_tc", true, 2.5},
      {40, 3, 5, 2, "sigmoid", "noaux_tc", true, 2.5},
      {16, 4, 16, 6, "sigmoid", "noaux_tc"},
      {384, 6, 1, 1, "sqrt_softplus", "noaux_tc", true, 1.5},
      {1, 1},
  };
  for (const std::string& profile : runnableProfiles())
    for (const Router& r : routers) {
      SCOPED_TRACE(profile + " " + r.config());
      auto image = KernelImage::build(profile, {{"r", "route", r.config()}});
      ASSERT_TRUE(image);
      constexpr int64_t kTokens = 20;
      Guarded<float> logits(randomFloats(kTokens * r.ld(), 1, 3.0f));
      Guarded<float> bias(randomFloats(r.experts, 2, 0.5f));
      Guarded<int32_t> index(kTokens * r.topK);
      Guarded<float> weight(kTokens * r.topK);
      for (int64_t e = 0; e < r.experts; ++e) logits[e] = -30.0f - e;  // tiny scores
      run(*image, r, kTokens, logits, bias, index, weight);
      int64_t compared = 0;
      for (int64_t t = 0; t < kTokens; ++t) {
        Choice expected = route(r, &logits[t * r.ld()], bias.data());
        if (expected.margin < 1e-6 && t > 0) continue;
        if (r.method == "noaux_tc" && t == 0) continue;
        ++compared;
        for (int64_t j = 0; j < r.topK; ++j) {
          ASSERT_EQ(index[t * r.topK + j], expected.index[j]) << t << " " << j;
          ASSERT_NEAR(weight[t * r.topK + j], expected.weight[j], expected.weight[j] * 1e-6);
        }
      }
      EXPECT_GE(compared, kTokens / 2);
    }
}

TEST(Route, GoldenOfTheReference) {
  Router r{8, 3, 4, 2, "sigmoid", "noaux_tc", true, 2.5};
  for (const std::string& profile : runnableProfiles()) {
    auto image = KernelImage::build(profile, {{"r", "route", r.config()}});
    ASSERT_TRUE(image);
    Guarded<float> logits(
        std::vector<float>{2, -1, .5, .3, -2, 1.5, 0, -.5, 0, 0, 0, 0, 0, 0, 0, 0});
    Guarded<float> bias(std::vector<float>{0, 0, .3, 0, -.9, -.9, .1, 0});
    Guarded<int32_t> index(3);
    Guarded<float> weight(3);
    run(*image, r, 1, logits, bias, index, weight);
    EXPECT_EQ(index.values(), (std::vector<int32_t>{2, 0, 3}));
    EXPECT_NEAR(weight[0], 0.7489768, 1e-6);
    EXPECT_NEAR(weight[1], 1.0598228, 1e-6);
    EXPECT_NEAR(weight[2], 0.6912004, 1e-6);
  }
}

// Shared experts stand behind the chosen ones and change nothing else.
TEST(Route, AppendsSharedExperts) {
  Router r{24, 4, 4, 2, "sigmoid", "noaux_tc", true, 2.5};
  constexpr int64_t kTokens = 3, kShared = 2, kSlots = 4 + kShared;
  for (const std::string& profile : runnableProfiles()) {
    auto image = KernelImage::build(
        profile, {{"r", "route", r.config()}, {"s", "route", r.config() + ", shared = 2"}});
    ASSERT_TRUE(image);
    Guarded<float> logits(randomFloats(kTokens * r.ld(), 1)), bias(randomFloats(24, 2));
    Guarded<int32_t> index(kTokens * 4), wider(kTokens * kSlots);
    Guarded<float> weight(kTokens * 4), widerWeight(kTokens * kSlots);
    image->run("r", kTokens, 1, 1, {logits, bias, index, weight});
    image->run("s", kTokens, 1, 1, {logits, bias, wider, widerWeight});
    for (int64_t t = 0; t < kTokens; ++t)
      for (int64_t j = 0; j < kSlots; ++j) {
        SCOPED_TRACE(profile + " " + std::to_string(t) + " " + std::to_string(j));
        ASSERT_EQ(wider[t * kSlots + j], j < 4 ? index[t * 4 + j] : 24 + j - 4);
        ASSERT_EQ(widerWeight[t * kSlots + j], j < 4 ? weight[t * 4 + j] : 1.0f);
      }
  }
}

// Every score + bias is negative: masked groups must still lose, which zeros in them would not.
TEST(Route, MasksGroupsBelowNegativeChoices) {
  Router r{8, 3, 4, 2, "sigmoid", "noaux_tc", false, 1};
  for (const std::string& profile : runnableProfiles()) {
    auto image = KernelImage::build(profile, {{"r", "route", r.config()}});
    ASSERT_TRUE(image);
    Guarded<float> logits(std::vector<float>{0, 0, 1, 1, -1, -1, -2, -2, 0, 0, 0, 0, 0, 0, 0, 0});
    Guarded<float> bias(std::vector<float>(8, -2.0f));
    Guarded<int32_t> index(3);
    Guarded<float> weight(3);
    run(*image, r, 1, logits, bias, index, weight);
    EXPECT_EQ(index.values(), (std::vector<int32_t>{2, 3, 0}));
  }
}

TEST(Route, TiesGoToTheLowerIndex) {
  for (const std::string& profile : runnableProfiles())
    for (Router r :
         {Router{40, 5, 1, 1, "softmax", "greedy"}, Router{40, 5, 5, 2, "sigmoid", "noaux_tc"},
          Router{40, 5, 5, 2, "softmax", "group_limited_greedy"}}) {
      SCOPED_TRACE(profile + " " + r.config());
      auto image = KernelImage::build(profile, {{"r", "route", r.config()}});
      ASSERT_TRUE(image);
      Guarded<float> logits(std::vector<float>(2 * r.ld(), 0.25f)),
          bias(std::vector<float>(40, 0.f));
      // In the second token two experts stand out equally, in groups 1 and 4.
      logits[r.ld() + 35] = logits[r.ld() + 11] = 1.0f;
      Guarded<int32_t> index(10);
      Guarded<float> weight(10);
      run(*image, r, 2, logits, bias, index, weight);
      std::vector<int32_t> got = index.values();
      EXPECT_EQ(std::vector<int32_t>(got.begin(), got.begin() + 5),
                (std::vector<int32_t>{0, 1, 2, 3, 4}));
      int32_t next = r.method == "greedy" ? 0 : 8;
      EXPECT_EQ(std::vector<int32_t>(got.begin() + 5, got.end()),
                (std::vector<int32_t>{11, 35, next, next + 1, next + 2}));
    }
}

TEST(Route, ExplainsImpossibleLimits) {
  Router r{8, 5, 4, 2, "sigmoid", "noaux_tc"};
  EXPECT_NE(compileError("cpu:x86-64-v3", {"r", "route", r.config()}).find("top_k 5 exceeds the 4"),
            std::string::npos);
  r.groups = 3;
  EXPECT_NE(compileError("cpu:x86-64-v3", {"r", "route", r.config()}).find("n_group 3"),
            std::string::npos);
}

TEST(RoutePlan, SortsStably) {
  constexpr int64_t kExperts = 9, kTopK = 3;
  for (const std::string& profile : runnableProfiles()) {
    auto image = KernelImage::build(profile, {{"p", "route_plan", "experts = 9, top_k = 3"}});
    ASSERT_TRUE(image);
    for (int64_t tokens : {1, 2, 50}) {
      std::mt19937 bits(tokens);
      Guarded<int32_t> index(tokens * kTopK);
      for (int32_t& e : std::span(index.data(), index.size())) e = bits() % 4 * 2;  // odd ones idle
      Guarded<int32_t> plan(2 * kExperts + 2 + tokens * kTopK);
      image->run("p", 1, 1, 1, {index, plan}, {tokens});
      std::vector<int32_t> active, first, pairs;
      for (int32_t e = 0; e < kExperts; ++e) {
        int32_t begin = pairs.size();
        for (int64_t p = 0; p < tokens * kTopK; ++p)
          if (index[p] == e) pairs.push_back(p);
        if (static_cast<int32_t>(pairs.size()) == begin) continue;
        active.push_back(e);
        first.push_back(begin);
      }
      ASSERT_EQ(plan[0], static_cast<int32_t>(active.size()));
      for (size_t i = 0; i < active.size(); ++i) {
        EXPECT_EQ(plan[1 + i], active[i]);
        EXPECT_EQ(plan[1 + kExperts + i], first[i]);
      }
      EXPECT_EQ(plan[1 + kExperts + active.size()], static_cast<int32_t>(pairs.size()));
      for (size_t i = 0; i < pairs.size(); ++i) EXPECT_EQ(plan[2 * kExperts + 2 + i], pairs[i]);
    }
  }
}

}  // namespace
}  // namespace fathom::testing
