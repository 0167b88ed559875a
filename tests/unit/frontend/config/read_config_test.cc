// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// config.json: published files, spellings and defaults, variants refused, values that are wrong.
#include <limits>

#include "frontend/config/model_config.h"
#include "tests/unit/frontend/config/config_texts.h"
#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

using ::testing::ElementsAre;
using Json = nlohmann::json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

ModelConfig Parse(const Json& json) {
  const auto config = ParseConfig(json.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig();
}

Json With(Json json, const Json& changes) {
  json.update(changes);
  return json;
}

TEST(ReadConfig, DeepseekV3) {
  const TempDir dir;
  const auto config = ReadConfig(dir.Write("config.json", DeepseekV3().dump()));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model_type, ModelType::kDeepseekV3);
  EXPECT_EQ(config->vocab_size, 129280);
  EXPECT_EQ(config->hidden_size, 7168);
  EXPECT_EQ(config->num_hidden_layers, 61);
  EXPECT_EQ(config->num_attention_heads, 128);
  EXPECT_TRUE(config->is_latent());
  EXPECT_EQ(config->q_lora_rank, 1536);
  EXPECT_EQ(config->kv_lora_rank, 512);
  EXPECT_EQ(config->rotary_dim(), 64);
  EXPECT_EQ(config->v_head_dim, 128);
  EXPECT_EQ(config->n_routed_experts, 256);
  EXPECT_EQ(config->n_group, 8);
  EXPECT_EQ(config->topk_group, 4);
  EXPECT_EQ(config->topk_method, TopkMethod::kNoauxTc);
  EXPECT_EQ(config->scoring_func, ScoringFunc::kSigmoid);
  EXPECT_TRUE(config->norm_topk_prob);
  EXPECT_EQ(config->routed_scaling_factor, 2.5);
  EXPECT_FALSE(config->is_moe_layer(2));
  EXPECT_TRUE(config->is_moe_layer(3));
  EXPECT_EQ(config->rope.type, RopeType::kYarn);
  EXPECT_EQ(config->rope.mscale_all_dim, 1.0);
  EXPECT_TRUE(config->rope_interleave);
  ASSERT_TRUE(config->quantization.has_value());
  EXPECT_EQ(config->quantization->block_rows, 128);
  EXPECT_EQ(config->num_nextn_predict_layers, 1);
  EXPECT_EQ(config->bos_token_id, 0);
  EXPECT_THAT(config->eos_token_ids, ElementsAre(1));
  EXPECT_EQ(config->torch_dtype, "bfloat16");
}

TEST(ReadConfig, DeepseekV2) {
  const ModelConfig lite = Parse(DeepseekV2Lite());
  EXPECT_EQ(lite.q_lora_rank, std::nullopt);
  EXPECT_EQ(lite.topk_method, TopkMethod::kGreedy);
  EXPECT_EQ(lite.scoring_func, ScoringFunc::kSoftmax);
  EXPECT_EQ(lite.rope.mscale, 0.707);
  const ModelConfig full = Parse(With(DeepseekV2Lite(), {{"q_lora_rank", 1536},
                                                         {"n_routed_experts", 160},
                                                         {"n_group", 8},
                                                         {"topk_group", 3},
                                                         {"topk_method", "group_limited_greedy"}}));
  EXPECT_EQ(full.topk_method, TopkMethod::kGroupLimitedGreedy);
  EXPECT_EQ(full.n_group, 8);
  EXPECT_EQ(full.topk_group, 3);
  // greedy looks at no groups, whatever the file says about them.
  EXPECT_EQ(Parse(With(DeepseekV2Lite(), {{"n_group", 8}, {"topk_group", 3}})).n_group, 1);
}

