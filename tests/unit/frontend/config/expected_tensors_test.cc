// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Published parameter totals from configs alone; names and shapes; checks of checkpoints.
#include "frontend/config/expected_tensors.h"

#include <algorithm>

#include "frontend/config/open_model.h"
#include "frontend/weights/random_checkpoint.h"
#include "tests/unit/frontend/config/config_texts.h"
#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

ModelConfig Parse(const nlohmann::json& json) {
  const auto config = ParseConfig(json.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

std::string Find(const std::vector<TensorSpec>& specs, const std::string& name) {
  for (const TensorSpec& spec : specs) {
    if (spec.name == name) return ShapeString(spec.shape);
  }
  return "none";
}

TEST(ParameterCount, PublishedTotals) {
  EXPECT_EQ(ParameterCount(Parse(DeepseekV2Lite())), 15'706'484'224u);
  EXPECT_EQ(ParameterCount(Parse(DeepseekV3())), 671'026'419'200u);
  EXPECT_EQ(ParameterCount(Parse(Llama32_1B())), 1'235'814'400u);
  EXPECT_EQ(ParameterCount(Parse(Qwen3Moe())), 30'532'122'624u);
  nlohmann::json v2 = DeepseekV2Lite();
  v2.update({{"hidden_size", 5120},
             {"num_hidden_layers", 60},
             {"num_attention_heads", 128},
             {"num_key_value_heads", 128},
             {"q_lora_rank", 1536},
             {"intermediate_size", 12288},
             {"moe_intermediate_size", 1536},
             {"n_routed_experts", 160},
             {"n_group", 8},
             {"topk_group", 3},
             {"topk_method", "group_limited_greedy"},
             {"routed_scaling_factor", 16.0}});
  EXPECT_EQ(ParameterCount(Parse(v2)), 235'741'434'880u);
  nlohmann::json mixtral = {{"model_type", "mixtral"},   {"vocab_size", 32000},
                            {"hidden_size", 4096},       {"num_hidden_layers", 32},
                            {"num_attention_heads", 32}, {"num_key_value_heads", 8},
                            {"intermediate_size", 14336}};
  EXPECT_EQ(ParameterCount(Parse(mixtral)), 46'702'792'704u);
  nlohmann::json olmoe = {{"model_type", "olmoe"},     {"vocab_size", 50304},
                          {"hidden_size", 2048},       {"num_hidden_layers", 16},
                          {"num_attention_heads", 16}, {"intermediate_size", 1024}};
  EXPECT_EQ(ParameterCount(Parse(olmoe)), 6'919'161'856u);
}

TEST(ExpectedTensors, DeepseekV3Shapes) {
  const auto specs = ExpectedTensors(Parse(DeepseekV3()));
  EXPECT_EQ(specs.front().name, "model.embed_tokens.weight");
  EXPECT_EQ(specs.back().name, "lm_head.weight");
  const std::string layer = "model.layers.3.";
  EXPECT_EQ(Find(specs, layer + "self_attn.q_a_proj.weight"), "[1536, 7168]");
  EXPECT_EQ(Find(specs, layer + "self_attn.q_b_proj.weight"), "[24576, 1536]");
  EXPECT_EQ(Find(specs, layer + "self_attn.kv_a_proj_with_mqa.weight"), "[576, 7168]");
  EXPECT_EQ(Find(specs, layer + "self_attn.kv_b_proj.weight"), "[32768, 512]");
  EXPECT_EQ(Find(specs, layer + "self_attn.o_proj.weight"), "[7168, 16384]");
  EXPECT_EQ(Find(specs, layer + "mlp.gate.weight"), "[256, 7168]");
  EXPECT_EQ(Find(specs, layer + "mlp.gate.e_score_correction_bias"), "[256]");
  EXPECT_EQ(Find(specs, layer + "mlp.experts.255.down_proj.weight"), "[7168, 2048]");
  EXPECT_EQ(Find(specs, layer + "mlp.shared_experts.up_proj.weight"), "[2048, 7168]");
  EXPECT_EQ(Find(specs, "model.layers.2.mlp.gate_proj.weight"), "[18432, 7168]");
  EXPECT_EQ(Find(specs, "model.layers.2.mlp.gate.weight"), "none");
  EXPECT_EQ(Find(specs, "model.layers.61.input_layernorm.weight"), "none");
}

TEST(ExpectedTensors, OtherTypes) {
  const auto qwen2 = ExpectedTensors(Parse(Small("qwen2")));
  EXPECT_EQ(Find(qwen2, "model.layers.1.self_attn.k_proj.bias"), "[16]");
  EXPECT_EQ(Find(qwen2, "model.layers.1.self_attn.o_proj.bias"), "none");
  const auto qwen3 = ExpectedTensors(Parse(Small("qwen3")));
  EXPECT_EQ(Find(qwen3, "model.layers.1.self_attn.q_norm.weight"), "[128]");
  EXPECT_EQ(Find(qwen3, "model.layers.1.self_attn.q_proj.weight"), "[512, 32]");
  const auto olmoe = ExpectedTensors(Parse(Small("olmoe")));
  EXPECT_EQ(Find(olmoe, "model.layers.1.self_attn.q_norm.weight"), "[32]");
  EXPECT_EQ(Find(olmoe, "model.layers.1.self_attn.k_norm.weight"), "[16]");
  const auto mixtral = ExpectedTensors(Parse(Small("mixtral")));
  EXPECT_EQ(Find(mixtral, "model.layers.0.block_sparse_moe.gate.weight"), "[4, 32]");
  EXPECT_EQ(Find(mixtral, "model.layers.0.block_sparse_moe.experts.3.w2.weight"), "[32, 48]");
  const auto lite = ExpectedTensors(Parse(DeepseekV2Lite()));
  EXPECT_EQ(Find(lite, "model.layers.0.self_attn.q_proj.weight"), "[3072, 2048]");
  EXPECT_EQ(Find(lite, "model.layers.1.mlp.shared_experts.down_proj.weight"), "[2048, 2816]");
  EXPECT_EQ(Find(lite, "model.layers.1.mlp.gate.e_score_correction_bias"), "none");
  EXPECT_EQ(Find(ExpectedTensors(Parse(Llama32_1B())), "lm_head.weight"), "none");
}

// A checkpoint that has what `config` asks for, after `edit`.
template <typename Edit>
absl::Status Check(const ModelConfig& config, Edit edit,
                   std::vector<std::string>* notes = nullptr) {
  std::vector<TensorSpec> specs = ExpectedTensors(config);
  edit(&specs);
  const auto checkpoint = RandomCheckpoint::Create(0, specs);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return CheckTensors(config, **checkpoint, notes);
}

TEST(CheckTensors, Faults) {
  const ModelConfig config = Parse(Small("deepseek_v3"));
  EXPECT_TRUE(Check(config, [](auto*) {}).ok());
  ExpectError(
      Check(config, [](auto* s) { s->erase(s->begin() + 3); }), kInvalid,
      {"random:0", "model.layers.0.self_attn.kv_a_proj_with_mqa.weight", "[40, 32]", "no tensor"});
  // The vocabulary of the config does not match the embedding.
  ExpectError(Check(config, [](auto* s) { (*s)[0].shape[0] = 65; }), kInvalid,
              {"random:0", "model.embed_tokens.weight", "config.json", "[64, 32]", "[65, 32]"});
  ExpectError(Check(config,
                    [](auto* s) {
                      s->push_back({"model.layers.0.self_attn.q_proj.bias", {4}});
                    }),
              kUnsupported, {"random:0", "q_proj.bias", "deepseek_v3", "wrong"});
  ModelConfig short_one = config;
  short_one.num_nextn_predict_layers = 0;
  const auto extra_layer = [](auto* s) { s->push_back({"model.layers.2.eh_proj.weight", {4, 8}}); };
  ExpectError(Check(short_one, extra_layer), kInvalid,
              {"config.json: num_hidden_layers", "layers.2.eh_proj", "found 2"});
  ModelConfig mtp = config;
  mtp.num_nextn_predict_layers = 1;
  std::vector<std::string> notes;
  EXPECT_TRUE(Check(mtp, extra_layer, &notes).ok());
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_THAT(notes[0], testing::HasSubstr("multi-token prediction: 1 tensors"));
}

TEST(CheckTensors, Notes) {
  ModelConfig config = Parse(Small("llama"));
  config.tie_word_embeddings = true;
  std::vector<std::string> notes;
  EXPECT_TRUE(Check(
                  config,
                  [](auto* s) {
                    s->push_back({"lm_head.weight", {64, 32}});
                    s->push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {4}});
                    s->push_back({"vision.weight", {4}});
                  },
                  &notes)
                  .ok());
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_THAT(notes[0], testing::HasSubstr("tie_word_embeddings"));
  EXPECT_THAT(notes[1], testing::HasSubstr("\"vision.weight\" is not used"));
}

TEST(OpenModel, RandomFromAConfigAlone) {
  const TempDir dir;
  dir.Write("config.json", DeepseekV3().dump());
  for (const std::string& path : {dir.path(), dir.File("config.json")}) {
    const auto model = OpenModel(path, "random:7");
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->weights->name(), "random:7");
    EXPECT_EQ(model->weights->tensors().size(), ExpectedTensors(model->config).size());
    const TensorInfo* tensor =
        model->weights->Find("model.layers.60.mlp.experts.255.down_proj.weight");
    ASSERT_NE(tensor, nullptr);
    std::vector<float> row(2048);
    EXPECT_TRUE(model->weights->ReadRows(*tensor, 7167, 7168, row.data()).ok());
  }
  ExpectError(OpenModel(dir.path(), "random:x").status(), kInvalid, {"--weights", "random:SEED"});
  ExpectError(OpenModel(dir.path()).status(), kInvalid, {dir.path(), "model.safetensors"});
}

TEST(OpenModel, Fp8BlocksComeFromTheConfig) {
  const TempDir dir;
  nlohmann::json config = Small("llama");
  config["num_hidden_layers"] = 1;
  config["tie_word_embeddings"] = true;
  config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {64, 16}}};
  dir.Write("config.json", config.dump());
  nlohmann::json header;
  uint64_t end = 0;
  const auto add = [&](const std::string& name, const char* dtype, std::vector<uint64_t> shape,
                       uint64_t bytes) {
    header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  };
  std::string data;
  for (const TensorSpec& spec : ExpectedTensors(Parse(config))) {
    uint64_t elements = 1;
    for (const uint64_t dim : spec.shape) elements *= dim;
    add(spec.name, "F8_E4M3", spec.shape, elements);
    data += std::string(elements, '\x38');
  }
  add("model.layers.0.self_attn.q_proj.weight_scale_inv", "F32", {1, 2}, 8);
  data += BytesOf<float>({2, 3});
  dir.Write("model.safetensors", Safetensors(header.dump(), data));
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE(model->notes.empty());
  std::vector<float> row(32);
  ASSERT_TRUE(model->weights
                  ->ReadRows(*model->weights->Find("model.layers.0.self_attn.q_proj.weight"), 31,
                             32, row.data())
                  .ok());
  EXPECT_EQ(row[15], 2.0f);
  EXPECT_EQ(row[16], 3.0f);
}

}  // namespace
}  // namespace fathom
