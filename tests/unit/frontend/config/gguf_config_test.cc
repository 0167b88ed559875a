// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GGUF files as models: keys to config, tensors under published names, undone conversions.
#include <limits>
#include <map>
#include <numeric>

#include "frontend/config/expected_tensors.h"
#include "frontend/config/gguf_names.h"
#include "frontend/config/gguf_tokenizer_fields.h"
#include "frontend/config/open_model.h"
#include "frontend/config/rope_table.h"
#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

using ::testing::ElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

using Keys = std::map<std::string, std::string>;               // key -> GGUF piece
using Tensors = std::map<std::string, std::vector<uint64_t>>;  // name -> dims, outermost first

void Put(Keys* keys, const std::string& key, int value) { (*keys)[key] = GgufU32(key, value); }
void Put(Keys* keys, const std::string& key, double value) { (*keys)[key] = GgufF32(key, value); }
void Put(Keys* keys, const std::string& key, bool value) { (*keys)[key] = GgufBool(key, value); }
void Put(Keys* keys, const std::string& key, const char* value) {
  (*keys)[key] = GgufText(key, value);
}

// Element i of a tensor is i, plus 1000 for each tensor before it in the file.
std::string File(const Keys& keys, const Tensors& tensors) {
  GgufWriter writer;
  for (const auto& [key, piece] : keys) writer.Key(piece);
  float base = 0;
  for (const auto& [name, shape] : tensors) {
    uint64_t elements = 1;
    for (const uint64_t dim : shape) elements *= dim;
    std::vector<float> values(elements);
    std::iota(values.begin(), values.end(), base);
    base += 1000;
    writer.F32(name, {shape.rbegin(), shape.rend()}, values);
  }
  return writer.Done();
}

// hidden 8, 2 heads of 4, 1 key/value head, feed-forward 6, vocabulary 5.
Keys LlamaKeys() {
  Keys keys;
  Put(&keys, "general.architecture", "llama");
  Put(&keys, "llama.block_count", 1);
  Put(&keys, "llama.context_length", 64);
  Put(&keys, "llama.embedding_length", 8);
  Put(&keys, "llama.feed_forward_length", 6);
  Put(&keys, "llama.attention.head_count", 2);
  Put(&keys, "llama.attention.head_count_kv", 1);
  Put(&keys, "llama.attention.layer_norm_rms_epsilon", 1e-5);
  Put(&keys, "llama.rope.freq_base", 50000.0);
  Put(&keys, "llama.rope.dimension_count", 4);
  return keys;
}

Tensors LlamaTensors() {
  return {{"token_embd.weight", {5, 8}},
          {"output_norm.weight", {8}},
          {"output.weight", {5, 8}},
          {"blk.0.attn_norm.weight", {8}},
          {"blk.0.ffn_norm.weight", {8}},
          {"blk.0.attn_q.weight", {8, 8}},
          {"blk.0.attn_k.weight", {4, 8}},
          {"blk.0.attn_v.weight", {4, 8}},
          {"blk.0.attn_output.weight", {8, 8}},
          {"blk.0.ffn_gate.weight", {6, 8}},
          {"blk.0.ffn_up.weight", {6, 8}},
          {"blk.0.ffn_down.weight", {8, 6}}};
}

