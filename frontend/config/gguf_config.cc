// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A GGUF file's keys to ModelConfig.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "frontend/config/model_config.h"
#include "frontend/weights/json.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// Reads the keys of one architecture: Int("block_count") is "llama.block_count".
class Keys {
 public:
  Keys(const CheckpointMetadata& metadata, std::string arch)
      : metadata_(metadata), arch_(std::move(arch)) {}

  std::string Key(const char* name) const { return absl::StrCat(arch_, ".", name); }
  bool Has(const char* name) const { return metadata_.Has(Key(name)); }
  std::string Where(const char* name) const {
    return absl::StrCat(metadata_.where(), ": key ", Key(name));
  }

  absl::Status RequiredInt(const char* name, int64_t* value) const {
    FATHOM_ASSIGN_OR_RETURN(*value, metadata_.Int(Key(name)));
    // Larger ones mean nothing here, and sums of two of these cannot overflow.
    constexpr int64_t kLimit = int64_t{1} << 53;
    if (*value > kLimit || *value < -kLimit) {
      return InputError(Where(name), "value", "an integer of at most 53 bits", *value);
    }
    return absl::OkStatus();
  }
  absl::Status Int(const char* name, int64_t* value) const {
    return Has(name) ? RequiredInt(name, value) : absl::OkStatus();
  }
  absl::Status RequiredNumber(const char* name, double* value) const {
    FATHOM_ASSIGN_OR_RETURN(*value, metadata_.Float(Key(name)));
    return absl::OkStatus();
  }
  absl::Status Number(const char* name, double* value) const {
    return Has(name) ? RequiredNumber(name, value) : absl::OkStatus();
  }
  absl::Status Bool(const char* name, bool* value) const {
    if (!Has(name)) return absl::OkStatus();
    FATHOM_ASSIGN_OR_RETURN(*value, metadata_.Bool(Key(name)));
    return absl::OkStatus();
  }
  absl::Status String(const char* name, std::string* value) const {
    if (!Has(name)) return absl::OkStatus();
    FATHOM_ASSIGN_OR_RETURN(const std::string_view text, metadata_.String(Key(name)));
    *value = std::string(text);
    return absl::OkStatus();
  }

 private:
  const CheckpointMetadata& metadata_;
  std::string arch_;
};

