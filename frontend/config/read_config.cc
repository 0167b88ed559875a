// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// config.json to ModelConfig: names, defaults and the variants that are refused.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "frontend/config/model_config.h"
#include "frontend/weights/json.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

using Json = nlohmann::json;

constexpr JsonLimits kConfigLimits = {
    .max_bytes = 16 << 20, .max_depth = 64, .max_values = 1 << 20};

// One JSON object read field by field. Absent and null mean the same: the field keeps the value it
// has. Errors carry "file: prefix.field".
class Fields {
 public:
  Fields(const Json& object, std::string where, std::string prefix = "")
      : object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {}

  std::string Where(const std::string& field) const {
    return absl::StrCat(where_, ": ", prefix_, field);
  }

  const Json* Find(const std::string& field) const {
    const auto it = object_.find(field);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  absl::Status Missing(const std::string& field, const char* expected) const {
    return InputError(Where(field), "value", expected, object_.contains(field) ? "null" : "none");
  }

  absl::Status Int(const std::string& field, int64_t* value) const {
    const Json* json = Find(field);
    if (json == nullptr) return absl::OkStatus();
    return AsInt(*json, Where(field), value);
  }
  absl::Status RequiredInt(const std::string& field, int64_t* value) const {
    if (Find(field) == nullptr) return Missing(field, "an integer");
    return Int(field, value);
  }

  static absl::Status AsInt(const Json& json, const std::string& where, int64_t* value) {
    // Larger ones mean nothing here, and sums of two of these cannot overflow.
    constexpr int64_t kLimit = int64_t{1} << 53;
    if (!json.is_number_integer() ||
        (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{kLimit}) ||
        json.get<int64_t>() < -kLimit) {
      return InputError(where, "value", "an integer of at most 53 bits", DescribeJson(json));
    }
    *value = json.get<int64_t>();
    return absl::OkStatus();
  }

  absl::Status Number(const std::string& field, double* value) const {
    const Json* json = Find(field);
    if (json == nullptr) return absl::OkStatus();
    if (!json->is_number()) {
      return InputError(Where(field), "value", "a number", DescribeJson(*json));
    }
    *value = json->get<double>();
    return absl::OkStatus();
  }

  absl::Status Bool(const std::string& field, bool* value) const {
    const Json* json = Find(field);
    if (json == nullptr) return absl::OkStatus();
    if (!json->is_boolean()) {
      return InputError(Where(field), "value", "true or false", DescribeJson(*json));
    }
    *value = json->get<bool>();
    return absl::OkStatus();
  }

  absl::Status String(const std::string& field, std::string* value) const {
    const Json* json = Find(field);
    if (json == nullptr) return absl::OkStatus();
    if (!json->is_string()) {
      return InputError(Where(field), "value", "a string", DescribeJson(*json));
    }
    *value = json->get<std::string>();
    return absl::OkStatus();
  }

  // A list of integers, or one integer for a list of one.
  absl::Status Ints(const std::string& field, std::vector<int64_t>* values) const {
    const Json* json = Find(field);
    if (json == nullptr) return absl::OkStatus();
    values->clear();
    if (!json->is_array()) {
      values->resize(1);
      return AsInt(*json, Where(field), &(*values)[0]);
    }
    for (const Json& element : *json) {
      values->push_back(0);
      FATHOM_RETURN_IF_ERROR(AsInt(element, Where(field), &values->back()));
    }
    return absl::OkStatus();
  }

  // The same quantity under several names; two that differ are an error.
  absl::Status IntOfNames(const std::vector<std::string>& names, int64_t* value) const {
    const std::string* first = nullptr;
    for (const std::string& name : names) {
      if (Find(name) == nullptr) continue;
      int64_t found = 0;
      FATHOM_RETURN_IF_ERROR(Int(name, &found));
      if (first != nullptr && found != *value) {
        return InputError(Where(name), "value", absl::StrCat(*value, " as in ", *first), found);
      }
      first = &name;
      *value = found;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Fields> Object(const std::string& field) const {
    const Json* json = Find(field);
    if (json == nullptr || !json->is_object()) {
      return InputError(Where(field), "value", "an object",
                        json == nullptr ? "none" : DescribeJson(*json));
    }
    return Fields(*json, where_, absl::StrCat(prefix_, field, "."));
  }

 private:
  const Json& object_;
  std::string where_;
  std::string prefix_;
};

absl::Status ReadModelType(const Fields& fields, ModelType* type) {
  if (fields.Find("model_type") == nullptr) return fields.Missing("model_type", "a string");
  std::string name;
  FATHOM_RETURN_IF_ERROR(fields.String("model_type", &name));
  std::string known;
  for (int i = 0; i <= static_cast<int>(ModelType::kOlmoe); ++i) {
    const char* candidate = ModelTypeName(static_cast<ModelType>(i));
    if (name == candidate) {
      *type = static_cast<ModelType>(i);
      return absl::OkStatus();
    }
    absl::StrAppend(&known, i == 0 ? "" : ", ", candidate);
  }
  return UnsupportedError(
      fields.Where("model_type"),
      absl::StrCat("architecture ", name, " is not supported; supported are ", known));
}

// What the transformers classes assume where a file is silent.
void SetDefaults(ModelConfig* c) {
  switch (c->model_type) {
    case ModelType::kDeepseekV2:
      c->max_position_embeddings = 2048;
      break;
    case ModelType::kDeepseekV3:
      c->max_position_embeddings = 4096;
      c->n_group = 8;
      c->topk_group = 4;
      c->first_k_dense_replace = 3;
      c->norm_topk_prob = true;
      c->routed_scaling_factor = 2.5;
      break;
    case ModelType::kLlama:
      c->max_position_embeddings = 2048;
      break;
    case ModelType::kQwen2:
      c->max_position_embeddings = 32768;
      break;
    case ModelType::kQwen3:
      c->max_position_embeddings = 32768;
      c->head_dim = 128;
      break;
    case ModelType::kQwen3Moe:
      c->max_position_embeddings = 32768;
      c->n_routed_experts = 128;
      c->num_experts_per_tok = 8;
      break;
    case ModelType::kMixtral:
      c->max_position_embeddings = 131072;
      c->n_routed_experts = 8;
      c->num_experts_per_tok = 2;
      c->rms_norm_eps = 1e-5;
      c->rope_theta = 1e6;
      c->norm_topk_prob = true;
      break;
    case ModelType::kOlmoe:
      c->max_position_embeddings = 4096;
      c->n_routed_experts = 64;
      c->num_experts_per_tok = 8;
      c->rms_norm_eps = 1e-5;
      break;
  }
}

absl::Status ReadSizes(const Fields& fields, ModelConfig* c) {
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("vocab_size", &c->vocab_size));
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("hidden_size", &c->hidden_size));
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("num_hidden_layers", &c->num_hidden_layers));
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("num_attention_heads", &c->num_attention_heads));
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("intermediate_size", &c->intermediate_size));
  c->num_key_value_heads = c->num_attention_heads;
  FATHOM_RETURN_IF_ERROR(fields.Int("num_key_value_heads", &c->num_key_value_heads));
  FATHOM_RETURN_IF_ERROR(fields.Int("max_position_embeddings", &c->max_position_embeddings));
  FATHOM_RETURN_IF_ERROR(fields.Number("rms_norm_eps", &c->rms_norm_eps));
  FATHOM_RETURN_IF_ERROR(fields.Bool("tie_word_embeddings", &c->tie_word_embeddings));
  FATHOM_RETURN_IF_ERROR(fields.String("torch_dtype", &c->torch_dtype));
  FATHOM_RETURN_IF_ERROR(fields.String("dtype", &c->torch_dtype));
  FATHOM_RETURN_IF_ERROR(fields.IntOfNames({"num_nextn_predict_layers", "num_mtp_layers"},
                                           &c->num_nextn_predict_layers));
  FATHOM_RETURN_IF_ERROR(fields.Ints("eos_token_id", &c->eos_token_ids));
  int64_t bos = -1;
  FATHOM_RETURN_IF_ERROR(fields.Int("bos_token_id", &bos));
  if (fields.Find("bos_token_id") != nullptr) c->bos_token_id = bos;
  std::string activation = "silu";
  FATHOM_RETURN_IF_ERROR(fields.String("hidden_act", &activation));
  if (activation != "silu" && activation != "swish") {
    return UnsupportedError(
        fields.Where("hidden_act"),
        absl::StrCat("activation ", Quoted(activation), " is not supported; silu is"));
  }
  bool mlp_bias = false;
  FATHOM_RETURN_IF_ERROR(fields.Bool("mlp_bias", &mlp_bias));
  if (mlp_bias) return UnsupportedError(fields.Where("mlp_bias"), "true is not supported");
  return absl::OkStatus();
}