// 2 heads, kv_lora_rank 4, nope 2, rope 2, v 3, 2 layers (one dense), 4 experts.
Keys DeepseekKeys() {
  Keys keys;
  Put(&keys, "general.architecture", "deepseek2");
  const std::string p = "deepseek2.";
  Put(&keys, p + "block_count", 2);
  Put(&keys, p + "context_length", 128);
  Put(&keys, p + "embedding_length", 8);
  Put(&keys, p + "feed_forward_length", 6);
  Put(&keys, p + "attention.head_count", 2);
  Put(&keys, p + "attention.head_count_kv", 1);
  Put(&keys, p + "attention.layer_norm_rms_epsilon", 1e-6);
  Put(&keys, p + "attention.kv_lora_rank", 4);
  Put(&keys, p + "attention.key_length", 6);
  Put(&keys, p + "attention.value_length", 4);
  Put(&keys, p + "attention.key_length_mla", 4);
  Put(&keys, p + "attention.value_length_mla", 3);
  Put(&keys, p + "rope.dimension_count", 2);
  Put(&keys, p + "rope.freq_base", 10000.0);
  Put(&keys, p + "rope.scaling.type", "yarn");
  Put(&keys, p + "rope.scaling.factor", 40.0);
  Put(&keys, p + "rope.scaling.original_context_length", 64);
  Put(&keys, p + "rope.scaling.yarn_log_multiplier", 0.0707);
  Put(&keys, p + "leading_dense_block_count", 1);
  Put(&keys, p + "expert_count", 4);
  Put(&keys, p + "expert_used_count", 2);
  Put(&keys, p + "expert_shared_count", 1);
  Put(&keys, p + "expert_feed_forward_length", 3);
  Put(&keys, p + "expert_weights_scale", 2.5);
  Put(&keys, p + "expert_weights_norm", true);
  Put(&keys, p + "expert_gating_func", 2);
  Put(&keys, p + "expert_group_count", 2);
  Put(&keys, p + "expert_group_used_count", 1);
  return keys;
}

Tensors DeepseekTensors() {
  Tensors tensors = {{"token_embd.weight", {5, 8}},
                     {"output_norm.weight", {8}},
                     {"output.weight", {5, 8}},
                     {"blk.0.ffn_gate.weight", {6, 8}},
                     {"blk.0.ffn_up.weight", {6, 8}},
                     {"blk.0.ffn_down.weight", {8, 6}},
                     {"blk.1.ffn_gate_inp.weight", {4, 8}},
                     {"blk.1.exp_probs_b.bias", {4}},
                     {"blk.1.ffn_gate_exps.weight", {4, 3, 8}},
                     {"blk.1.ffn_up_exps.weight", {4, 3, 8}},
                     {"blk.1.ffn_down_exps.weight", {4, 8, 3}},
                     {"blk.1.ffn_gate_shexp.weight", {3, 8}},
                     {"blk.1.ffn_up_shexp.weight", {3, 8}},
                     {"blk.1.ffn_down_shexp.weight", {8, 3}}};
  for (const std::string block : {"blk.0.", "blk.1."}) {
    tensors.insert({{block + "attn_norm.weight", {8}},
                    {block + "ffn_norm.weight", {8}},
                    {block + "attn_q.weight", {8, 8}},
                    {block + "attn_kv_a_mqa.weight", {6, 8}},
                    {block + "attn_kv_a_norm.weight", {4}},
                    {block + "attn_k_b.weight", {2, 4, 2}},
                    {block + "attn_v_b.weight", {2, 3, 4}},
                    {block + "attn_output.weight", {8, 6}}});
  }
  return tensors;
}

absl::StatusOr<OpenedModel> Open(const Keys& keys, const Tensors& tensors) {
  // A name for each: files that are still open must not change.
  static const TempDir dir;
  static int number = 0;
  return OpenModel(dir.Write(std::to_string(++number) + "m.gguf", File(keys, tensors)));
}

