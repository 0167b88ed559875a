// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The hyperparameters of a model, named as in config.json, and the tensors that follow from them.
#ifndef FATHOM_MODELS_REFERENCE_MODEL_CONFIG_H_
#define FATHOM_MODELS_REFERENCE_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::reference {

enum class Family { kDeepseekV2, kDeepseekV3, kLlama, kQwen2, kQwen3, kQwen3Moe, kMixtral, kOlmoe };

enum class RopeScaling { kNone, kYarn, kLlama3 };

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  double original_max_position_embeddings = 4096;
  // YaRN. mscale and mscale_all_dim are 0 when config.json does not have them.
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 0.0;
  double mscale_all_dim = 0.0;
  // llama3
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
};

// How DeepSeek V2 picks experts (topk_method). V3 always uses noaux_tc, the others always greedy.
enum class TopkMethod { kGreedy, kGroupLimitedGreedy, kNoauxTc };

struct ModelConfig {
  Family family = Family::kLlama;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  RopeConfig rope;

  // Grouped-query attention (every family but DeepSeek).
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  // hidden_size / num_attention_heads where config.json has none

  // Latent attention (DeepSeek). q_lora_rank is 0 where config.json says null.
  int64_t q_lora_rank = 0;
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;
  // The layout of a rotated vector: pairs (2j, 2j+1), or halves (j, j + dim/2) when false.
  bool rope_interleave = true;

  // Feed-forward. num_experts is n_routed_experts, num_experts or num_local_experts; 0 = dense.
  int64_t intermediate_size = 0;      // of a dense layer
  int64_t moe_intermediate_size = 0;  // of one expert; Mixtral and OLMoE: their intermediate_size
  int64_t num_experts = 0;
  int64_t num_experts_per_tok = 0;
  int64_t n_shared_experts = 0;
  int64_t first_k_dense_replace = 0;
  int64_t moe_layer_freq = 1;
  TopkMethod topk_method = TopkMethod::kGreedy;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1.0;
};

inline bool IsLatent(const ModelConfig& c) {
  return c.family == Family::kDeepseekV2 || c.family == Family::kDeepseekV3;
}

// True when the feed-forward part of the layer is a mixture of experts.
bool IsMoeLayer(const ModelConfig& config, int64_t layer);

struct TensorShape {
  std::string name;            // as published, e.g. "model.layers.3.mlp.experts.7.up_proj.weight"
  std::vector<int64_t> shape;  // rows first: a linear layer is (outputs, inputs)
};

// Every tensor the forward pass reads, in the order of the layers. Multi-token-prediction layers
// and quantisation scales are not part of it. A tied head is listed once, as the embedding.
std::vector<TensorShape> TensorShapes(const ModelConfig& config);

// The sum of the sizes of TensorShapes. Published totals count e_score_correction_bias too.
int64_t ParameterCount(const ModelConfig& config);

}  // namespace fathom::reference

#endif  // FATHOM_MODELS_REFERENCE_MODEL_CONFIG_H_