TEST(ReadConfig, OtherTypes) {
  const ModelConfig llama = Parse(Llama32_1B());
  EXPECT_EQ(llama.rope.type, RopeType::kLlama3);
  EXPECT_EQ(llama.rope.high_freq_factor, 4.0);
  EXPECT_TRUE(llama.tie_word_embeddings);
  EXPECT_FALSE(llama.qkv_bias);
  EXPECT_FALSE(llama.is_moe());
  EXPECT_FALSE(llama.rope_interleave);
  EXPECT_EQ(llama.v_head_dim, 64);
  EXPECT_THAT(llama.eos_token_ids, ElementsAre(128001, 128008, 128009));

  const ModelConfig qwen2 = Parse(Small("qwen2"));
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.o_bias);
  EXPECT_EQ(qwen2.head_dim, 8);
  EXPECT_EQ(qwen2.rms_norm_eps, 1e-6);

  const ModelConfig qwen3 = Parse(Small("qwen3"));
  EXPECT_EQ(qwen3.qk_norm, QkNorm::kPerHead);
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_FALSE(qwen3.qkv_bias);
  const ModelConfig biased = Parse(With(Small("qwen3"), {{"attention_bias", true}}));
  EXPECT_TRUE(biased.qkv_bias);
  EXPECT_TRUE(biased.o_bias);

  const ModelConfig moe = Parse(Qwen3Moe());
  EXPECT_EQ(moe.n_routed_experts, 128);
  EXPECT_TRUE(moe.norm_topk_prob);
  EXPECT_TRUE(moe.is_moe_layer(0));
  const ModelConfig sparse =
      Parse(With(Qwen3Moe(), {{"decoder_sparse_step", 2}, {"mlp_only_layers", {3}}}));
  EXPECT_FALSE(sparse.is_moe_layer(0));
  EXPECT_TRUE(sparse.is_moe_layer(1));
  EXPECT_FALSE(sparse.is_moe_layer(3));

  const ModelConfig mixtral = Parse(Small("mixtral"));
  EXPECT_EQ(mixtral.n_routed_experts, 4);
  EXPECT_EQ(mixtral.moe_intermediate_size, 48);
  EXPECT_TRUE(mixtral.norm_topk_prob);
  EXPECT_EQ(mixtral.rms_norm_eps, 1e-5);
  EXPECT_EQ(mixtral.rope_theta, 1e6);

  const ModelConfig olmoe = Parse(Small("olmoe"));
  EXPECT_EQ(olmoe.qk_norm, QkNorm::kFullWidth);
  EXPECT_FALSE(olmoe.norm_topk_prob);
}

// What transformers 5 writes.
TEST(ReadConfig, NewerSpellings) {
  const Json rope = {{"rope_type", "yarn"}, {"type", "yarn"},  {"rope_theta", 5e4},
                     {"factor", 4.0},       {"beta_fast", 16}, {"beta_slow", 2}};
  const ModelConfig config = Parse(With(Small("deepseek_v3"), {{"rope_parameters", rope},
                                                               {"dtype", "float32"},
                                                               {"head_dim", 8},
                                                               {"qk_head_dim", 24},
                                                               {"num_mtp_layers", 2},
                                                               {"num_local_experts", 8}}));
  EXPECT_EQ(config.rope.type, RopeType::kYarn);
  EXPECT_EQ(config.rope_theta, 5e4);
  EXPECT_EQ(config.rope.beta_fast, 16);
  EXPECT_EQ(config.rope.original_max_position_embeddings, 128);
  EXPECT_EQ(config.rope.mscale, 0);
  EXPECT_EQ(config.torch_dtype, "float32");
  EXPECT_EQ(config.num_nextn_predict_layers, 2);
  EXPECT_EQ(config.n_routed_experts, 8);

  Json yarn = {{"rope_type", "yarn"}, {"original_max_position_embeddings", 32}};
  EXPECT_EQ(Parse(With(Small("llama"), {{"rope_scaling", yarn}})).rope.factor, 4.0);
  EXPECT_EQ(Parse(With(Small("llama"), {{"rope_scaling", {{"type", "default"}}}})).rope.type,
            RopeType::kDefault);
  EXPECT_FALSE(Parse(With(Small("deepseek_v3"), {{"rope_interleave", false}})).rope_interleave);
}

