// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a model config must satisfy, wherever it was read from.
#include "frontend/config/model_config.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// Bounds far beyond any published model, small enough that a product of three fits 63 bits and
// that a list of all tensors fits memory.
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 16384;
constexpr int64_t kMaxLayers = 2048;
constexpr int64_t kMaxExperts = 16384;
constexpr int64_t kMaxLayersTimesExperts = 400'000;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxPositions = (int64_t{1} << 31) - 1;

class Checker {
 public:
  explicit Checker(const ModelConfig& config) : config_(config) {}

  absl::Status status() const { return status_; }

  void Range(const char* field, int64_t value, int64_t low, int64_t high) {
    Check(field, value >= low && value <= high, absl::StrCat("a value of ", low, " to ", high),
          absl::StrCat(value));
  }
  void Positive(const char* field, double value) {
    Check(field, std::isfinite(value) && value > 0, "a positive number", absl::StrCat(value));
  }
  // The first failure stays.
  void Check(const char* field, bool good, const std::string& expected, const std::string& found) {
    if (!good && status_.ok()) {
      status_ = InputError(absl::StrCat(config_.source, ": ", field), "value", expected, found);
    }
  }

 private:
  const ModelConfig& config_;
  absl::Status status_;
};

void CheckSizes(const ModelConfig& c, Checker* check) {
  check->Range("vocab_size", c.vocab_size, 1, kMaxVocab);
  check->Range("hidden_size", c.hidden_size, 1, kMaxWidth);
  check->Range("num_hidden_layers", c.num_hidden_layers, 1, kMaxLayers);
  check->Range("num_attention_heads", c.num_attention_heads, 1, kMaxHeads);
  check->Range("num_key_value_heads", c.num_key_value_heads, 1, kMaxHeads);
  check->Range("intermediate_size", c.intermediate_size, 1, kMaxWidth);
  check->Range("max_position_embeddings", c.max_position_embeddings, 1, kMaxPositions);
  check->Range("num_nextn_predict_layers", c.num_nextn_predict_layers, 0, 64);
  check->Positive("rms_norm_eps", c.rms_norm_eps);
  if (!check->status().ok()) return;
  check->Check("num_key_value_heads", c.num_attention_heads % c.num_key_value_heads == 0,
               absl::StrCat("a divisor of num_attention_heads ", c.num_attention_heads),
               absl::StrCat(c.num_key_value_heads));
}

void CheckAttention(const ModelConfig& c, Checker* check) {
  if (c.is_latent() || c.model_type == ModelType::kDeepseekV2 ||
      c.model_type == ModelType::kDeepseekV3) {
    check->Range("kv_lora_rank", c.kv_lora_rank, 1, kMaxWidth);
    if (c.q_lora_rank) check->Range("q_lora_rank", *c.q_lora_rank, 1, kMaxWidth);
    check->Range("qk_nope_head_dim", c.qk_nope_head_dim, 1, kMaxHeadDim);
    check->Range("qk_rope_head_dim", c.qk_rope_head_dim, 2, kMaxHeadDim);
    check->Range("v_head_dim", c.v_head_dim, 1, kMaxHeadDim);
    check->Check("qk_rope_head_dim", c.qk_rope_head_dim % 2 == 0, "an even number",
                 absl::StrCat(c.qk_rope_head_dim));
    return;
  }
  check->Range("head_dim", c.head_dim, 2, kMaxHeadDim);
  check->Check("head_dim", c.head_dim % 2 == 0, "an even number", absl::StrCat(c.head_dim));
  // The product below fits only where the ranges hold.
  if (check->status().ok() && c.qk_norm == QkNorm::kFullWidth) {
    check->Check("head_dim", c.head_dim * c.num_attention_heads == c.hidden_size,
                 absl::StrCat("hidden_size / num_attention_heads of ", c.hidden_size, " / ",
                              c.num_attention_heads),
                 absl::StrCat(c.head_dim));
  }
}

void CheckExperts(const ModelConfig& c, Checker* check) {
  check->Range("n_routed_experts", c.n_routed_experts, 0, kMaxExperts);
  check->Range("n_shared_experts", c.n_shared_experts, 0, 1024);
  check->Range("first_k_dense_replace", c.first_k_dense_replace, 0, kMaxLayers);
  check->Range("moe_layer_freq", c.moe_layer_freq, 1, kMaxLayers);
  check->Range("decoder_sparse_step", c.decoder_sparse_step, 1, kMaxLayers);
  if (!c.is_moe() || !check->status().ok()) return;
  check->Check("n_routed_experts",
               c.n_routed_experts * c.num_hidden_layers <= kMaxLayersTimesExperts,
               absl::StrCat("at most ", kMaxLayersTimesExperts, " experts in all layers"),
               absl::StrCat(c.n_routed_experts, " x ", c.num_hidden_layers));
  check->Range("moe_intermediate_size", c.moe_intermediate_size, 1, kMaxWidth);
  check->Range("num_experts_per_tok", c.num_experts_per_tok, 1, c.n_routed_experts);
  check->Positive("routed_scaling_factor", c.routed_scaling_factor);
  check->Range("n_group", c.n_group, 1, c.n_routed_experts);
  if (!check->status().ok()) return;
  check->Check("n_group", c.n_routed_experts % c.n_group == 0,
               absl::StrCat("a divisor of n_routed_experts ", c.n_routed_experts),
               absl::StrCat(c.n_group));
  check->Range("topk_group", c.topk_group, 1, c.n_group);
  if (!check->status().ok()) return;
  const int64_t per_group = c.n_routed_experts / c.n_group;
  check->Check("num_experts_per_tok", c.num_experts_per_tok <= c.topk_group * per_group,
               absl::StrCat("at most ", c.topk_group * per_group, " (topk_group ", c.topk_group,
                            " groups of ", per_group, " experts)"),
               absl::StrCat(c.num_experts_per_tok));
  check->Check("n_group", c.topk_method != TopkMethod::kNoauxTc || per_group >= 2,
               "at least 2 experts in a group for noaux_tc",
               absl::StrCat(c.n_routed_experts, " experts in ", c.n_group, " groups"));
}