std::vector<float> Rows(const Checkpoint& weights, const std::string& name, uint64_t begin,
                        uint64_t end) {
  const TensorInfo* tensor = weights.Find(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (tensor == nullptr) return {};
  std::vector<float> out((end - begin) * tensor->columns());
  EXPECT_TRUE(weights.ReadRows(*tensor, begin, end, out.data()).ok());
  return out;
}

TEST(GgufModel, Llama) {
  Keys keys = LlamaKeys();
  keys["tokenizer.ggml.eos_token_id"] = GgufU32("tokenizer.ggml.eos_token_id", 2);
  const auto model = Open(keys, LlamaTensors());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->config.model_type, ModelType::kLlama);
  EXPECT_EQ(model->config.vocab_size, 5);
  EXPECT_EQ(model->config.head_dim, 4);
  EXPECT_EQ(model->config.rope_theta, 50000.0);
  EXPECT_FALSE(model->config.rope_interleave);
  EXPECT_FALSE(model->config.tie_word_embeddings);
  EXPECT_THAT(model->config.eos_token_ids, ElementsAre(2));
  EXPECT_EQ(model->weights->tensors().size(), ExpectedTensors(model->config).size());
  EXPECT_TRUE(CheckTensors(model->config, *model->weights).ok());
  EXPECT_TRUE(model->notes.empty());
  // The conversion turned each head's rows (0, 1, 2, 3) into (0, 2, 1, 3); reading turns them back.
  const TensorInfo* stored = model->gguf->Find("blk.0.attn_q.weight");
  std::vector<float> raw(64);
  ASSERT_TRUE(model->gguf->ReadRows(*stored, 0, 8, raw.data()).ok());
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  const std::vector<int> order = {0, 2, 1, 3, 4, 6, 5, 7};
  for (int row = 0; row < 8; ++row) {
    EXPECT_EQ(Rows(*model->weights, name, row, row + 1)[0], raw[order[row] * 8]) << row;
  }
  EXPECT_FALSE(model->weights->Find(name)->verbatim);
  EXPECT_TRUE(model->weights->data(*model->weights->Find(name)).empty());
  const TensorInfo* v = model->weights->Find("model.layers.0.self_attn.v_proj.weight");
  EXPECT_TRUE(v->verbatim);
  EXPECT_EQ(model->weights->data(*v).size(), 4u * 8 * 4);
  for (const TensorInfo& tensor : model->weights->tensors()) {
    model->weights->WillNeed(tensor);
    model->weights->DropPages(tensor);
  }
}

TEST(GgufModel, LlamaVariants) {
  Tensors tied = LlamaTensors();
  tied.erase("output.weight");
  EXPECT_TRUE(Open(LlamaKeys(), tied)->config.tie_word_embeddings);

  // A bias is permuted like the rows it belongs to.
  Tensors biased = LlamaTensors();
  biased["blk.0.attn_q.bias"] = {8};
  biased["blk.0.attn_k.bias"] = {4};
  biased["blk.0.attn_v.bias"] = {4};
  const auto with_bias = Open(LlamaKeys(), biased);
  ASSERT_TRUE(with_bias.ok()) << with_bias.status();
  EXPECT_TRUE(with_bias->config.qkv_bias);
  const auto bias = Rows(*with_bias->weights, "model.layers.0.self_attn.q_proj.bias", 0, 1);
  EXPECT_THAT(bias, ElementsAre(bias[0], bias[0] + 2, bias[0] + 1, bias[0] + 3, bias[0] + 4,
                                bias[0] + 6, bias[0] + 5, bias[0] + 7));

  // The llama3 scaling lies in the file as factors.
  Tensors factors = LlamaTensors();
  factors["a.weight"] = {1000};  // takes the values below 1000
  factors["rope_freqs.weight"] = {2};
  const auto scaled = Open(LlamaKeys(), factors);
  ASSERT_TRUE(scaled.ok()) << scaled.status();
  ASSERT_EQ(scaled->config.rope_freq_factors.size(), 2u);
  const double factor = scaled->config.rope_freq_factors[0];
  EXPECT_GT(factor, 999);
  EXPECT_NEAR(MakeRopeTable(scaled->config).inverse_frequencies[0], 1 / factor, 1e-12);
  EXPECT_THAT(scaled->notes, ElementsAre("tensor \"a.weight\" is not used"));
  factors["rope_freqs.weight"] = {3};
  ExpectError(Open(LlamaKeys(), factors).status(), kInvalid,
              {"m.gguf", "rope_freqs.weight", "[2]", "[3]"});
}