TEST(ReadConfig, SlidingWindows) {
  EXPECT_EQ(Parse(With(Small("mixtral"), {{"sliding_window", 128}})).model_type,
            ModelType::kMixtral);
  EXPECT_EQ(Parse(With(Small("qwen2"), {{"sliding_window", 16}, {"use_sliding_window", false}}))
                .model_type,
            ModelType::kQwen2);
  Parse(With(Small("qwen2"),
             {{"sliding_window", 16}, {"use_sliding_window", true}, {"max_window_layers", 2}}));
  Parse(With(Small("qwen3"), {{"layer_types", {"full_attention", "full_attention"}}}));
  const auto refuse = [](const Json& json, const char* field) {
    ExpectError(ParseConfig(json.dump(), "config.json").status(), kUnsupported,
                {"config.json: ", field});
  };
  refuse(With(Small("mixtral"), {{"sliding_window", 127}}), "sliding_window");
  refuse(With(Small("qwen2"),
              {{"sliding_window", 16}, {"use_sliding_window", true}, {"max_window_layers", 1}}),
         "sliding_window");
  refuse(With(Small("qwen3"), {{"sliding_window", 16},
                               {"use_sliding_window", true},
                               {"layer_types", {"full_attention", "sliding_attention"}}}),
         "layer_types");
}

struct BadConfig {
  const char* model_type;
  Json changes;  // merged over Small(model_type)
  absl::StatusCode code;
  std::vector<std::string> parts;
};