absl::Status ReadLatentAttention(const Fields& fields, ModelConfig* c) {
  if (fields.Find("q_lora_rank") != nullptr) {
    int64_t rank = 0;
    FATHOM_RETURN_IF_ERROR(fields.Int("q_lora_rank", &rank));
    c->q_lora_rank = rank;
  }
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("kv_lora_rank", &c->kv_lora_rank));
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("qk_nope_head_dim", &c->qk_nope_head_dim));
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("qk_rope_head_dim", &c->qk_rope_head_dim));
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("v_head_dim", &c->v_head_dim));
  if (const Json* both = fields.Find("qk_head_dim")) {
    int64_t head = 0;
    FATHOM_RETURN_IF_ERROR(Fields::AsInt(*both, fields.Where("qk_head_dim"), &head));
    if (c->qk_rope_head_dim > head) {
      return InputError(fields.Where("qk_rope_head_dim"), "value",
                        absl::StrCat("at most qk_head_dim ", head), c->qk_rope_head_dim);
    }
    if (head - c->qk_rope_head_dim != c->qk_nope_head_dim) {
      return InputError(fields.Where("qk_head_dim"), "value",
                        absl::StrCat("qk_nope_head_dim + qk_rope_head_dim of ", c->qk_nope_head_dim,
                                     " + ", c->qk_rope_head_dim),
                        head);
    }
  }
  c->rope_interleave = true;
  if (c->model_type == ModelType::kDeepseekV3) {
    FATHOM_RETURN_IF_ERROR(fields.Bool("rope_interleave", &c->rope_interleave));
  }
  return absl::OkStatus();
}