TEST(GgufModel, MixtralIsLlamaWithExperts) {
  Keys keys = LlamaKeys();
  Put(&keys, "llama.expert_count", 2);
  Put(&keys, "llama.expert_used_count", 1);
  Tensors tensors = LlamaTensors();
  for (const char* part : {"gate", "up", "down"}) {
    tensors.erase(std::string("blk.0.ffn_") + part + ".weight");
  }
  tensors["blk.0.ffn_gate_inp.weight"] = {2, 8};
  Tensors legacy = tensors;
  tensors["blk.0.ffn_gate_exps.weight"] = {2, 6, 8};
  tensors["blk.0.ffn_up_exps.weight"] = {2, 6, 8};
  tensors["blk.0.ffn_down_exps.weight"] = {2, 8, 6};
  const auto model = Open(keys, tensors);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->config.model_type, ModelType::kMixtral);
  EXPECT_TRUE(model->config.norm_topk_prob);
  const std::string prefix = "model.layers.0.block_sparse_moe.experts.";
  const float first = Rows(*model->weights, prefix + "0.w3.weight", 0, 1)[0];
  EXPECT_EQ(Rows(*model->weights, prefix + "1.w3.weight", 5, 6)[7], first + 95);
  EXPECT_EQ(model->weights->data(*model->weights->Find(prefix + "1.w3.weight")).size(), 192u);
  // Older files: a tensor for each expert.
  for (const std::string e : {"0", "1"}) {
    legacy["blk.0.ffn_gate." + e + ".weight"] = {6, 8};
    legacy["blk.0.ffn_up." + e + ".weight"] = {6, 8};
    legacy["blk.0.ffn_down." + e + ".weight"] = {8, 6};
  }
  const auto old = Open(keys, legacy);
  ASSERT_TRUE(old.ok()) << old.status();
  EXPECT_EQ(Rows(*old->weights, prefix + "1.w2.weight", 7, 8).size(), 6u);
}

TEST(GgufModel, Deepseek) {
  const auto model = Open(DeepseekKeys(), DeepseekTensors());
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelConfig& c = model->config;
  EXPECT_EQ(c.model_type, ModelType::kDeepseekV3);
  EXPECT_EQ(c.num_key_value_heads, 2);
  EXPECT_EQ(c.q_lora_rank, std::nullopt);
  EXPECT_EQ(c.kv_lora_rank, 4);
  EXPECT_EQ(c.qk_nope_head_dim, 2);
  EXPECT_EQ(c.qk_rope_head_dim, 2);
  EXPECT_EQ(c.v_head_dim, 3);
  EXPECT_EQ(c.first_k_dense_replace, 1);
  EXPECT_EQ(c.n_group, 2);
  EXPECT_EQ(c.topk_group, 1);
  EXPECT_EQ(c.topk_method, TopkMethod::kNoauxTc);
  EXPECT_TRUE(c.norm_topk_prob);
  EXPECT_EQ(c.routed_scaling_factor, 2.5);
  EXPECT_TRUE(c.rope_interleave);
  EXPECT_EQ(c.rope.type, RopeType::kYarn);
  EXPECT_NEAR(c.rope.mscale_all_dim, 0.707, 1e-7);
  EXPECT_TRUE(CheckTensors(c, *model->weights).ok());

  // kv_b_proj: for each head 2 rows of keys (columns of attn_k_b), then 3 of values.
  std::vector<float> keys(16), values(24);
  ASSERT_TRUE(
      model->gguf->ReadRows(*model->gguf->Find("blk.1.attn_k_b.weight"), 0, 8, keys.data()).ok());
  ASSERT_TRUE(
      model->gguf->ReadRows(*model->gguf->Find("blk.1.attn_v_b.weight"), 0, 6, values.data()).ok());
  const std::string name = "model.layers.1.self_attn.kv_b_proj.weight";
  const std::vector<float> all = Rows(*model->weights, name, 0, 10);
  for (int h = 0; h < 2; ++h) {
    for (int i = 0; i < 4; ++i) {
      for (int n = 0; n < 2; ++n) EXPECT_EQ(all[(h * 5 + n) * 4 + i], keys[(h * 4 + i) * 2 + n]);
      for (int v = 0; v < 3; ++v) {
        EXPECT_EQ(all[(h * 5 + 2 + v) * 4 + i], values[(h * 3 + v) * 4 + i]);
      }
    }
  }
  const std::vector<float> some = Rows(*model->weights, name, 4, 8);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + 16));
  EXPECT_EQ(Rows(*model->weights, "model.layers.1.mlp.gate.e_score_correction_bias", 0, 1).size(),
            4u);
}