TEST(ReadConfig, BadValues) {
  const auto rope = [](const Json& json) { return Json{{"rope_scaling", json}}; };
  const std::vector<BadConfig> cases = {
      {"llama",
       {{"model_type", "gemma3"}},
       kUnsupported,
       {"model_type", "architecture gemma3 is not supported", "deepseek_v3", "olmoe"}},
      {"llama", {{"model_type", nullptr}}, kInvalid, {"model_type", "found null"}},
      {"llama", {{"model_type", 3}}, kInvalid, {"model_type", "a string", "found 3"}},
      {"llama", {{"hidden_size", "32"}}, kInvalid, {"hidden_size", "an integer", "\"32\""}},
      {"llama", {{"hidden_size", 32.5}}, kInvalid, {"hidden_size", "found 32.5"}},
      {"llama", {{"hidden_size", nullptr}}, kInvalid, {"hidden_size", "found null"}},
      {"llama", {{"hidden_size", {1}}}, kInvalid, {"hidden_size", "an array"}},
      {"llama", {{"hidden_size", ~uint64_t{0}}}, kInvalid, {"hidden_size", "an integer"}},
      {"llama",
       {{"hidden_size", std::numeric_limits<int64_t>::min()}},
       kInvalid,
       {"hidden_size", "53 bits"}},
      {"olmoe", {{"head_dim", int64_t{1} << 53}}, kInvalid, {"head_dim", "9007199254740992"}},
      {"deepseek_v3", {{"topk_group", int64_t{1} << 53}}, kInvalid, {"topk_group", "1 to 4"}},
      {"llama", {{"hidden_size", 0}, {"head_dim", 8}}, kInvalid, {"hidden_size", "found 0"}},
      {"llama", {{"hidden_size", -32}, {"head_dim", 8}}, kInvalid, {"hidden_size", "found -32"}},
      {"llama", {{"vocab_size", 0}}, kInvalid, {"vocab_size", "found 0"}},
      {"llama", {{"num_hidden_layers", 1000000}}, kInvalid, {"num_hidden_layers", "1000000"}},
      {"llama", {{"num_hidden_layers", 0}}, kInvalid, {"num_hidden_layers", "found 0"}},
      {"llama", {{"num_attention_heads", 0}}, kInvalid, {"num_attention_heads", "found 0"}},
      {"llama",
       {{"num_attention_heads", 0}, {"head_dim", 8}},
       kInvalid,
       {"num_attention_heads", "found 0"}},
      {"deepseek_v3", {{"num_attention_heads", 0}}, kInvalid, {"num_attention_heads", "found 0"}},
      {"llama", {{"num_attention_heads", 5}}, kInvalid, {"num_attention_heads", "divisor", "5"}},
      {"llama", {{"num_key_value_heads", 3}}, kInvalid, {"num_key_value_heads", "divisor", "3"}},
      {"llama", {{"num_key_value_heads", 0}}, kInvalid, {"num_key_value_heads", "found 0"}},
      {"llama", {{"head_dim", 7}}, kInvalid, {"head_dim", "even", "found 7"}},
      {"llama", {{"head_dim", -8}}, kInvalid, {"head_dim", "found -8"}},
      {"olmoe", {{"head_dim", 16}}, kInvalid, {"head_dim", "32 / 4", "found 16"}},
      {"llama", {{"rms_norm_eps", 0}}, kInvalid, {"rms_norm_eps", "positive"}},
      {"llama", {{"rms_norm_eps", "x"}}, kInvalid, {"rms_norm_eps", "a number"}},
      {"llama", {{"rope_theta", -1}}, kInvalid, {"rope_theta", "positive"}},
      {"llama", {{"tie_word_embeddings", 1}}, kInvalid, {"tie_word_embeddings", "true or false"}},
      {"llama", {{"eos_token_id", {1, "x"}}}, kInvalid, {"eos_token_id", "\"x\""}},
      {"llama", {{"hidden_act", "gelu"}}, kUnsupported, {"hidden_act", "gelu"}},
      {"llama", {{"mlp_bias", true}}, kUnsupported, {"mlp_bias"}},
      {"llama", {{"partial_rotary_factor", 0.5}}, kUnsupported, {"partial_rotary_factor"}},
      {"llama", {{"partial_rotary_factor", 2}}, kInvalid, {"partial_rotary_factor", "0 to 1"}},
      {"olmoe", {{"clip_qkv", 8.0}}, kUnsupported, {"clip_qkv", "8"}},
      {"deepseek_v3", {{"attention_bias", true}}, kUnsupported, {"attention_bias"}},
      {"deepseek_v3", {{"kv_lora_rank", 0}}, kInvalid, {"kv_lora_rank", "found 0"}},
      {"deepseek_v3", {{"kv_lora_rank", nullptr}}, kInvalid, {"kv_lora_rank", "found null"}},
      {"deepseek_v3", {{"q_lora_rank", 0}}, kInvalid, {"q_lora_rank", "found 0"}},
      {"deepseek_v3", {{"qk_rope_head_dim", 7}}, kInvalid, {"qk_rope_head_dim", "even"}},
      {"deepseek_v3",
       {{"qk_rope_head_dim", 32}, {"qk_head_dim", 24}},
       kInvalid,
       {"qk_rope_head_dim", "at most qk_head_dim 24", "found 32"}},
      {"deepseek_v3", {{"qk_head_dim", 25}}, kInvalid, {"qk_head_dim", "16 + 8", "found 25"}},
      {"deepseek_v3",
       {{"num_experts_per_tok", 9}},
       kInvalid,
       {"num_experts_per_tok", "1 to 8", "found 9"}},
      {"deepseek_v3",
       {{"num_experts_per_tok", 5}},
       kInvalid,
       {"num_experts_per_tok", "at most 4", "topk_group 2", "found 5"}},
      {"deepseek_v3", {{"num_experts_per_tok", 0}}, kInvalid, {"num_experts_per_tok", "found 0"}},
      {"mixtral", {{"num_experts_per_tok", 5}}, kInvalid, {"num_experts_per_tok", "1 to 4"}},
      {"deepseek_v3", {{"n_group", 3}}, kInvalid, {"n_group", "divisor", "8", "found 3"}},
      {"deepseek_v3", {{"n_group", 0}}, kInvalid, {"n_group", "found 0"}},
      {"deepseek_v3", {{"n_group", 8}}, kInvalid, {"n_group", "at least 2 experts"}},
      {"deepseek_v3", {{"topk_group", 5}}, kInvalid, {"topk_group", "1 to 4", "found 5"}},
      {"deepseek_v3", {{"n_routed_experts", 1000000}}, kInvalid, {"n_routed_experts"}},
      {"deepseek_v3",
       {{"n_routed_experts", 16384}, {"num_hidden_layers", 2048}},
       kInvalid,
       {"n_routed_experts", "16384 x 2048"}},
      {"deepseek_v3", {{"num_experts", 9}}, kInvalid, {"num_experts", "n_routed_experts"}},
      {"deepseek_v3", {{"moe_layer_freq", 0}}, kInvalid, {"moe_layer_freq", "found 0"}},
      {"deepseek_v3", {{"routed_scaling_factor", 0}}, kInvalid, {"routed_scaling_factor"}},
      {"deepseek_v3", {{"topk_method", "greedy"}}, kUnsupported, {"topk_method", "noaux_tc"}},
      {"deepseek_v3", {{"scoring_func", "softmax"}}, kUnsupported, {"scoring_func", "sigmoid"}},
      {"deepseek_v2", {{"topk_method", "noaux_tc"}}, kUnsupported, {"topk_method", "greedy"}},
      {"deepseek_v2", {{"norm_topk_prob", true}}, kUnsupported, {"norm_topk_prob"}},
      {"qwen3_moe", {{"decoder_sparse_step", 0}}, kInvalid, {"decoder_sparse_step", "found 0"}},
      {"llama",
       rope({{"type", "dynamic"}, {"factor", 2}}),
       kUnsupported,
       {"rope_scaling.rope_type", "dynamic", "yarn"}},
      {"llama", rope({{"type", "linear"}}), kInvalid, {"rope_scaling.factor", "found none"}},
      {"llama", rope({{"type", "linear"}, {"factor", 0}}), kInvalid, {"rope_scaling.factor"}},
      {"llama",
       rope({{"type", "llama3"}, {"factor", 2}}),
       kInvalid,
       {"rope_scaling.low_freq_factor"}},
      {"llama",
       rope({{"type", "llama3"}, {"factor", 2}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}),
       kInvalid,
       {"rope_scaling.high_freq_factor"}},
      {"llama",
       rope({{"type", "yarn"}, {"factor", 2}, {"beta_fast", 1}, {"beta_slow", 2}}),
       kInvalid,
       {"rope_scaling.beta_fast"}},
      {"llama",
       rope({{"type", "yarn"}, {"original_max_position_embeddings", 0}}),
       kInvalid,
       {"rope_scaling"}},
      {"llama",
       rope({{"full_attention", {{"rope_type", "default"}}}}),
       kUnsupported,
       {"rope_scaling.full_attention"}},
      {"llama", rope({1, 2}), kInvalid, {"rope_scaling", "an object"}},
      {"llama",
       {{"quantization_config", {{"quant_method", "gptq"}}}},
       kUnsupported,
       {"quantization_config.quant_method", "gptq"}},
      {"llama",
       {{"quantization_config", {{"quant_method", "fp8"}}}},
       kUnsupported,
       {"quantization_config.weight_block_size"}},
      {"llama",
       {{"quantization_config", {{"quant_method", "fp8"}, {"weight_block_size", {0, 1}}}}},
       kInvalid,
       {"quantization_config.weight_block_size", "two sizes"}},
  };
  for (const BadConfig& bad : cases) {
    const std::string text = With(Small(bad.model_type), bad.changes).dump();
    SCOPED_TRACE(text);
    std::vector<std::string> parts = bad.parts;
    parts.push_back("dir/config.json: ");
    ExpectError(ParseConfig(text, "dir/config.json").status(), bad.code, parts);
  }
}

