// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Published tensor names and shapes of each family.
#include "models/reference/model_config.h"

#include <utility>

namespace fathom::reference {
namespace {

class ShapeList {
 public:
  void Add(const std::string& name, std::vector<int64_t> shape) {
    tensors_.push_back({name, std::move(shape)});
  }
  void AddSwiglu(const std::string& prefix, int64_t hidden, int64_t width) {
    Add(prefix + "gate_proj.weight", {width, hidden});
    Add(prefix + "up_proj.weight", {width, hidden});
    Add(prefix + "down_proj.weight", {hidden, width});
  }
  std::vector<TensorShape> Take() { return std::move(tensors_); }

 private:
  std::vector<TensorShape> tensors_;
};

void AddLatentAttention(const ModelConfig& c, const std::string& prefix, ShapeList* list) {
  const int64_t query = c.num_attention_heads * (c.qk_nope_head_dim + c.qk_rope_head_dim);
  if (c.q_lora_rank == 0) {
    list->Add(prefix + "q_proj.weight", {query, c.hidden_size});
  } else {
    list->Add(prefix + "q_a_proj.weight", {c.q_lora_rank, c.hidden_size});
    list->Add(prefix + "q_a_layernorm.weight", {c.q_lora_rank});
    list->Add(prefix + "q_b_proj.weight", {query, c.q_lora_rank});
  }
  list->Add(prefix + "kv_a_proj_with_mqa.weight",
            {c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size});
  list->Add(prefix + "kv_a_layernorm.weight", {c.kv_lora_rank});
  list->Add(prefix + "kv_b_proj.weight",
            {c.num_attention_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank});
  list->Add(prefix + "o_proj.weight", {c.hidden_size, c.num_attention_heads * c.v_head_dim});
}

void AddGroupedAttention(const ModelConfig& c, const std::string& prefix, ShapeList* list) {
  const int64_t query = c.num_attention_heads * c.head_dim;
  const int64_t key = c.num_key_value_heads * c.head_dim;
  list->Add(prefix + "q_proj.weight", {query, c.hidden_size});
  list->Add(prefix + "k_proj.weight", {key, c.hidden_size});
  list->Add(prefix + "v_proj.weight", {key, c.hidden_size});
  list->Add(prefix + "o_proj.weight", {c.hidden_size, query});
  if (c.family == Family::kQwen2) {
    list->Add(prefix + "q_proj.bias", {query});
    list->Add(prefix + "k_proj.bias", {key});
    list->Add(prefix + "v_proj.bias", {key});
  }
  if (c.family == Family::kQwen3 || c.family == Family::kQwen3Moe) {
    list->Add(prefix + "q_norm.weight", {c.head_dim});
    list->Add(prefix + "k_norm.weight", {c.head_dim});
  }
  if (c.family == Family::kOlmoe) {
    list->Add(prefix + "q_norm.weight", {query});
    list->Add(prefix + "k_norm.weight", {key});
  }
}

void AddExperts(const ModelConfig& c, const std::string& layer, ShapeList* list) {
  const bool mixtral = c.family == Family::kMixtral;
  const std::string prefix = layer + (mixtral ? "block_sparse_moe." : "mlp.");
  list->Add(prefix + "gate.weight", {c.num_experts, c.hidden_size});
  if (c.topk_method == TopkMethod::kNoauxTc) {
    list->Add(prefix + "gate.e_score_correction_bias", {c.num_experts});
  }
  for (int64_t e = 0; e < c.num_experts; ++e) {
    const std::string expert = prefix + "experts." + std::to_string(e) + ".";
    if (mixtral) {
      list->Add(expert + "w1.weight", {c.moe_intermediate_size, c.hidden_size});  // gate
      list->Add(expert + "w3.weight", {c.moe_intermediate_size, c.hidden_size});  // up
      list->Add(expert + "w2.weight", {c.hidden_size, c.moe_intermediate_size});  // down
    } else {
      list->AddSwiglu(expert, c.hidden_size, c.moe_intermediate_size);
    }
  }
  if (c.n_shared_experts > 0) {
    list->AddSwiglu(prefix + "shared_experts.", c.hidden_size,
                    c.n_shared_experts * c.moe_intermediate_size);
  }
}

}  // namespace

bool IsMoeLayer(const ModelConfig& config, int64_t layer) {
  return config.num_experts > 0 && layer >= config.first_k_dense_replace &&
         layer % config.moe_layer_freq == 0;
}

std::vector<TensorShape> TensorShapes(const ModelConfig& c) {
  ShapeList list;
  list.Add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    list.Add(layer + "input_layernorm.weight", {c.hidden_size});
    if (IsLatent(c)) {
      AddLatentAttention(c, layer + "self_attn.", &list);
    } else {
      AddGroupedAttention(c, layer + "self_attn.", &list);
    }
    list.Add(layer + "post_attention_layernorm.weight", {c.hidden_size});
    if (IsMoeLayer(c, i)) {
      AddExperts(c, layer, &list);
    } else {
      list.AddSwiglu(layer + "mlp.", c.hidden_size, c.intermediate_size);
    }
  }
  list.Add("model.norm.weight", {c.hidden_size});
  if (!c.tie_word_embeddings) list.Add("lm_head.weight", {c.vocab_size, c.hidden_size});
  return list.Take();
}

int64_t ParameterCount(const ModelConfig& config) {
  int64_t total = 0;
  for (const TensorShape& tensor : TensorShapes(config)) {
    int64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= size;
    total += elements;
  }
  return total;
}

}  // namespace fathom::reference