absl::Status ReadAttention(const Fields& fields, ModelConfig* c) {
  bool attention_bias = false;
  FATHOM_RETURN_IF_ERROR(fields.Bool("attention_bias", &attention_bias));
  switch (c->model_type) {
    case ModelType::kDeepseekV2:
    case ModelType::kDeepseekV3:
      if (attention_bias) {
        return UnsupportedError(fields.Where("attention_bias"),
                                "true is not supported with latent attention");
      }
      return ReadLatentAttention(fields, c);
    case ModelType::kQwen2:
      c->qkv_bias = true;
      break;
    case ModelType::kMixtral:
      break;
    default:
      c->qkv_bias = c->o_bias = attention_bias;
  }
  if (c->model_type == ModelType::kQwen3 || c->model_type == ModelType::kQwen3Moe) {
    c->qk_norm = QkNorm::kPerHead;
  } else if (c->model_type == ModelType::kOlmoe) {
    c->qk_norm = QkNorm::kFullWidth;
  }
  FATHOM_RETURN_IF_ERROR(fields.Int("head_dim", &c->head_dim));
  if (fields.Find("head_dim") == nullptr && c->head_dim == 0) {
    if (c->num_attention_heads <= 0 || c->hidden_size % c->num_attention_heads != 0) {
      return InputError(
          fields.Where("num_attention_heads"), "value",
          absl::StrCat("a divisor of hidden_size ", c->hidden_size, " when there is no head_dim"),
          c->num_attention_heads);
    }
    c->head_dim = c->hidden_size / c->num_attention_heads;
  }
  c->v_head_dim = c->head_dim;
  double clip = 0;
  FATHOM_RETURN_IF_ERROR(fields.Number("clip_qkv", &clip));
  if (fields.Find("clip_qkv") != nullptr) {
    return UnsupportedError(fields.Where("clip_qkv"),
                            absl::StrCat("clipping at ", clip, " is not supported"));
  }
  return absl::OkStatus();
}

