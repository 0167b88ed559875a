// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernels that take over a second kernel's work: the same bytes as both.
#include "tests/unit/compiler/kernels/attention_cases.h"
#include "tests/unit/compiler/kernels/fusion_cases.h"

namespace fathom::testing {
namespace {

using kernels::Fusion;

template <typename T>
void expectSame(const Guarded<T>& got, const Guarded<T>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(T)), 0);
}

TEST(FusedCombine, NormalisesItsSum) {
  for (const std::string& profile : profilesThatFuse(Fusion::kCombineNorm))
    for (const std::string form : {"f32", "bf16", "i8"})
      for (bool shared : {false, true})
        for (int64_t n : {45, 256, 5000}) {
          SCOPED_TRACE(profile + " " + form + " " + std::to_string(n));
          constexpr int64_t kTokens = 2, kTopK = 3;
          int64_t ld = roundTo(n, 16), stride = strideOf(form, n);
          ConfigText config = {{"n", n}, {"ld", ld}, {"top_k", kTopK}, {"shared", shared}};
          ConfigText fused = config;
          fused.add({{"norm", form}, {"eps", 1e-3}, {"norm_stride", stride}});
          auto image =
              KernelImage::build(profile, {{"separate", "combine", config},
                                           {"norm", "norm", normConfig(n, ld, 0, 1e-3, form)},
                                           {"fused", "combine", fused}});
          ASSERT_TRUE(image);
          Guarded<float> y(randomFloats(kTokens * kTopK * ld, 5)), weight(randomFloats(6, 6));
          Guarded<float> residual(randomFloats(kTokens * ld, 7)), gamma(randomFloats(n, 3));
          Guarded<float> extra(randomFloats(kTokens * ld, 8)), out(kTokens * ld),
              plain(kTokens * ld);
          Guarded<uint8_t> got(kTokens * stride), expected(kTokens * stride);
          std::vector<void*> bindings = {y, weight, residual}, together;
          if (shared) bindings.push_back(extra);
          together = bindings;
          bindings.push_back(plain);
          together.insert(together.end(), {gamma, out, got});
          image->run("separate", kTokens, 1, 1, bindings);
          image->run("norm", kTokens, 1, 1, {plain, gamma, expected});
          image->run("fused", kTokens, 1, 1, together);
          for (int64_t t = 0; t < kTokens; ++t)
            for (int64_t i = 0; i < n; ++i) ASSERT_EQ(out[t * ld + i], plain[t * ld + i]) << i;
          expectSameRows(form, got.data(), expected.data(), kTokens, n, stride);
        }
}

TEST(FusedRoute, PlansAsWell) {
  struct {
    int64_t experts, topK, groups, topGroups, shared;
    const char *scoring, *method;
    bool normalize;
  } routers[] = {{64, 6, 1, 1, 2, "softmax", "greedy", false},
                 {256, 8, 8, 4, 1, "sigmoid", "noaux_tc", true},
                 {24, 4, 4, 2, 0, "softmax", "group_limited_greedy", true}};
  for (const std::string& profile : profilesThatFuse(Fusion::kRoutePlan))
    for (const auto& r : routers) {
      SCOPED_TRACE(profile + " " + r.method);
      int64_t slots = r.topK + r.shared, experts = r.experts + r.shared;
      ConfigText config = {{"experts", r.experts},
                           {"top_k", r.topK},
                           {"n_group", r.groups},
                           {"topk_group", r.topGroups},
                           {"shared", r.shared},
                           {"scoring", r.scoring},
                           {"method", r.method},
                           {"normalize", r.normalize},
                           {"scale", 2.5},
                           {"norm_eps", 0.0},
                           {"in_ld", roundTo(r.experts, 16)}};
      ConfigText fused = config;
      fused.add({{"plan", true}});
      auto image = KernelImage::build(
          profile, {{"separate", "route", config},
                    {"plan", "route_plan", ConfigText({{"experts", experts}, {"top_k", slots}})},
                    {"fused", "route", fused}});
      ASSERT_TRUE(image);
      for (int64_t tokens : {1, 7, 40}) {
        Guarded<float> logits(randomFloats(tokens * roundTo(r.experts, 16), 1));
        Guarded<float> bias(randomFloats(r.experts, 2));
        Guarded<int32_t> index(tokens * slots), expectedIndex(tokens * slots);
        Guarded<float> weight(tokens * slots), expectedWeight(tokens * slots);
        size_t words = 2 * experts + 2 + tokens * slots;
        Guarded<int32_t> plan(words), expectedPlan(words);
        std::vector<void*> inputs = {logits};
        if (r.method == std::string("noaux_tc")) inputs.push_back(bias);
        auto with = [&](std::initializer_list<void*> outputs) {
          std::vector<void*> all = inputs;
          all.insert(all.end(), outputs);
          return all;
        };
        image->run("separate", tokens, 1, 1, with({expectedIndex, expectedWeight}));
        image->run("plan", 1, 1, 1, {expectedIndex, expectedPlan}, {tokens});
        image->run("fused", 1, 1, 1, with({index, weight, plan}), {tokens});
        expectSame(index, expectedIndex);
        expectSame(weight, expectedWeight);
        expectSame(plan, expectedPlan);
      }
    }
}

