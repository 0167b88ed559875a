// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bytes, operations and rooflines against numbers worked out by hand.
#include "runtime/tools/kernel_cost.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/tools/estimate.h"
#include "tests/unit/runtime/artifact/history_model.h"

namespace fathom::tools {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

KernelCost Cost(const std::string& family, const json& config, const CallWork& work,
                KernelUse use = {}) {
  use.name = "k";
  use.family = family;
  const auto cost = CostOf(use, config, work);
  EXPECT_TRUE(cost.ok()) << cost.status();
  return cost.ok() ? *cost : KernelCost();
}

void Expect(const KernelCost& cost, double weights, double cache, double other, double ops,
            Unit unit = Unit::kF32) {
  EXPECT_DOUBLE_EQ(cost.weight_bytes, weights);
  EXPECT_DOUBLE_EQ(cost.cache_bytes, cache);
  EXPECT_DOUBLE_EQ(cost.other_bytes, other);
  EXPECT_DOUBLE_EQ(cost.ops, ops);
  EXPECT_EQ(cost.unit, unit);
  EXPECT_TRUE(cost.known);
}

TEST(CallWork, CountsWhatTokensSee) {
  const CallWork work{2, 3, 10};  // tokens at positions 10, 11, 12 of two sequences
  EXPECT_EQ(work.all_tokens(), 6);
  EXPECT_EQ(work.Visible(0), 2 * (11 + 12 + 13));
  EXPECT_EQ(work.Visible(12), 2 * (11 + 12 + 12));
  EXPECT_EQ(work.Visible(4), 2 * (4 + 4 + 4));
  EXPECT_EQ(work.Visible(100), work.Visible(0));
  EXPECT_EQ(work.Rows(0), 2 * 13);
  EXPECT_EQ(work.Rows(4), 2 * 6);  // the oldest token still sees 3 rows before it
  EXPECT_EQ(work.Rows(100), 2 * 13);
}

TEST(KernelCost, Projections) {
  // 3 rows of 128 values in int8: 128 values, 4 scales and 4 biases each; 32 floats come out.
  KernelUse use{.tensors = {2304, 2304}, .rows = 3};
  json config = {{"rows", 32}, {"cols", 128}, {"act", "i8"}, {"epilogue", "swiglu"}};
  Expect(Cost("linear", config, {}, use), 4608, 0, 3 * (160 + 128), 2 * 2 * 3 * 32 * 128,
         Unit::kInt8);
  config = {{"rows", 32}, {"cols", 128}, {"act", "bf16"}, {"batch", 4}, {"epilogue", "store"}};
  Expect(Cost("linear", config, {}, use), 4608, 0, 3 * 4 * (256 + 128), 2 * 3 * 4 * 32 * 128,
         Unit::kBf16);
  config = {{"rows", 32}, {"cols", 128}, {"epilogue", "residual"}};
  Expect(Cost("linear", config, {}, use), 4608, 0, 3 * (512 + 128 + 128), 2 * 3 * 32 * 128);
}

TEST(KernelCost, ExpertsThatAreHit) {
  // 8 routed experts of which a token picks 2, and 2 that every token takes.
  const json config = {{"rows", 16}, {"cols", 64},  {"experts", 10}, {"top_k", 4},
                       {"act", "i8"}, {"gather", true}, {"epilogue", "swiglu"}};
  KernelUse use{.tensors = {10000, 10000}, .rows = 1, .shared_experts = 2};
  Expect(Cost("experts", config, {}, use), 8000, 0, 80 + 4 * 64 + 4 * (22 + 4),
         2 * 2 * 4 * 16 * 64, Unit::kInt8);
  // The second token misses an expert of the first with chance 3/4: 2 + 8 (1 - 9/16) = 5.5 are hit.
  use.rows = 2;
  Expect(Cost("experts", config, {1, 2, 0}, use), 11000, 0, 2 * 80 + 8 * 64 + 4 * (22 + 8),
         2 * 2 * 8 * 16 * 64, Unit::kInt8);
  use.rows = 100000;
  EXPECT_NEAR(Cost("experts", config, {1, 100000, 0}, use).weight_bytes, 20000, 1e-6);
}

TEST(KernelCost, PartsAddUpToTheWhole) {
  json config = {{"rows", 16}, {"cols", 64}, {"experts", 10}, {"top_k", 4}, {"act", "i8"}};
  const KernelUse whole{.tensors = {10000}, .rows = 3, .shared_experts = 2};
  const KernelCost all = Cost("experts", config, {1, 3, 0}, whole);
  // Experts 0 to 6 are routed, 7 is as well, 8 and 9 are shared.
  double weights = 0, ops = 0;
  for (const auto& [first, bank] : {std::pair{0, 7}, {7, 3}}) {
    KernelUse use = whole;
    use.tensors = {1000.0 * bank};
    config["first"] = first;
    config["bank"] = bank;
    const KernelCost cost = Cost("experts", config, {1, 3, 0}, use);
    weights += cost.weight_bytes;
    ops += cost.ops;
  }
  EXPECT_DOUBLE_EQ(weights, all.weight_bytes);
  EXPECT_DOUBLE_EQ(ops, all.ops);
  // Two thirds of a table of 30 rows: 4 of 6 tokens.
  config = {{"vocab", 20}, {"hidden", 8}, {"first", 10}};
  Expect(Cost("embed", config, {1, 6, 0}, {.tensors = {2000}, .share = 2.0 / 3}), 400, 0, 4 * 32, 0);
}

TEST(KernelCost, Attention) {
  json config = {{"heads", 2}, {"rank", 32}, {"dim", 16}, {"kv", "bf16"}, {"splits", 4}};
  // One token that sees 100 rows of 48 values.
  Expect(Cost("latent_attention", config, {1, 1, 99}), 0, 9600, 2 * 4 * (48 + 4 * 48),
         100 * 2 * 2 * (48 + 32), Unit::kBf16);
  config["nope"] = 24;
  config["v"] = 40;
  KernelUse use{.tensors = {1000, 500}};
  // Tokens at positions 1 and 2: 5 pairs, 3 rows.
  Expect(Cost("latent_attention_expanded", config, {1, 2, 1}, use), 1500, 3 * 48 * 2,
         2 * 2 * 4 * (40 + 40), 2 * 2 * (3 * 32 * 64 + 5 * (40 + 40)), Unit::kBf16);
  use.expands_latent = false;
  EXPECT_EQ(Cost("latent_attention_expanded", config, {1, 2, 1}, use).ops,
            2 * 2 * (2 * 32 * 64 + 5 * (2 * 32 + 16)));

  config = {{"heads", 4}, {"kv_heads", 2}, {"head_dim", 8}, {"kv", "f32"}, {"splits", 2}};
  Expect(Cost("attention", config, {1, 1, 9}), 0, 10 * 2 * 2 * 8 * 4, 4 * 4 * (8 + 2 * 24),
         10 * 4 * 32);
  config["window"] = 6;
  EXPECT_EQ(Cost("attention", config, {1, 1, 9}).cache_bytes, 6 * 2 * 2 * 8 * 4);
  config.erase("window");
  Expect(Cost("attention_prefill", config, {1, 3, 7}), 0, 10 * 2 * 2 * 8 * 4, 3 * 4 * 4 * 16,
         (8 + 9 + 10) * 4 * 32);
  Expect(Cost("attention_combine", {{"heads", 4}, {"width", 8}, {"splits", 2}}, {1, 3, 7}), 0, 0,
         3 * 4 * (2 * 4 * 24 + 32), 3 * 4 * 2 * 16);
}

TEST(KernelCost, SmallKernels) {
  KernelUse use{.tensors = {256}, .logit_rows = 1};
  json config = {{"n", 64}, {"out_f32", false}, {"out_act", "i8"}};
  Expect(Cost("norm", config, {1, 3, 0}, use), 256, 0, 3 * (256 + 80), 3 * 4 * 64);
  config = {{"n", 64}, {"out_f32", true}, {"out_act", "none"}, {"gather", true}};
  Expect(Cost("norm", config, {1, 3, 0}, use), 256, 0, 512, 4 * 64);
  Expect(Cost("embed", {{"vocab", 100}, {"hidden", 32}}, {1, 2, 0}, {.tensors = {16000}}), 320, 0,
         256, 0);
  Expect(Cost("encode", {{"n", 64}, {"groups", 2}, {"act", "i8"}}, {1, 3, 0}), 0, 0,
         6 * (256 + 80), 6 * 3 * 64);
  Expect(Cost("add", {{"n", 8}}, {1, 3, 0}), 0, 0, 3 * 8 * 12, 24);
  Expect(Cost("swiglu", {{"n", 8}}, {1, 3, 0}), 0, 0, 3 * 8 * 12, 120);
  Expect(Cost("rope", {{"heads", 2}, {"dim", 8}}, {1, 3, 0}), 0, 0, 3 * 2 * 8 * 8, 144);
  Expect(Cost("latent_append", {{"rank", 32}, {"dim", 16}, {"kv", "bf16"}}, {1, 2, 0}), 128, 192,
         2 * 4 * (48 + 32), 2 * (3 * 16 + 4 * 32));
  Expect(Cost("kv_append", {{"kv_heads", 2}, {"head_dim", 8}, {"dim", 4}, {"kv", "f32"}}, {}), 0,
         128, 4 * (32 + 8), 3 * 2 * 4);
  Expect(Cost("route", {{"experts", 8}, {"top_k", 2}, {"shared", 1}}, {1, 3, 0}), 0, 0,
         3 * 8 * 4 + 3 * 3 * 8, 3 * 8 * 2);
  Expect(Cost("route_plan", {{"experts", 8}, {"top_k", 2}}, {1, 3, 0}), 0, 0, 4 * (18 + 12), 0);
  Expect(Cost("combine", {{"n", 8}, {"top_k", 2}, {"shared", true}}, {1, 3, 0}), 0, 0,
         3 * 8 * 5 * 4, 3 * 8 * 4);
  const KernelCost unknown = Cost("fft", json::object(), {}, {.tensors = {7, 8}});
  EXPECT_FALSE(unknown.known);
  EXPECT_EQ(unknown.bytes(), 15);
}

// docs/spec/kernels.md, "Fused forms".
TEST(KernelCost, FusedForms) {
  KernelUse use{.tensors = {1000, 100}, .rows = 3};
  json config = {{"rows", 32}, {"cols", 128}, {"act", "i8"}, {"out_act", "i8"}, {"batch", 2}};
  // Two batches' 64 columns make one record of 80 bytes.
  Expect(Cost("linear", config, {}, use), 1100, 0, 3 * (2 * 160 + 80), 2 * 3 * 2 * 32 * 128,
         Unit::kInt8);
  config = {{"rows", 64}, {"cols", 128}, {"act", "i8"}, {"head_act", "bf16"}, {"heads", 2},
            {"head_cols", 32}};
  Expect(Cost("linear", config, {}, use), 1100, 0, 3 * (160 + 256 + 2 * 64), 2 * 3 * 64 * 128,
         Unit::kInt8);
  config = {{"rows", 32}, {"cols", 128}, {"act", "f32"}, {"norm", "f32"}};
  Expect(Cost("linear", config, {}, use), 1100, 0, 3 * (512 + 128 + 512),
         2 * 3 * 32 * 128 + 3 * 4 * 128);
  config = {{"rows", 32}, {"cols", 128}, {"act", "i8"}, {"batch", 2}, {"splits", 4}};
  Expect(Cost("linear", config, {}, use), 1100, 0, 3 * 2 * (4 * 4 * 144 + 128),
         2 * 3 * 2 * 32 * 128 + 3 * 2 * 4 * 2 * 128, Unit::kInt8);
  config = {{"rows", 64}, {"cols", 64}, {"experts", 2}, {"top_k", 2}, {"act", "i8"},
            {"gather", true}, {"out_act", "i8"}};
  Expect(Cost("experts", config, {1, 3, 0}, use), 1100, 0, 3 * 80 + 6 * 80 + 4 * (6 + 6),
         2 * 6 * 64 * 64, Unit::kInt8);

  config = {{"n", 64}, {"top_k", 2}, {"norm", "i8"}};
  Expect(Cost("combine", config, {1, 3, 0}, {.tensors = {256}}), 256, 0, 3 * (64 * 16 + 80),
         3 * 64 * (4 + 4));
  config = {{"experts", 8}, {"top_k", 2}, {"shared", 1}, {"plan", true}};
  Expect(Cost("route", config, {1, 3, 0}), 0, 0, 3 * 32 + 3 * 24 + 4 * (2 * 9 + 2 + 9), 3 * 8 * 2);
  config = {{"rank", 32}, {"dim", 16}, {"kv", "bf16"}, {"q_norm", "i8"}, {"q_n", 64}};
  Expect(Cost("latent_append", config, {1, 2, 0}), 128 + 256, 192,
         2 * (4 * (48 + 32) + 256 + 80), 2 * (3 * 16 + 4 * 32 + 4 * 64));
  config = {{"heads", 2}, {"rank", 32}, {"dim", 16}, {"kv", "bf16"}, {"splits", 4}};
  const double plain = Cost("latent_attention", config, {1, 1, 99}).ops;
  config["rotate"] = true;
  EXPECT_DOUBLE_EQ(Cost("latent_attention", config, {1, 1, 99}).ops, plain + 2 * 3 * 16);
}

TEST(KernelCost, ErrorsNameTheField) {
  const auto error = [](const json& config) {
    return std::string(CostOf({.name = "k", .family = "linear"}, config, {}).status().message());
  };
  EXPECT_EQ(error({{"cols", 4}}),
            "kernel 'k': config: rows: expected an integer, found none");
  EXPECT_THAT(error({{"rows", "x"}, {"cols", 4}}), HasSubstr("rows: expected an integer, found string"));
  EXPECT_THAT(error({{"rows", -1}, {"cols", 4}}), HasSubstr("rows: expected an integer in [0, 2^40]"));
  EXPECT_THAT(error({{"rows", 0}, {"cols", 4}}), HasSubstr("rows: expected at least 1"));
  EXPECT_THAT(error({{"rows", 4}, {"cols", 4}, {"act", 1}}), HasSubstr("act: expected a string"));
  EXPECT_THAT(error(json::array()), HasSubstr("config: expected an object, found array"));
  EXPECT_FALSE(CostOf({.name = "k", .family = "norm"}, {{"n", 4}, {"gather", 1}}, {}).ok());
}

TEST(Roofs, MeasuredCountsBeforePublished) {
  const char* both = R"({"name": "cpu:x", "measured": {"read_gbps": 20, "f32_gflops": 100},
    "published": {"device": "D", "read_gbps": 40, "f32_gflops": 300, "bf16_gflops": 600}})";
  auto roofs = RoofsOf(both, "p.json");
  ASSERT_TRUE(roofs.ok()) << roofs.status();
  EXPECT_EQ(roofs->origin, "measured");
  EXPECT_EQ(roofs->bytes, 20e9);
  EXPECT_EQ(roofs->Of(Unit::kInt8), 100e9);  // no rate of its own: float32's
  json only = json::parse(both);
  only.erase("measured");
  roofs = RoofsOf(only.dump(), "p.json");
  ASSERT_TRUE(roofs.ok()) << roofs.status();
  EXPECT_EQ(roofs->device, "D");
  EXPECT_EQ(roofs->Of(Unit::kBf16), 600e9);
  EXPECT_EQ(roofs->Of(Unit::kInt8), 300e9);
  only.erase("published");
  EXPECT_EQ(RoofsOf(only.dump(), "p.json").status().code(), absl::StatusCode::kUnimplemented);
  only["published"] = {{"read_gbps", 0}, {"f32_gflops", 1}};
  EXPECT_THAT(std::string(RoofsOf(only.dump(), "p.json").status().message()),
              HasSubstr("p.json: published: read_gbps: expected a number above 0"));
  EXPECT_FALSE(RoofsOf("[]", "p.json").ok());
  EXPECT_FALSE(RoofsOf("{", "p.json").ok());
}