TEST(GgufModel, DeepseekLegacyForms) {
  Keys keys = DeepseekKeys();
  keys.erase("deepseek2.attention.key_length_mla");
  keys.erase("deepseek2.attention.value_length_mla");
  Put(&keys, "deepseek2.attention.key_length", 4);
  Put(&keys, "deepseek2.attention.value_length", 3);
  Put(&keys, "deepseek2.attention.head_count_kv", 2);
  keys.erase("deepseek2.expert_gating_func");
  Tensors tensors = DeepseekTensors();
  for (const std::string block : {"blk.0.", "blk.1."}) {
    tensors[block + "attn_kv_b.weight"] = {10, 4};  // both forms: the whole one is read
  }
  const auto v3 = Open(keys, tensors);
  ASSERT_TRUE(v3.ok()) << v3.status();
  EXPECT_EQ(v3->config.model_type, ModelType::kDeepseekV3);
  EXPECT_EQ(v3->config.qk_nope_head_dim, 2);
  EXPECT_TRUE(v3->weights->Find("model.layers.0.self_attn.kv_b_proj.weight")->verbatim);
  // Without a correction bias and a gating key it is V2.
  tensors.erase("blk.1.exp_probs_b.bias");
  keys.erase("deepseek2.expert_weights_norm");
  const auto v2 = Open(keys, tensors);
  ASSERT_TRUE(v2.ok()) << v2.status();
  EXPECT_EQ(v2->config.model_type, ModelType::kDeepseekV2);
  EXPECT_EQ(v2->config.topk_method, TopkMethod::kGroupLimitedGreedy);
}

TEST(GgufModel, Qwen3MoeKeysAndPredictionLayers) {
  Keys keys;
  for (const auto& [key, piece] : LlamaKeys()) {
    if (!key.starts_with("llama.")) continue;
    const std::string renamed = "qwen3moe." + key.substr(6);
    keys[renamed] = GgufString(renamed) + piece.substr(8 + key.size());
  }
  Put(&keys, "general.architecture", "qwen3moe");
  Put(&keys, "qwen3moe.expert_count", 2);
  Put(&keys, "qwen3moe.expert_used_count", 1);
  Put(&keys, "qwen3moe.expert_feed_forward_length", 3);
  Put(&keys, "qwen3moe.nextn_predict_layers", 1);
  Put(&keys, "qwen3moe.block_count", 2);
  Tensors tensors = LlamaTensors();
  for (const char* part : {"gate", "up", "down"}) {
    tensors.erase(std::string("blk.0.ffn_") + part + ".weight");
  }
  tensors["blk.0.ffn_gate_inp.weight"] = {2, 8};
  tensors["blk.0.ffn_gate_exps.weight"] = {2, 3, 8};
  tensors["blk.0.ffn_up_exps.weight"] = {2, 3, 8};
  tensors["blk.0.ffn_down_exps.weight"] = {2, 8, 3};
  tensors["blk.0.attn_q_norm.weight"] = {4};
  tensors["blk.0.attn_k_norm.weight"] = {4};
  tensors["blk.1.nextn.eh_proj.weight"] = {8, 16};
  const auto model = Open(keys, tensors);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->config.model_type, ModelType::kQwen3Moe);
  EXPECT_EQ(model->config.qk_norm, QkNorm::kPerHead);
  EXPECT_EQ(model->config.num_hidden_layers, 1);
  EXPECT_EQ(model->config.moe_intermediate_size, 3);
  ASSERT_EQ(model->notes.size(), 1u);
  EXPECT_THAT(model->notes[0], testing::HasSubstr("multi-token prediction: 1 tensors"));
  // Rows of q are in the published order already.
  EXPECT_TRUE(model->weights->Find("model.layers.0.self_attn.q_proj.weight")->verbatim);
}