// Angles of 512 + 10 rows; any numbers will do where two kernels are compared.
Guarded<float> angles(int64_t dim) { return Guarded<float>(randomFloats((512 + 10) * dim, 9)); }

TEST(FusedLatentAttention, RotatesItsQueries) {
  constexpr int64_t kHeads = 5, kRank = 48, kSplits = 3;
  Batch batch({{1, 1}, {65, 2}, {600, 1}});
  int64_t T = batch.tokens();
  for (const std::string& profile : profilesThatFuse(Fusion::kRotateQuery))
    for (bool bf16 : {false, true})
      for (auto [dim, interleaved] : {std::pair<int64_t, bool>{8, true}, {34, false}}) {
        SCOPED_TRACE(profile + " " + std::to_string(dim));
        int64_t headLd = dim + 24, qLd = kHeads * headLd + 5;
        TestCache cache(batch, kRank + dim, bf16, 100);
        ConfigText config = {{"heads", kHeads}, {"rank", kRank},      {"dim", dim},
                             {"scale", 0.3},    {"splits", kSplits},  {"q_ld", qLd},
                             {"q_offset", 7},   {"q_head_ld", headLd}};
        ConfigText rope = {{"heads", kHeads},           {"dim", dim},      {"in_ld", qLd},
                           {"in_head_ld", headLd},      {"in_offset", 7},  {"out_ld", qLd},
                           {"out_head_ld", headLd},     {"out_offset", 7}, {"mscale", 1.5},
                           {"interleaved", interleaved}};
        std::string common = std::string(config) + ", " + cache.config(bf16);
        ConfigText rotation = {{"rotate", true}, {"interleaved", interleaved}, {"mscale", 1.5}};
        auto image = KernelImage::build(
            profile, {{"rope", "rope", rope},
                      {"separate", "latent_attention", common},
                      {"fused", "latent_attention", common + ", " + std::string(rotation)}});
        ASSERT_TRUE(image);
        Guarded<float> latent(randomFloats(T * kHeads * kRank, 1)), q(randomFloats(T * qLd, 2));
        Guarded<float> rotated(q.values()), table = angles(dim);
        Guarded<float> got(T * kSplits * kHeads * (kRank + 16)), expected(got.size());
        Guarded<int32_t> positions(batch.positions), sequence(batch.sequence);
        Guarded<int32_t> pages(batch.pageTable);
        image->run("rope", T, 1, 1, {rotated, positions, table, rotated});
        image->run("separate", kSplits, T, 1,
                   {latent, rotated, positions, sequence, pages, cache.memory, expected},
                   {batch.pages});
        image->run("fused", kSplits, T, 1,
                   {latent, q, positions, sequence, pages, table, cache.memory, got},
                   {batch.pages});
        expectSame(got, expected);
      }
}