// As a session does: steps, few tokens of a prompt, and no more of them than the artifact says.
TEST(Estimate, TakesTheEntryPointOfASession) {
  auto builder = testing::HistoryModel();
  const auto entry_of = [&](const CallWork& work, bool deterministic = false) {
    const testing::TemporaryFile file(builder.Build());
    auto artifact = Artifact::Open(file.path());
    EXPECT_TRUE(artifact.ok()) << artifact.status();
    return EntryOf(**artifact, 0, work, deterministic);
  };
  EXPECT_EQ(entry_of({1, 2, 0}), "prefill");
  EXPECT_EQ(entry_of({3, 1, 50}), "decode");
  for (auto& entry : builder.header.programs[0]->entries) {
    if (entry->name != "decode") continue;
    entry->few_tokens = 6;
    entry->few_context = 21;
  }
  EXPECT_EQ(entry_of({1, 6, 0}), "decode");  // attends to 1 + 2 + ... + 6
  EXPECT_EQ(entry_of({2, 3, 0}), "decode");
  EXPECT_EQ(entry_of({1, 7, 0}), "prefill");
  EXPECT_EQ(entry_of({1, 6, 1}), "prefill");
  EXPECT_EQ(entry_of({1, 6, 0}, true), "prefill");
  EXPECT_EQ(entry_of({1, 1, 9}, true), "decode");
}

