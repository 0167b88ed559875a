// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Published model configs as JSON, and edits of them.
#ifndef FATHOM_TESTS_UNIT_FRONTEND_CONFIG_CONFIG_TEXTS_H_
#define FATHOM_TESTS_UNIT_FRONTEND_CONFIG_CONFIG_TEXTS_H_

#include <nlohmann/json.hpp>
#include <string>

namespace fathom {

inline nlohmann::json DeepseekV2Lite() {
  return nlohmann::json::parse(R"({
    "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048,
    "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16,
    "q_lora_rank": null, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "intermediate_size": 10944, "moe_intermediate_size": 1408,
    "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "n_group": 1,
    "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": false,
    "routed_scaling_factor": 1.0, "first_k_dense_replace": 1, "moe_layer_freq": 1,
    "rope_theta": 10000, "rope_scaling": {"type": "yarn", "factor": 40, "beta_fast": 32,
    "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707,
    "original_max_position_embeddings": 4096}, "max_position_embeddings": 163840,
    "rms_norm_eps": 1e-06, "hidden_act": "silu", "tie_word_embeddings": false,
    "attention_bias": false, "bos_token_id": 100000, "eos_token_id": 100001,
    "torch_dtype": "bfloat16"})");
}

inline nlohmann::json DeepseekV3() {
  return nlohmann::json::parse(R"({
    "model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168,
    "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8,
    "topk_group": 4, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true,
    "routed_scaling_factor": 2.5, "first_k_dense_replace": 3, "moe_layer_freq": 1,
    "rope_theta": 10000, "rope_scaling": {"type": "yarn", "factor": 40, "beta_fast": 32,
    "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 4096}, "max_position_embeddings": 163840,
    "rms_norm_eps": 1e-06, "hidden_act": "silu", "tie_word_embeddings": false,
    "attention_bias": false, "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "bfloat16",
    "num_nextn_predict_layers": 1, "quantization_config": {"activation_scheme": "dynamic",
    "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}})");
}

inline nlohmann::json Llama32_1B() {
  return nlohmann::json::parse(R"({
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
    "intermediate_size": 8192, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3",
    "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192}, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": true,
    "attention_bias": false, "mlp_bias": false, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009], "torch_dtype": "bfloat16"})");
}

inline nlohmann::json Qwen3Moe() {
  return nlohmann::json::parse(R"({
    "model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "num_hidden_layers": 48,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
    "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
    "num_experts_per_tok": 8, "norm_topk_prob": true, "decoder_sparse_step": 1,
    "mlp_only_layers": [], "rope_theta": 1000000.0, "rope_scaling": null,
    "max_position_embeddings": 40960, "rms_norm_eps": 1e-06, "hidden_act": "silu",
    "tie_word_embeddings": false, "attention_bias": false, "use_sliding_window": false,
    "sliding_window": null, "max_window_layers": 48, "eos_token_id": 151645})");
}

// A small config of any type that every rule accepts.
inline nlohmann::json Small(const std::string& model_type) {
  nlohmann::json json = {{"model_type", model_type}, {"vocab_size", 64},
                         {"hidden_size", 32},        {"num_hidden_layers", 2},
                         {"num_attention_heads", 4}, {"num_key_value_heads", 2},
                         {"intermediate_size", 48},  {"max_position_embeddings", 128}};
  if (model_type == "qwen3_moe") {
    json.update({{"num_experts", 4}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 16}});
  } else if (model_type == "mixtral") {
    json.update({{"num_local_experts", 4}, {"num_experts_per_tok", 2}});
  } else if (model_type == "olmoe") {
    json.update({{"num_experts", 4}, {"num_experts_per_tok", 2}});
  } else if (model_type.starts_with("deepseek")) {
    json.update({{"num_key_value_heads", 4},
                 {"kv_lora_rank", 32},
                 {"qk_nope_head_dim", 16},
                 {"qk_rope_head_dim", 8},
                 {"v_head_dim", 12},
                 {"n_routed_experts", 8},
                 {"n_shared_experts", 1},
                 {"num_experts_per_tok", 2},
                 {"n_group", 4},
                 {"topk_group", 2},
                 {"moe_intermediate_size", 16},
                 {"first_k_dense_replace", 1}});
  }
  return json;
}

}  // namespace fathom

#endif  // FATHOM_TESTS_UNIT_FRONTEND_CONFIG_CONFIG_TEXTS_H_
