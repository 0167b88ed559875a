// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names and shapes of each architecture's tensors.
#include "frontend/config/expected_tensors.h"

#include <unordered_set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "frontend/weights/json.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

class Lister {
 public:
  explicit Lister(const ModelConfig& config) : c_(config) {}

  std::vector<TensorSpec> List() && {
    Add("model.embed_tokens.weight", {c_.vocab_size, c_.hidden_size});
    for (int64_t layer = 0; layer < c_.num_hidden_layers; ++layer) Layer(layer);
    Add("model.norm.weight", {c_.hidden_size});
    if (!c_.tie_word_embeddings) Add("lm_head.weight", {c_.vocab_size, c_.hidden_size});
    return std::move(specs_);
  }

 private:
  void Add(const std::string& name, const std::vector<int64_t>& shape) {
    specs_.push_back({name, std::vector<uint64_t>(shape.begin(), shape.end())});
  }

  void Layer(int64_t layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    Add(prefix + "input_layernorm.weight", {c_.hidden_size});
    if (c_.is_latent()) {
      LatentAttention(prefix + "self_attn.");
    } else {
      Attention(prefix + "self_attn.");
    }
    Add(prefix + "post_attention_layernorm.weight", {c_.hidden_size});
    if (c_.is_moe_layer(layer)) {
      Experts(prefix);
    } else {
      Mlp(prefix + "mlp.", c_.intermediate_size);
    }
  }

  void Attention(const std::string& prefix) {
    const int64_t q = c_.num_attention_heads * c_.head_dim;
    const int64_t kv = c_.num_key_value_heads * c_.head_dim;
    const auto projection = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
      Add(prefix + name + ".weight", {out, in});
      if (bias) Add(prefix + name + ".bias", {out});
    };
    projection("q_proj", q, c_.hidden_size, c_.qkv_bias);
    projection("k_proj", kv, c_.hidden_size, c_.qkv_bias);
    projection("v_proj", kv, c_.hidden_size, c_.qkv_bias);
    if (c_.qk_norm != QkNorm::kNone) {
      const bool full = c_.qk_norm == QkNorm::kFullWidth;
      Add(prefix + "q_norm.weight", {full ? q : c_.head_dim});
      Add(prefix + "k_norm.weight", {full ? kv : c_.head_dim});
    }
    projection("o_proj", c_.hidden_size, q, c_.o_bias);
  }

  void LatentAttention(const std::string& prefix) {
    const int64_t heads = c_.num_attention_heads;
    const int64_t qk = c_.qk_nope_head_dim + c_.qk_rope_head_dim;
    if (c_.q_lora_rank) {
      Add(prefix + "q_a_proj.weight", {*c_.q_lora_rank, c_.hidden_size});
      Add(prefix + "q_a_layernorm.weight", {*c_.q_lora_rank});
      Add(prefix + "q_b_proj.weight", {heads * qk, *c_.q_lora_rank});
    } else {
      Add(prefix + "q_proj.weight", {heads * qk, c_.hidden_size});
    }
    Add(prefix + "kv_a_proj_with_mqa.weight",
        {c_.kv_lora_rank + c_.qk_rope_head_dim, c_.hidden_size});
    Add(prefix + "kv_a_layernorm.weight", {c_.kv_lora_rank});
    // Rows of a head: qk_nope_head_dim of keys, then v_head_dim of values.
    Add(prefix + "kv_b_proj.weight",
        {heads * (c_.qk_nope_head_dim + c_.v_head_dim), c_.kv_lora_rank});
    Add(prefix + "o_proj.weight", {c_.hidden_size, heads * c_.v_head_dim});
  }

  void Mlp(const std::string& prefix, int64_t width) {
    Add(prefix + "gate_proj.weight", {width, c_.hidden_size});
    Add(prefix + "up_proj.weight", {width, c_.hidden_size});
    Add(prefix + "down_proj.weight", {c_.hidden_size, width});
  }

  void Experts(const std::string& layer) {
    const bool mixtral = c_.model_type == ModelType::kMixtral;
    const std::string prefix = layer + (mixtral ? "block_sparse_moe." : "mlp.");
    Add(prefix + "gate.weight", {c_.n_routed_experts, c_.hidden_size});
    if (c_.topk_method == TopkMethod::kNoauxTc) {
      Add(prefix + "gate.e_score_correction_bias", {c_.n_routed_experts});
    }
    for (int64_t e = 0; e < c_.n_routed_experts; ++e) {
      const std::string expert = absl::StrCat(prefix, "experts.", e, ".");
      if (mixtral) {
        Add(expert + "w1.weight", {c_.moe_intermediate_size, c_.hidden_size});  // gate
        Add(expert + "w3.weight", {c_.moe_intermediate_size, c_.hidden_size});  // up
        Add(expert + "w2.weight", {c_.hidden_size, c_.moe_intermediate_size});  // down
      } else {
        Mlp(expert, c_.moe_intermediate_size);
      }
    }
    if (c_.n_shared_experts > 0) {
      Mlp(prefix + "shared_experts.", c_.n_shared_experts * c_.moe_intermediate_size);
    }
  }

  const ModelConfig& c_;
  std::vector<TensorSpec> specs_;
};