// A window that no position of the context exceeds changes nothing; a shorter one is refused.
absl::Status CheckSlidingWindow(const Fields& fields, const ModelConfig& c) {
  if (c.is_latent() || c.model_type == ModelType::kLlama || c.model_type == ModelType::kOlmoe) {
    return absl::OkStatus();
  }
  bool used = c.model_type == ModelType::kMixtral;
  FATHOM_RETURN_IF_ERROR(fields.Bool("use_sliding_window", &used));
  int64_t window = 0;
  FATHOM_RETURN_IF_ERROR(fields.Int("sliding_window", &window));
  const bool shorter =
      fields.Find("sliding_window") != nullptr && window < c.max_position_embeddings;
  if (const Json* types = fields.Find("layer_types")) {
    if (!types->is_array()) {
      return InputError(fields.Where("layer_types"), "value", "an array", DescribeJson(*types));
    }
    for (const Json& type : *types) {
      if (type == "full_attention" || (type == "sliding_attention" && !shorter)) continue;
      return UnsupportedError(fields.Where("layer_types"),
                              absl::StrCat("layers of kind ", DescribeJson(type),
                                           " are not supported; \"full_attention\" is"));
    }
    return absl::OkStatus();
  }
  if (!used || !shorter) return absl::OkStatus();
  if (c.model_type == ModelType::kQwen2 || c.model_type == ModelType::kQwen3) {
    int64_t first = 28;
    FATHOM_RETURN_IF_ERROR(fields.Int("max_window_layers", &first));
    if (first >= c.num_hidden_layers) return absl::OkStatus();
  }
  return UnsupportedError(fields.Where("sliding_window"),
                          absl::StrCat("a window of ", window, " in a context of ",
                                       c.max_position_embeddings, " is not supported"));
}

absl::Status ReadDeepseekRouting(const Fields& fields, ModelConfig* c) {
  const bool v3 = c->model_type == ModelType::kDeepseekV3;
  FATHOM_RETURN_IF_ERROR(fields.Int("first_k_dense_replace", &c->first_k_dense_replace));
  FATHOM_RETURN_IF_ERROR(fields.Int("moe_layer_freq", &c->moe_layer_freq));
  FATHOM_RETURN_IF_ERROR(fields.Int("n_group", &c->n_group));
  FATHOM_RETURN_IF_ERROR(fields.Int("topk_group", &c->topk_group));
  std::string method = v3 ? "noaux_tc" : "greedy";
  FATHOM_RETURN_IF_ERROR(fields.String("topk_method", &method));
  std::string scoring = v3 ? "sigmoid" : "softmax";
  FATHOM_RETURN_IF_ERROR(fields.String("scoring_func", &scoring));
  const auto refuse = [&](const char* field, const std::string& value, const char* supported) {
    return UnsupportedError(fields.Where(field),
                            absl::StrCat(Quoted(value), " is not supported for ",
                                         ModelTypeName(c->model_type), "; supported: ", supported));
  };
  if (v3) {
    if (method != "noaux_tc") return refuse("topk_method", method, "noaux_tc");
    if (scoring != "sigmoid") return refuse("scoring_func", scoring, "sigmoid");
    c->topk_method = TopkMethod::kNoauxTc;
    c->scoring_func = ScoringFunc::kSigmoid;
    return absl::OkStatus();
  }
  if (scoring != "softmax") return refuse("scoring_func", scoring, "softmax");
  if (c->norm_topk_prob) {
    // The original code then normalises instead of scaling, transformers ignores the field.
    return refuse("norm_topk_prob", "true", "false (published implementations disagree)");
  }
  if (method == "group_limited_greedy") {
    c->topk_method = TopkMethod::kGroupLimitedGreedy;
  } else if (method == "greedy") {
    c->n_group = c->topk_group = 1;
  } else {
    return refuse("topk_method", method, "greedy, group_limited_greedy");
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const Fields& fields, ModelConfig* c) {
  const bool deepseek = c->is_latent();
  if (!deepseek && !c->is_moe()) return absl::OkStatus();  // llama, qwen2, qwen3
  FATHOM_RETURN_IF_ERROR(fields.IntOfNames({"n_routed_experts", "num_experts", "num_local_experts"},
                                           &c->n_routed_experts));
  FATHOM_RETURN_IF_ERROR(fields.Bool("norm_topk_prob", &c->norm_topk_prob));
  if (c->model_type == ModelType::kMixtral) c->norm_topk_prob = true;
  if (c->n_routed_experts == 0) return absl::OkStatus();
  FATHOM_RETURN_IF_ERROR(fields.Int("num_experts_per_tok", &c->num_experts_per_tok));
  if (c->model_type == ModelType::kMixtral || c->model_type == ModelType::kOlmoe) {
    c->moe_intermediate_size = c->intermediate_size;
    return absl::OkStatus();
  }
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("moe_intermediate_size", &c->moe_intermediate_size));
  if (c->model_type == ModelType::kQwen3Moe) {
    FATHOM_RETURN_IF_ERROR(fields.Int("decoder_sparse_step", &c->decoder_sparse_step));
    return fields.Ints("mlp_only_layers", &c->mlp_only_layers);
  }
  FATHOM_RETURN_IF_ERROR(fields.RequiredInt("num_experts_per_tok", &c->num_experts_per_tok));
  FATHOM_RETURN_IF_ERROR(fields.Int("n_shared_experts", &c->n_shared_experts));
  FATHOM_RETURN_IF_ERROR(fields.Number("routed_scaling_factor", &c->routed_scaling_factor));
  return ReadDeepseekRouting(fields, c);
}