TEST(Estimate, AddsUpTheDispatchesOfACall) {
  auto builder = testing::HistoryModel();
  auto& kernels = builder.header.programs[0]->kernels;
  const auto open = [&] {
    const testing::TemporaryFile file(builder.Build());
    auto artifact = Artifact::Open(file.path());
    EXPECT_TRUE(artifact.ok()) << artifact.status();
    return *artifact;
  };
  const Roofs roofs{"cpu:x", "", "measured", 100, 1000, 500, 10};
  TestEstimate test;
  absl::Status status = AddCall(*open(), 0, "prefill", {1, 3, 0}, roofs, &test);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("compile it again"));

  kernels[0]->family = kernels[1]->family = "add";
  kernels[0]->config = kernels[1]->config = R"({"n": 5})";
  kernels[2]->family = "linear";
  kernels[2]->config = R"({"rows": 2, "cols": 4})";
  ASSERT_TRUE(AddCall(*open(), 0, "prefill", {1, 3, 0}, roofs, &test).ok());
  ASSERT_TRUE(AddCall(*open(), 0, "prefill", {1, 3, 3}, roofs, &test).ok());
  EXPECT_EQ(test.tokens, 6);
  ASSERT_EQ(test.kernels.size(), 3u);
  // The head's push constant is the vocabulary, 100 here: 2 x 100 x 2 x 4 operations at 10 per
  // second are slower than 100 x (16 + 8) bytes and the gain's, 400, at 100.
  const KernelEstimate& head = test.kernels[0];
  EXPECT_EQ(head.family, "linear");
  EXPECT_EQ(head.dispatches, 2);
  EXPECT_DOUBLE_EQ(head.seconds, 2 * 160);
  EXPECT_DOUBLE_EQ(head.memory_seconds, 2 * 28);
  // 3 x 5 x 12 bytes at 100 per second against 15 operations at 10.
  EXPECT_DOUBLE_EQ(test.kernels[1].seconds, 2 * 1.8);
  EXPECT_DOUBLE_EQ(test.seconds, 2 * (160 + 1.8 + 1.8));
  EXPECT_THAT(std::string(AddCall(*open(), 0, "train", {}, roofs, &test).message()),
              HasSubstr("no entry point train"));
  kernels[2]->config = "{";
  EXPECT_THAT(std::string(AddCall(*open(), 0, "decode", {}, roofs, &test).message()),
              HasSubstr("config: expected a JSON object"));
}

}  // namespace
}  // namespace fathom::tools