void CheckRope(const ModelConfig& c, Checker* check) {
  check->Positive("rope_theta", c.rope_theta);
  const RopeScaling& rope = c.rope;
  check->Positive("rope_scaling.factor", rope.factor);
  if (rope.type == RopeType::kLlama3 || rope.type == RopeType::kYarn) {
    check->Range("rope_scaling.original_max_position_embeddings",
                 rope.original_max_position_embeddings, 1, kMaxPositions);
  }
  if (rope.type == RopeType::kLlama3) {
    check->Positive("rope_scaling.low_freq_factor", rope.low_freq_factor);
    check->Positive("rope_scaling.high_freq_factor", rope.high_freq_factor);
    check->Check("rope_scaling.high_freq_factor", rope.high_freq_factor > rope.low_freq_factor,
                 absl::StrCat("more than low_freq_factor ", rope.low_freq_factor),
                 absl::StrCat(rope.high_freq_factor));
  }
  if (rope.type == RopeType::kYarn) {
    check->Positive("rope_scaling.beta_fast", rope.beta_fast);
    check->Positive("rope_scaling.beta_slow", rope.beta_slow);
    check->Check("rope_scaling.beta_fast", rope.beta_fast >= rope.beta_slow,
                 absl::StrCat("at least beta_slow ", rope.beta_slow), absl::StrCat(rope.beta_fast));
    check->Check("rope_theta", c.rope_theta > 1, "more than 1 for yarn",
                 absl::StrCat(c.rope_theta));
    check->Check("rope_scaling.mscale", std::isfinite(rope.mscale) && rope.mscale >= 0,
                 "a number of at least 0", absl::StrCat(rope.mscale));
    check->Check("rope_scaling.mscale_all_dim",
                 std::isfinite(rope.mscale_all_dim) && rope.mscale_all_dim >= 0,
                 "a number of at least 0", absl::StrCat(rope.mscale_all_dim));
    if (rope.attention_factor) {
      check->Positive("rope_scaling.attention_factor", *rope.attention_factor);
    }
  }
  if (!c.rope_freq_factors.empty()) {
    check->Check(
        "rope_freqs.weight", static_cast<int64_t>(c.rope_freq_factors.size()) == c.rotary_dim() / 2,
        absl::StrCat(c.rotary_dim() / 2, " factors"), absl::StrCat(c.rope_freq_factors.size()));
    for (const double factor : c.rope_freq_factors) check->Positive("rope_freqs.weight", factor);
  }
}

}  // namespace

const char* ModelTypeName(ModelType type) {
  switch (type) {
    case ModelType::kDeepseekV2:
      return "deepseek_v2";
    case ModelType::kDeepseekV3:
      return "deepseek_v3";
    case ModelType::kLlama:
      return "llama";
    case ModelType::kQwen2:
      return "qwen2";
    case ModelType::kQwen3:
      return "qwen3";
    case ModelType::kQwen3Moe:
      return "qwen3_moe";
    case ModelType::kMixtral:
      return "mixtral";
    case ModelType::kOlmoe:
      return "olmoe";
  }
  return "";
}

bool ModelConfig::is_moe_layer(int64_t layer) const {
  if (!is_moe()) return false;
  switch (model_type) {
    case ModelType::kDeepseekV2:
    case ModelType::kDeepseekV3:
      return layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
    case ModelType::kQwen3Moe:
      return (layer + 1) % decoder_sparse_step == 0 &&
             std::find(mlp_only_layers.begin(), mlp_only_layers.end(), layer) ==
                 mlp_only_layers.end();
    default:
      return true;
  }
}

absl::Status ValidateConfig(const ModelConfig& config) {
  Checker check(config);
  CheckSizes(config, &check);
  if (check.status().ok()) CheckAttention(config, &check);
  if (check.status().ok()) CheckExperts(config, &check);
  if (check.status().ok()) CheckRope(config, &check);
  return check.status();
}

}  // namespace fathom