absl::Status ReadRopeType(const Fields& scaling, RopeType* type) {
  // "type" is the older spelling; files of transformers 5 carry both.
  std::string name = "default";
  FATHOM_RETURN_IF_ERROR(scaling.String("type", &name));
  FATHOM_RETURN_IF_ERROR(scaling.String("rope_type", &name));
  static const std::map<std::string, RopeType> kTypes = {{"default", RopeType::kDefault},
                                                         {"linear", RopeType::kLinear},
                                                         {"llama3", RopeType::kLlama3},
                                                         {"yarn", RopeType::kYarn}};
  const auto it = kTypes.find(name);
  if (it == kTypes.end()) {
    return UnsupportedError(scaling.Where("rope_type"),
                            absl::StrCat(Quoted(name),
                                         " is not supported; supported: default, "
                                         "linear, llama3, yarn"));
  }
  *type = it->second;
  return absl::OkStatus();
}

absl::Status CheckFullRotary(const Fields& fields) {
  double part = 1.0;
  FATHOM_RETURN_IF_ERROR(fields.Number("partial_rotary_factor", &part));
  if (part == 1.0) return absl::OkStatus();
  if (!(part > 0 && part < 1)) {
    return InputError(fields.Where("partial_rotary_factor"), "value", "a number of 0 to 1", part);
  }
  return UnsupportedError(fields.Where("partial_rotary_factor"),
                          absl::StrCat("rotating ", part, " of a head is not supported; 1 is"));
}

absl::Status ReadRopeScaling(const Fields& scaling, ModelConfig* c) {
  RopeScaling& rope = c->rope;
  FATHOM_RETURN_IF_ERROR(ReadRopeType(scaling, &rope.type));
  FATHOM_RETURN_IF_ERROR(scaling.Number("rope_theta", &c->rope_theta));
  FATHOM_RETURN_IF_ERROR(CheckFullRotary(scaling));
  if (rope.type == RopeType::kDefault) return absl::OkStatus();
  rope.original_max_position_embeddings = c->max_position_embeddings;
  FATHOM_RETURN_IF_ERROR(
      scaling.Int("original_max_position_embeddings", &rope.original_max_position_embeddings));
  FATHOM_RETURN_IF_ERROR(scaling.Number("factor", &rope.factor));
  if (scaling.Find("factor") == nullptr) {
    if (rope.type != RopeType::kYarn || rope.original_max_position_embeddings <= 0) {
      return scaling.Missing("factor", "a number");
    }
    rope.factor = static_cast<double>(c->max_position_embeddings) /
                  static_cast<double>(rope.original_max_position_embeddings);
  }
  if (rope.type == RopeType::kLlama3) {
    for (const char* field : {"low_freq_factor", "high_freq_factor"}) {
      if (scaling.Find(field) == nullptr) return scaling.Missing(field, "a number");
    }
    FATHOM_RETURN_IF_ERROR(scaling.Number("low_freq_factor", &rope.low_freq_factor));
    return scaling.Number("high_freq_factor", &rope.high_freq_factor);
  }
  if (rope.type != RopeType::kYarn) return absl::OkStatus();
  FATHOM_RETURN_IF_ERROR(scaling.Number("beta_fast", &rope.beta_fast));
  FATHOM_RETURN_IF_ERROR(scaling.Number("beta_slow", &rope.beta_slow));
  FATHOM_RETURN_IF_ERROR(scaling.Number("mscale", &rope.mscale));
  FATHOM_RETURN_IF_ERROR(scaling.Number("mscale_all_dim", &rope.mscale_all_dim));
  FATHOM_RETURN_IF_ERROR(scaling.Bool("truncate", &rope.truncate));
  if (scaling.Find("attention_factor") != nullptr) {
    double factor = 0;
    FATHOM_RETURN_IF_ERROR(scaling.Number("attention_factor", &factor));
    rope.attention_factor = factor;
  }
  return absl::OkStatus();
}

