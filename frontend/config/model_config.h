// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The typed description of a model, read from config.json or from a GGUF file's keys.
#ifndef FATHOM_FRONTEND_CONFIG_MODEL_CONFIG_H_
#define FATHOM_FRONTEND_CONFIG_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "frontend/weights/checkpoint.h"

namespace fathom {

enum class ModelType {
  kDeepseekV2,
  kDeepseekV3,
  kLlama,
  kQwen2,
  kQwen3,
  kQwen3Moe,
  kMixtral,
  kOlmoe,
};
// The name config.json gives it: "deepseek_v3", "qwen3_moe" ...
const char* ModelTypeName(ModelType type);

// RMS norm of queries and keys before RoPE.
enum class QkNorm {
  kNone,
  kPerHead,    // one weight (head_dim) shared by all heads: qwen3, qwen3_moe
  kFullWidth,  // over all heads at once, weights (heads * head_dim) and (kv_heads * head_dim):
               // olmoe
};

enum class ScoringFunc { kSoftmax, kSigmoid };

// How experts are chosen from the scores s of a token.
enum class TopkMethod {
  kGreedy,              // the num_experts_per_tok largest
  kGroupLimitedGreedy,  // inside the topk_group groups with the largest maximum
  // Inside the topk_group groups with the largest sum of their two best; ranks s + correction
  // bias, weighs with s alone.
  kNoauxTc,
};

enum class RopeType { kDefault, kLinear, kLlama3, kYarn };

// `rope_scaling` (or `rope_parameters`, its name since transformers 5). A field that the type
// does not use keeps its default.
struct RopeScaling {
  RopeType type = RopeType::kDefault;  // rope_type or type
  double factor = 1.0;                 // factor; yarn: max / original positions when absent
  // original_max_position_embeddings; max_position_embeddings when absent. llama3, yarn.
  int64_t original_max_position_embeddings = 0;
  double low_freq_factor = 1.0;            // llama3
  double high_freq_factor = 4.0;           // llama3
  double beta_fast = 32.0;                 // yarn
  double beta_slow = 1.0;                  // yarn
  double mscale = 0.0;                     // yarn; 0 is "absent"
  double mscale_all_dim = 0.0;             // yarn; 0 is "absent"
  std::optional<double> attention_factor;  // yarn; overrides what mscale and factor say
  bool truncate = true;                    // yarn; round the ramp's ends to whole dimensions
};

// `quantization_config` with quant_method fp8: codes with one scale per block.
struct Fp8Quantization {
  int64_t block_rows = 128;     // weight_block_size[0]
  int64_t block_columns = 128;  // weight_block_size[1]
};

// Each field carries its Hugging Face name; the comment gives other spellings and the default.
// "Required" means an error when absent. A config from ReadConfig or ConfigFromGguf has passed
// ValidateConfig; sizes are then positive and bounded so that products of two fit 64 bits.
struct ModelConfig {
  std::string source;                        // the file it came from; opens every message
  ModelType model_type = ModelType::kLlama;  // model_type; required

  int64_t vocab_size = 0;           // required
  int64_t hidden_size = 0;          // required
  int64_t num_hidden_layers = 0;    // required; without the MTP layers of V3 files
  int64_t num_attention_heads = 0;  // required
  int64_t num_key_value_heads = 0;  // num_attention_heads
  int64_t head_dim = 0;             // hidden_size / num_attention_heads; qwen3: 128. Not for latent
  int64_t intermediate_size = 0;    // required; width of the dense feed-forward

  // Latent attention: deepseek_v2, deepseek_v3. kv_lora_rank is 0 for every other type.
  std::optional<int64_t> q_lora_rank;  // null or absent: one q_proj
  int64_t kv_lora_rank = 0;            // required
  int64_t qk_nope_head_dim = 0;        // required
  int64_t qk_rope_head_dim = 0;        // required
  int64_t v_head_dim = 0;              // required; head_dim for the other types