TEST(ReadConfig, BadText) {
  const auto parse = [](const std::string& text) {
    return ParseConfig(text, "config.json").status();
  };
  ExpectError(parse("{\"hidden_size\": NaN}"), kInvalid, {"config.json", "error at byte"});
  ExpectError(parse("{\"rms_norm_eps\": 1e400}"), kInvalid, {"config.json", "error at byte"});
  ExpectError(parse("[]"), kInvalid, {"config.json", "a JSON object", "an array"});
  ExpectError(parse(std::string(10000, '[') + std::string(10000, ']')), kInvalid,
              {"config.json", "nesting"});
  ExpectError(parse("{\"a\":" + std::string(10000, '{')), kInvalid, {"config.json"});
  ExpectError(parse(R"({"model_type":"llama","model_type":"qwen2"})"), kInvalid,
              {"config.json", "\"model_type\"", "twice"});
  ExpectError(parse(""), kInvalid, {"config.json"});
  ExpectError(ReadConfig("/nowhere/config.json").status(), absl::StatusCode::kNotFound,
              {"/nowhere/config.json"});
}

// Every required field, left out in turn.
TEST(ReadConfig, MissingFields) {
  for (const char* field :
       {"model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim",
        "moe_intermediate_size", "num_experts_per_tok"}) {
    Json json = DeepseekV3();
    json.erase(field);
    ExpectError(ParseConfig(json.dump(), "config.json").status(), kInvalid,
                {std::string("config.json: ") + field, "found none"});
  }
}

}  // namespace
}  // namespace fathom