absl::Status ReadModelType(const std::string& arch, const Checkpoint& gguf, const Keys& keys,
                           ModelType* type) {
  if (arch == "llama") {
    int64_t experts = 0;
    FATHOM_RETURN_IF_ERROR(keys.Int("expert_count", &experts));
    *type = experts > 0 ? ModelType::kMixtral : ModelType::kLlama;
  } else if (arch == "qwen2") {
    *type = ModelType::kQwen2;
  } else if (arch == "qwen3") {
    *type = ModelType::kQwen3;
  } else if (arch == "qwen3moe") {
    *type = ModelType::kQwen3Moe;
  } else if (arch == "olmoe") {
    *type = ModelType::kOlmoe;
  } else if (arch == "deepseek2") {
    // 1 softmax, 2 sigmoid; files older than the key are V2 unless they hold a correction bias.
    int64_t gating = 0;
    FATHOM_RETURN_IF_ERROR(keys.Int("expert_gating_func", &gating));
    if (gating < 0 || gating > 2) {
      return UnsupportedError(keys.Where("expert_gating_func"),
                              absl::StrCat("gating function ", gating,
                                           " is not supported; 1 (softmax) and 2 (sigmoid) are"));
    }
    const bool bias = std::any_of(
        gguf.tensors().begin(), gguf.tensors().end(),
        [](const TensorInfo& t) { return t.name.find(".exp_probs_b") != std::string::npos; });
    *type = gating == 2 || (gating == 0 && bias) ? ModelType::kDeepseekV3 : ModelType::kDeepseekV2;
  } else {
    return UnsupportedError(
        absl::StrCat(gguf.name(), ": key general.architecture"),
        absl::StrCat("architecture ", arch,
                     " is not supported; supported are deepseek2, llama (Mixtral included), "
                     "olmoe, qwen2, qwen3, qwen3moe"));
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const Checkpoint& gguf, const Keys& keys, ModelConfig* c) {
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt("embedding_length", &c->hidden_size));
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt("block_count", &c->num_hidden_layers));
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt("attention.head_count", &c->num_attention_heads));
  c->num_key_value_heads = c->num_attention_heads;
  FATHOM_RETURN_IF_ERROR(keys.Int("attention.head_count_kv", &c->num_key_value_heads));
  FATHOM_RETURN_IF_ERROR(keys.RequiredNumber("attention.layer_norm_rms_epsilon", &c->rms_norm_eps));
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt("context_length", &c->max_position_embeddings));
  FATHOM_RETURN_IF_ERROR(keys.Int("nextn_predict_layers", &c->num_nextn_predict_layers));
  c->num_hidden_layers -= c->num_nextn_predict_layers;  // block_count includes them
  const TensorInfo* embedding = gguf.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return InputError(absl::StrCat(gguf.name(), ": tensor \"token_embd.weight\""), "tensor",
                      "one of rank 2", embedding == nullptr ? "none" : "another rank");
  }
  c->vocab_size = static_cast<int64_t>(embedding->shape[0]);
  c->tie_word_embeddings = gguf.Find("output.weight") == nullptr;
  c->torch_dtype = StorageTypeName(embedding->type);
  int64_t window = 0;
  FATHOM_RETURN_IF_ERROR(keys.Int("attention.sliding_window", &window));
  if (window > 0 && window < c->max_position_embeddings) {
    return UnsupportedError(keys.Where("attention.sliding_window"),
                            absl::StrCat("a window of ", window, " in a context of ",
                                         c->max_position_embeddings, " is not supported"));
  }
  const CheckpointMetadata& metadata = gguf.metadata();
  if (metadata.Has("tokenizer.ggml.bos_token_id")) {
    FATHOM_ASSIGN_OR_RETURN(c->bos_token_id, metadata.Int("tokenizer.ggml.bos_token_id"));
  }
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (!metadata.Has(key)) continue;
    FATHOM_ASSIGN_OR_RETURN(const int64_t id, metadata.Int(key));
    if (std::find(c->eos_token_ids.begin(), c->eos_token_ids.end(), id) == c->eos_token_ids.end()) {
      c->eos_token_ids.push_back(id);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadLatentAttention(const Keys& keys, ModelConfig* c) {
  if (keys.Has("attention.q_lora_rank")) {
    int64_t rank = 0;
    FATHOM_RETURN_IF_ERROR(keys.Int("attention.q_lora_rank", &rank));
    if (rank > 0) c->q_lora_rank = rank;
  }
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt("attention.kv_lora_rank", &c->kv_lora_rank));
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt("rope.dimension_count", &c->qk_rope_head_dim));
  // Files with split kv_b tensors describe the compressed cache under key_length and the heads
  // under key_length_mla; older ones have the heads under key_length.
  const bool split = keys.Has("attention.key_length_mla");
  const char* key_name = split ? "attention.key_length_mla" : "attention.key_length";
  const char* value_name = split ? "attention.value_length_mla" : "attention.value_length";
  int64_t head = 0;
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt(key_name, &head));
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt(value_name, &c->v_head_dim));
  if (head <= c->qk_rope_head_dim || head > 1 << 20) {
    return InputError(keys.Where(key_name), "value",
                      absl::StrCat("more than rope.dimension_count ", c->qk_rope_head_dim), head);
  }
  c->qk_nope_head_dim = head - c->qk_rope_head_dim;
  c->num_key_value_heads = c->num_attention_heads;
  c->rope_interleave = true;
  return absl::OkStatus();
}