TEST(GgufModel, Faults) {
  const auto open = [](const Keys& keys, const Tensors& tensors) {
    return Open(keys, tensors).status();
  };
  Keys keys = LlamaKeys();
  Put(&keys, "general.architecture", "gemma3");
  ExpectError(open(keys, LlamaTensors()), kUnsupported,
              {"m.gguf: key general.architecture", "architecture gemma3 is not supported",
               "deepseek2", "qwen3moe"});
  for (const char* key : {"general.architecture", "llama.block_count", "llama.embedding_length",
                          "llama.context_length", "llama.attention.head_count",
                          "llama.feed_forward_length", "llama.attention.layer_norm_rms_epsilon"}) {
    keys = LlamaKeys();
    keys.erase(key);
    ExpectError(open(keys, LlamaTensors()), absl::StatusCode::kNotFound,
                {std::string("m.gguf: key ") + key});
  }
  const auto with = [&](const std::string& key, auto value) {
    Keys changed = LlamaKeys();
    Put(&changed, key, value);
    return open(changed, LlamaTensors());
  };
  ExpectError(with("llama.block_count", 1000000), kInvalid, {"num_hidden_layers", "1000000"});
  Keys large = LlamaKeys();
  large["llama.block_count"] = GgufString("llama.block_count") + Bytes<uint32_t>(11) +
                               Bytes(std::numeric_limits<int64_t>::min());
  ExpectError(open(large, LlamaTensors()), kInvalid, {"llama.block_count", "53 bits"});
  ExpectError(with("llama.attention.head_count", 0), kInvalid, {"head_count", "found 0"});
  ExpectError(with("llama.attention.head_count", "x"), kInvalid,
              {"head_count", "integer", "\"x\""});
  ExpectError(with("llama.rope.dimension_count", 6), kInvalid, {"rope.dimension_count", "found 6"});
  ExpectError(with("llama.rope.dimension_count", 2), kUnsupported, {"rope.dimension_count"});
  ExpectError(with("llama.rope.scaling.type", "longrope"), kUnsupported, {"longrope"});
  ExpectError(with("llama.attention.sliding_window", 8), kUnsupported, {"sliding_window"});
  ExpectError(with("llama.attention.value_length", 8), kUnsupported, {"value_length"});
  ExpectError(with("llama.attention.layer_norm_rms_epsilon", 0.0), kInvalid, {"rms_norm_eps"});

  Tensors tensors = LlamaTensors();
  tensors.erase("blk.0.attn_v.weight");
  ExpectError(open(LlamaKeys(), tensors), kInvalid,
              {"m.gguf", "model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight [4, 8]",
               "no such tensor"});
  tensors = LlamaTensors();
  tensors["blk.0.attn_v.weight"] = {8, 4};
  ExpectError(open(LlamaKeys(), tensors), kInvalid,
              {"m.gguf", "blk.0.attn_v.weight", "expected [4, 8]", "found [8, 4]"});
  tensors = LlamaTensors();
  tensors.erase("token_embd.weight");
  ExpectError(open(LlamaKeys(), tensors), kInvalid, {"m.gguf", "token_embd.weight"});
  tensors = LlamaTensors();
  tensors["blk.0.attn_sinks.weight"] = {2};
  ExpectError(open(LlamaKeys(), tensors), kUnsupported, {"blk.0.attn_sinks.weight", "wrong"});
  tensors = LlamaTensors();
  tensors["blk.1.attn_norm.weight"] = {8};
  ExpectError(open(LlamaKeys(), tensors), kUnsupported, {"blk.1.attn_norm.weight"});

  keys = DeepseekKeys();
  Put(&keys, "deepseek2.rope.dimension_count", 4);
  ExpectError(open(keys, DeepseekTensors()), kInvalid, {"key_length_mla", "more than", "found 4"});
  keys = DeepseekKeys();
  Put(&keys, "deepseek2.attention.kv_lora_rank", 0);
  ExpectError(open(keys, DeepseekTensors()), kInvalid, {"kv_lora_rank", "found 0"});
  keys = DeepseekKeys();
  Put(&keys, "deepseek2.expert_gating_func", 3);
  ExpectError(open(keys, DeepseekTensors()), kUnsupported, {"expert_gating_func", "3"});
  tensors = DeepseekTensors();
  tensors["blk.1.attn_k_b.weight"] = {2, 2, 4};
  ExpectError(open(DeepseekKeys(), tensors), kInvalid, {"attn_k_b", "[2, 4, 2]", "[2, 2, 4]"});
  tensors = DeepseekTensors();
  tensors["blk.1.ffn_up_exps.weight"] = {3, 3, 8};
  ExpectError(open(DeepseekKeys(), tensors), kInvalid, {"ffn_up_exps", "[4, 3, 8]", "[3, 3, 8]"});
}