  // Mixture of experts. n_routed_experts is 0 for dense models.
  int64_t n_routed_experts = 0;  // or num_experts, num_local_experts
  int64_t n_shared_experts = 0;  // deepseek; null: 0. One MLP of n x moe_intermediate_size
  int64_t num_experts_per_tok = 0;
  int64_t moe_intermediate_size = 0;  // intermediate_size for mixtral and olmoe
  int64_t n_group = 1;                // 1 for greedy, whatever the file says
  int64_t topk_group = 1;
  TopkMethod topk_method = TopkMethod::kGreedy;
  ScoringFunc scoring_func = ScoringFunc::kSoftmax;
  bool norm_topk_prob = false;  // chosen weights are divided by their sum
  double routed_scaling_factor = 1.0;
  int64_t first_k_dense_replace = 0;     // deepseek: layers below it are dense
  int64_t moe_layer_freq = 1;            // deepseek: of the others every n-th has experts
  int64_t decoder_sparse_step = 1;       // qwen3_moe: layer i has experts when n divides i + 1
  std::vector<int64_t> mlp_only_layers;  // qwen3_moe: ... and it is not listed here

  double rms_norm_eps = 1e-6;      // mixtral, olmoe: 1e-5
  QkNorm qk_norm = QkNorm::kNone;  // by model type
  bool qkv_bias = false;           // attention_bias; qwen2: always
  bool o_bias = false;             // attention_bias; qwen2: never

  double rope_theta = 10000.0;  // mixtral: 1e6
  RopeScaling rope;
  // Pairs are (x[2j], x[2j+1]); otherwise (x[j], x[j + d/2]). deepseek_v2: always. deepseek_v3:
  // rope_interleave, default true. Never for the other types.
  bool rope_interleave = false;
  // One divisor per frequency, from a GGUF file's rope_freqs.weight (the llama3 scaling already
  // worked out); empty otherwise.
  std::vector<double> rope_freq_factors;
  int64_t max_position_embeddings = 0;  // required by none; the type's default when absent

  bool tie_word_embeddings = false;  // the embedding is the output matrix too
  std::optional<int64_t> bos_token_id;
  std::vector<int64_t> eos_token_ids;  // eos_token_id: a number, a list or null
  std::string torch_dtype;             // or dtype; informative
  std::optional<Fp8Quantization> quantization;
  // Multi-token prediction layers behind the last one; recognised and skipped.
  int64_t num_nextn_predict_layers = 0;

  bool is_latent() const { return kv_lora_rank > 0; }
  bool is_moe() const { return n_routed_experts > 0; }
  // Whether layer `layer` (from 0) routes to experts.
  bool is_moe_layer(int64_t layer) const;
  // Dimensions of one head that RoPE turns.
  int64_t rotary_dim() const { return is_latent() ? qk_rope_head_dim : head_dim; }
};

// Reads a config.json (at most 16 MiB). Errors name file and field: InputError for values that are
// wrong in themselves, UnsupportedError for real variants this compiler does not handle (unknown
// model_type, partial rotary, sliding windows shorter than the context, clip_qkv, other
// quantisations ...). Unknown fields are ignored, as published files are full of them.
absl::StatusOr<ModelConfig> ReadConfig(const std::string& path);
// The same from text; `path` is only for messages.
absl::StatusOr<ModelConfig> ParseConfig(std::string_view text, const std::string& path);

// From the keys of an opened GGUF file: architectures llama (mixtral when it has experts), qwen2,
// qwen3, qwen3moe, olmoe and deepseek2 (deepseek_v3 when its routing says so). Fields that GGUF
// does not carry get the values the architecture fixes.
absl::StatusOr<ModelConfig> ConfigFromGguf(const Checkpoint& gguf);

// Every rule between fields and every bound.
absl::Status ValidateConfig(const ModelConfig& config);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_CONFIG_MODEL_CONFIG_H_