// N of "model.layers.N.": -1 for other names.
int64_t LayerOf(const std::string& name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!name.starts_with(kPrefix)) return -1;
  const size_t dot = name.find('.', kPrefix.size());
  int64_t layer = -1;
  if (dot == name.npos ||
      !absl::SimpleAtoi(name.substr(kPrefix.size(), dot - kPrefix.size()), &layer)) {
    return -1;
  }
  return layer;
}

// Tensors that belong to another one or that can be computed: they change nothing.
bool IsHarmless(const std::string& name) {
  for (const char* suffix : {"_scale_inv", "_scale", ".inv_freq", ".k_scale", ".v_scale"}) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

absl::Status CheckExtras(const ModelConfig& config, const Checkpoint& checkpoint,
                         const std::unordered_set<std::string>& known,
                         std::vector<std::string>* notes) {
  uint64_t skipped = 0, skipped_bytes = 0;
  std::vector<std::string> lines;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (known.contains(tensor.name) || IsHarmless(tensor.name)) continue;
    const int64_t layer = LayerOf(tensor.name);
    if (layer >= config.num_hidden_layers) {
      if (config.num_nextn_predict_layers == 0) {
        return InputError(absl::StrCat(config.source, ": num_hidden_layers"), "value",
                          absl::StrCat("more than ", layer, ", since ", checkpoint.name(),
                                       " holds tensor ", Quoted(tensor.name)),
                          config.num_hidden_layers);
      }
      ++skipped;
      skipped_bytes += tensor.bytes;
    } else if (layer >= 0) {
      return UnsupportedError(
          absl::StrCat(checkpoint.name(), ": tensor ", Quoted(tensor.name)),
          absl::StrCat("architecture ", ModelTypeName(config.model_type),
                       " with this config does not use it, so results would be wrong"));
    } else if (config.tie_word_embeddings && tensor.name == "lm_head.weight") {
      lines.push_back(
          "lm_head.weight is left out: tie_word_embeddings says that the embedding "
          "takes its place");
    } else {
      lines.push_back(absl::StrCat("tensor ", Quoted(tensor.name), " is not used"));
    }
  }
  if (notes == nullptr) return absl::OkStatus();
  if (skipped > 0) {
    notes->push_back(absl::StrCat("multi-token prediction: ", skipped, " tensors (", skipped_bytes,
                                  " bytes) behind layer ", config.num_hidden_layers - 1,
                                  " are left out"));
  }
  // A strange file must not flood the terminal.
  constexpr size_t kMaxLines = 8;
  for (size_t i = 0; i < lines.size() && i < kMaxLines; ++i) notes->push_back(lines[i]);
  if (lines.size() > kMaxLines) {
    notes->push_back(absl::StrCat("and ", lines.size() - kMaxLines, " more unused tensors"));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config) { return Lister(config).List(); }

uint64_t ParameterCount(const ModelConfig& config) {
  uint64_t count = 0;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    uint64_t elements = 1;
    for (const uint64_t dim : spec.shape) elements *= dim;
    count += elements;
  }
  return count;
}

absl::Status CheckTensors(const ModelConfig& config, const Checkpoint& checkpoint,
                          std::vector<std::string>* notes) {
  std::unordered_set<std::string> known;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    const std::string where = absl::StrCat(checkpoint.name(), ": tensor ", Quoted(spec.name));
    const TensorInfo* tensor = checkpoint.Find(spec.name);
    if (tensor == nullptr) {
      return InputError(where, "tensor", ShapeString(spec.shape), "no tensor of this name");
    }
    if (tensor->shape != spec.shape) {
      return InputError(where, absl::StrCat("shape, by ", config.source), ShapeString(spec.shape),
                        ShapeString(tensor->shape));
    }
    known.insert(spec.name);
  }
  return CheckExtras(config, checkpoint, known, notes);
}

}  // namespace fathom