TEST(GgufNames, Table) {
  EXPECT_THAT(GgufTensorNames("lm_head.weight"), ElementsAre("output.weight"));
  EXPECT_THAT(GgufTensorNames("model.layers.12.mlp.down_proj.weight"),
              ElementsAre("blk.12.ffn_down.weight"));
  EXPECT_THAT(GgufTensorNames("model.layers.3.mlp.experts.17.up_proj.weight"),
              ElementsAre("blk.3.ffn_up_exps.weight", "blk.3.ffn_up.17.weight"));
  EXPECT_THAT(GgufTensorNames("model.layers.0.self_attn.q_proj.bias"),
              ElementsAre("blk.0.attn_q.bias"));
  for (const char* name :
       {"", "model", "model.layers.", "model.layers.x.mlp.gate.weight", "model.layers.0.weight",
        "model.layers.0.mlp.experts.1.weight", "model.layers.0.mlp.experts.x.up_proj.weight",
        "model.layers.0.mlp.experts.0.side_proj.weight", "other.weight"}) {
    EXPECT_TRUE(GgufTensorNames(name).empty()) << name;
  }
}

TEST(GgufTokenizer, Fields) {
  Keys keys = LlamaKeys();
  const std::string p = "tokenizer.ggml.";
  Put(&keys, p + "model", "gpt2");
  Put(&keys, p + "pre", "smollm");
  keys["tokens"] = GgufTexts(p + "tokens", {"a", "b", "ab", "<e>"});
  keys["types"] = GgufI32s(p + "token_type", {1, 1, 1, 3});
  keys["merges"] = GgufTexts(p + "merges", {"a b"});
  keys["template"] = GgufText("tokenizer.chat_template", "{{ x }}");
  keys["templates"] = GgufTexts("tokenizer.chat_templates", {"tool"});
  keys["tool"] = GgufText("tokenizer.chat_template.tool", "{{ y }}");
  Put(&keys, p + "bos_token_id", 3);
  keys["pad"] = GgufString(p + "padding_token_id") + Bytes<uint32_t>(5) + Bytes<int32_t>(-1);
  Put(&keys, p + "add_bos_token", false);
  const auto model = Open(keys, LlamaTensors());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto fields = ReadGgufTokenizer(*model->gguf);
  ASSERT_TRUE(fields.ok()) << fields.status();
  EXPECT_EQ(fields->model, "gpt2");
  EXPECT_EQ(fields->pre, "smollm");
  EXPECT_THAT(fields->tokens, ElementsAre("a", "b", "ab", "<e>"));
  EXPECT_THAT(fields->token_types, ElementsAre(1, 1, 1, 3));
  EXPECT_THAT(fields->merges, ElementsAre("a b"));
  EXPECT_TRUE(fields->scores.empty());
  EXPECT_EQ(fields->chat_template, "{{ x }}");
  ASSERT_EQ(fields->named_templates.size(), 1u);
  EXPECT_EQ(fields->named_templates[0].source, "{{ y }}");
  EXPECT_EQ(fields->bos_id, 3u);
  EXPECT_EQ(fields->pad_id, std::nullopt);
  EXPECT_EQ(fields->add_bos, false);
  EXPECT_EQ(fields->add_eos, std::nullopt);
  // The view under published names carries the same keys.
  EXPECT_EQ(ReadGgufTokenizer(*model->weights)->tokens.size(), 4u);

  keys["tokens"] = GgufU32(p + "tokens", 4);
  ExpectError(ReadGgufTokenizer(*Open(keys, LlamaTensors())->gguf).status(), kInvalid,
              {"m.gguf: key tokenizer.ggml.tokens", "an array of strings", "u32 4"});
  keys.erase(p + "model");
  ExpectError(ReadGgufTokenizer(*Open(keys, LlamaTensors())->gguf).status(),
              absl::StatusCode::kNotFound, {"m.gguf: key tokenizer.ggml.model"});
}

}  // namespace
}  // namespace fathom