absl::Status ReadAttention(const Checkpoint& gguf, const Keys& keys, ModelConfig* c) {
  if (c->num_attention_heads <= 0) {
    return InputError(keys.Where("attention.head_count"), "value", "a positive number",
                      c->num_attention_heads);
  }
  c->head_dim = c->hidden_size / c->num_attention_heads;
  FATHOM_RETURN_IF_ERROR(keys.Int("attention.key_length", &c->head_dim));
  c->v_head_dim = c->head_dim;
  FATHOM_RETURN_IF_ERROR(keys.Int("attention.value_length", &c->v_head_dim));
  if (c->v_head_dim != c->head_dim) {
    return UnsupportedError(keys.Where("attention.value_length"),
                            absl::StrCat("values of width ", c->v_head_dim, " beside keys of ",
                                         c->head_dim, " are not supported"));
  }
  int64_t rotary = c->head_dim;
  FATHOM_RETURN_IF_ERROR(keys.Int("rope.dimension_count", &rotary));
  if (rotary > c->head_dim) {
    return InputError(keys.Where("rope.dimension_count"), "value",
                      absl::StrCat("at most the head's ", c->head_dim), rotary);
  }
  if (rotary != c->head_dim) {
    return UnsupportedError(
        keys.Where("rope.dimension_count"),
        absl::StrCat("rotating ", rotary, " of ", c->head_dim, " dimensions is not supported"));
  }
  c->qkv_bias = gguf.Find("blk.0.attn_q.bias") != nullptr;
  c->o_bias = gguf.Find("blk.0.attn_output.bias") != nullptr;
  if (c->model_type == ModelType::kQwen3 || c->model_type == ModelType::kQwen3Moe) {
    c->qk_norm = QkNorm::kPerHead;
  } else if (c->model_type == ModelType::kOlmoe) {
    c->qk_norm = QkNorm::kFullWidth;
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const Keys& keys, ModelConfig* c) {
  FATHOM_RETURN_IF_ERROR(keys.Int("feed_forward_length", &c->intermediate_size));
  FATHOM_RETURN_IF_ERROR(keys.Int("expert_count", &c->n_routed_experts));
  if (c->n_routed_experts == 0) {
    return keys.RequiredInt("feed_forward_length", &c->intermediate_size);
  }
  FATHOM_RETURN_IF_ERROR(keys.RequiredInt("expert_used_count", &c->num_experts_per_tok));
  c->moe_intermediate_size = c->intermediate_size;
  FATHOM_RETURN_IF_ERROR(keys.Int("expert_feed_forward_length", &c->moe_intermediate_size));
  // A model of experts alone need not give the width of dense layers it does not have.
  if (c->intermediate_size == 0) c->intermediate_size = c->moe_intermediate_size;
  switch (c->model_type) {
    case ModelType::kMixtral:
    case ModelType::kQwen3Moe:
      c->norm_topk_prob = true;  // fixed for these architectures in GGUF
      return absl::OkStatus();
    case ModelType::kOlmoe:
      return absl::OkStatus();
    default:
      break;
  }
  FATHOM_RETURN_IF_ERROR(keys.Int("leading_dense_block_count", &c->first_k_dense_replace));
  FATHOM_RETURN_IF_ERROR(keys.Int("expert_shared_count", &c->n_shared_experts));
  FATHOM_RETURN_IF_ERROR(keys.Number("expert_weights_scale", &c->routed_scaling_factor));
  if (c->routed_scaling_factor == 0) c->routed_scaling_factor = 1.0;  // "not set"
  FATHOM_RETURN_IF_ERROR(keys.Bool("expert_weights_norm", &c->norm_topk_prob));
  FATHOM_RETURN_IF_ERROR(keys.Int("expert_group_count", &c->n_group));
  FATHOM_RETURN_IF_ERROR(keys.Int("expert_group_used_count", &c->topk_group));
  if (c->model_type == ModelType::kDeepseekV3) {
    c->topk_method = TopkMethod::kNoauxTc;
    c->scoring_func = ScoringFunc::kSigmoid;
  } else if (c->norm_topk_prob) {
    return UnsupportedError(keys.Where("expert_weights_norm"),
                            "true is not supported with softmax gating");
  } else if (c->n_group > 1) {
    c->topk_method = TopkMethod::kGroupLimitedGreedy;
  }
  return absl::OkStatus();
}

absl::Status ReadRope(const Checkpoint& gguf, const Keys& keys, ModelConfig* c) {
  FATHOM_RETURN_IF_ERROR(keys.Number("rope.freq_base", &c->rope_theta));
  RopeScaling& rope = c->rope;
  std::string type = "none";
  FATHOM_RETURN_IF_ERROR(keys.String("rope.scaling.type", &type));
  if (!keys.Has("rope.scaling.type") && keys.Has("rope.scale_linear")) {
    FATHOM_RETURN_IF_ERROR(keys.Number("rope.scale_linear", &rope.factor));
    if (rope.factor != 1.0) rope.type = RopeType::kLinear;
  } else if (type == "linear" || type == "yarn") {
    rope.type = type == "yarn" ? RopeType::kYarn : RopeType::kLinear;
    FATHOM_RETURN_IF_ERROR(keys.RequiredNumber("rope.scaling.factor", &rope.factor));
  } else if (type != "none") {
    return UnsupportedError(keys.Where("rope.scaling.type"),
                            absl::StrCat(Quoted(type),
                                         " is not supported; supported: none, "
                                         "linear, yarn"));
  }
  if (rope.type == RopeType::kYarn) {
    rope.original_max_position_embeddings = c->max_position_embeddings;
    FATHOM_RETURN_IF_ERROR(
        keys.Int("rope.scaling.original_context_length", &rope.original_max_position_embeddings));
    FATHOM_RETURN_IF_ERROR(keys.Number("rope.scaling.yarn_beta_fast", &rope.beta_fast));
    FATHOM_RETURN_IF_ERROR(keys.Number("rope.scaling.yarn_beta_slow", &rope.beta_slow));
    // The file holds 0.1 mscale_all_dim; published configs have the same value as mscale.
    double multiplier = 0;
    FATHOM_RETURN_IF_ERROR(keys.Number("rope.scaling.yarn_log_multiplier", &multiplier));
    rope.mscale = rope.mscale_all_dim = 10.0 * multiplier;
    if (keys.Has("rope.scaling.yarn_attn_factor")) {
      double factor = 1;
      FATHOM_RETURN_IF_ERROR(keys.Number("rope.scaling.yarn_attn_factor", &factor));
      rope.attention_factor = factor;
    }
  }
  const TensorInfo* factors = gguf.Find("rope_freqs.weight");
  if (factors == nullptr) return absl::OkStatus();
  const uint64_t expected = static_cast<uint64_t>(std::max<int64_t>(c->rotary_dim() / 2, 0));
  if (factors->elements() != expected) {
    return InputError(absl::StrCat(gguf.name(), ": tensor \"rope_freqs.weight\""), "shape",
                      absl::StrCat("[", expected, "]"), ShapeString(factors->shape));
  }
  std::vector<float> values(factors->elements());
  FATHOM_RETURN_IF_ERROR(gguf.ReadRows(*factors, 0, factors->rows(), values.data()));
  c->rope_freq_factors.assign(values.begin(), values.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ConfigFromGguf(const Checkpoint& gguf) {
  if (gguf.kind() != CheckpointKind::kGguf) {
    return InputError(gguf.name(), "kind of checkpoint", "a GGUF file", "another kind");
  }
  FATHOM_ASSIGN_OR_RETURN(const std::string_view arch,
                          gguf.metadata().String("general.architecture"));
  const Keys keys(gguf.metadata(), std::string(arch));
  ModelConfig config;
  config.source = gguf.name();
  FATHOM_RETURN_IF_ERROR(ReadModelType(std::string(arch), gguf, keys, &config.model_type));
  FATHOM_RETURN_IF_ERROR(ReadSizes(gguf, keys, &config));
  if (arch == "deepseek2") {
    FATHOM_RETURN_IF_ERROR(ReadLatentAttention(keys, &config));
  } else {
    FATHOM_RETURN_IF_ERROR(ReadAttention(gguf, keys, &config));
  }
  FATHOM_RETURN_IF_ERROR(ReadExperts(keys, &config));
  FATHOM_RETURN_IF_ERROR(ReadRope(gguf, keys, &config));
  FATHOM_RETURN_IF_ERROR(ValidateConfig(config));
  return config;
}

}  // namespace fathom