absl::Status ReadRope(const Fields& fields, ModelConfig* c) {
  FATHOM_RETURN_IF_ERROR(fields.Number("rope_theta", &c->rope_theta));
  FATHOM_RETURN_IF_ERROR(CheckFullRotary(fields));
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    if (fields.Find(name) == nullptr) continue;
    FATHOM_ASSIGN_OR_RETURN(const Fields scaling, fields.Object(name));
    for (const char* kind : {"full_attention", "sliding_attention"}) {
      if (scaling.Find(kind) != nullptr) {
        return UnsupportedError(scaling.Where(kind),
                                "positions that differ between layers are not supported");
      }
    }
    return ReadRopeScaling(scaling, c);
  }
  return absl::OkStatus();
}

absl::Status ReadQuantization(const Fields& fields, ModelConfig* c) {
  if (fields.Find("quantization_config") == nullptr) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(const Fields quantization, fields.Object("quantization_config"));
  std::string method;
  FATHOM_RETURN_IF_ERROR(quantization.String("quant_method", &method));
  if (method != "fp8") {
    return UnsupportedError(quantization.Where("quant_method"),
                            absl::StrCat(Quoted(method), " is not supported; \"fp8\" is"));
  }
  std::vector<int64_t> block;
  FATHOM_RETURN_IF_ERROR(quantization.Ints("weight_block_size", &block));
  if (block.empty()) {
    return UnsupportedError(quantization.Where("weight_block_size"),
                            "fp8 without blocks is not supported; [128, 128] is");
  }
  constexpr int64_t kMaxBlock = 65536;
  if (block.size() != 2 || std::min(block[0], block[1]) < 1 ||
      std::max(block[0], block[1]) > kMaxBlock) {
    return InputError(quantization.Where("weight_block_size"), "value",
                      absl::StrCat("two sizes of 1 to ", kMaxBlock),
                      DescribeJson(*quantization.Find("weight_block_size")));
  }
  c->quantization = Fp8Quantization{.block_rows = block[0], .block_columns = block[1]};
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> FromJson(const Json& json, const std::string& path) {
  if (!json.is_object()) return InputError(path, "config", "a JSON object", DescribeJson(json));
  const Fields fields(json, path);
  ModelConfig config;
  config.source = path;
  FATHOM_RETURN_IF_ERROR(ReadModelType(fields, &config.model_type));
  SetDefaults(&config);
  FATHOM_RETURN_IF_ERROR(ReadSizes(fields, &config));
  FATHOM_RETURN_IF_ERROR(ReadAttention(fields, &config));
  FATHOM_RETURN_IF_ERROR(CheckSlidingWindow(fields, config));
  FATHOM_RETURN_IF_ERROR(ReadExperts(fields, &config));
  FATHOM_RETURN_IF_ERROR(ReadRope(fields, &config));
  FATHOM_RETURN_IF_ERROR(ReadQuantization(fields, &config));
  FATHOM_RETURN_IF_ERROR(ValidateConfig(config));
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> ReadConfig(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path, kConfigLimits));
  return FromJson(json, path);
}

absl::StatusOr<ModelConfig> ParseConfig(std::string_view text, const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const Json json, ParseStrictJson(text, path, kConfigLimits));
  return FromJson(json, path);
}

}  // namespace fathom