// Heads of which all or only the first elements are rotated.
TEST(FusedAttention, RotatesItsQueries) {
  constexpr int64_t kHeads = 6, kKvHeads = 3, kHeadDim = 48, kSplits = 2;
  Batch batch({{1, 1}, {65, 2}, {600, 1}});
  int64_t T = batch.tokens(), qLd = kHeads * kHeadDim + 16;
  for (const std::string& profile : profilesThatFuse(Fusion::kRotateQuery)) {
    for (auto [dim, interleaved] : {std::pair<int64_t, bool>{48, false}, {16, true}}) {
      SCOPED_TRACE(profile + " " + std::to_string(dim));
      TestCache cache(batch, 2 * kKvHeads * kHeadDim, false, 100, /*runs=*/2 * kKvHeads);
      ConfigText config = {{"heads", kHeads}, {"kv_heads", kKvHeads}, {"head_dim", kHeadDim},
                           {"scale", 0.3},    {"splits", kSplits},    {"q_ld", qLd},
                           {"window", 0}};
      ConfigText rope = {{"heads", kHeads},           {"dim", dim},      {"in_ld", qLd},
                         {"in_head_ld", kHeadDim},    {"in_offset", 0},  {"out_ld", qLd},
                         {"out_head_ld", kHeadDim},   {"out_offset", 0}, {"mscale", 1.0},
                         {"interleaved", interleaved}};
      std::string common = std::string(config) + ", " + cache.config(false);
      ConfigText rotation = {
          {"rotate", true}, {"dim", dim}, {"interleaved", interleaved}, {"mscale", 1.0}};
      auto image = KernelImage::build(
          profile, {{"rope", "rope", rope},
                    {"separate", "attention", common},
                    {"fused", "attention", common + ", " + std::string(rotation)}});
      ASSERT_TRUE(image);
      Guarded<float> q(randomFloats(T * qLd, 2)), rotated(q.values()), table = angles(dim);
      Guarded<float> got(T * kSplits * kHeads * (kHeadDim + 16)), expected(got.size());
      Guarded<int32_t> positions(batch.positions), sequence(batch.sequence);
      Guarded<int32_t> pages(batch.pageTable);
      image->run("rope", T, 1, 1, {rotated, positions, table, rotated});
      image->run("separate", kSplits, T, kKvHeads,
                 {rotated, positions, sequence, pages, cache.memory, expected}, {batch.pages});
      image->run("fused", kSplits, T, kKvHeads,
                 {q, positions, sequence, pages, table, cache.memory, got}, {batch.pages});
      expectSame(got, expected);
    }
  }
}

TEST(FusedLatentAppend, NormalisesTheQuery) {
  constexpr int64_t kRank = 48, kDim = 8;
  Batch batch({{3, 1}, {65, 2}});
  int64_t T = batch.tokens();
  for (const std::string& profile : profilesThatFuse(Fusion::kAppendNorm))
    for (const std::string form : {"f32", "bf16", "i8"})
      for (int64_t n : {40, 192}) {
        SCOPED_TRACE(profile + " " + form + " " + std::to_string(n));
        int64_t ld = roundTo(n + kRank + kDim, 16) + 16, stride = strideOf(form, n);
        TestCache cache(batch, kRank + kDim, false, 100), other(batch, kRank + kDim, false, 100);
        ConfigText config = {{"rank", kRank},      {"dim", kDim},   {"eps", 1e-3},
                             {"in_ld", ld},        {"mscale", 1.5}, {"in_offset", n + 8},
                             {"interleaved", true}};
        ConfigText query = {
            {"q_norm", form}, {"q_n", n}, {"q_offset", 4}, {"q_eps", 1e-2}, {"q_stride", stride}};
        std::string common = std::string(config) + ", " + cache.config(false);
        auto image = KernelImage::build(
            profile, {{"separate", "latent_append", common},
                      {"norm", "norm", normConfig(n, ld, 4, 1e-2, form)},
                      {"fused", "latent_append", common + ", " + std::string(query)}});
        ASSERT_TRUE(image);
        Guarded<float> x(randomFloats(T * ld, 1)), gamma(randomFloats(kRank, 2));
        Guarded<float> qGamma(randomFloats(n, 3)), table = angles(kDim);
        Guarded<int32_t> positions(batch.positions), sequence(batch.sequence);
        Guarded<int32_t> pages(batch.pageTable);
        Guarded<uint8_t> got(T * stride), expected(T * stride);
        image->run("separate", T, 1, 1, {x, gamma, positions, sequence, pages, table, other.memory},
                   {batch.pages});
        image->run("norm", T, 1, 1, {x, qGamma, expected});
        image->run("fused", T, 1, 1,
                   {x, gamma, qGamma, positions, sequence, pages, table, cache.memory, got},
                   {batch.pages});
        expectSame(cache.memory, other.memory);
        expectSameRows(form, got.data(), expected.data(), T, n, stride);
      }
}

}  // namespace
}  // namespace fathom::testing
