// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names of tensors, family by family.
#include "models/reference/reference_weights.h"

#include <stdexcept>

namespace fathom::reference {
namespace {

// Looks names up under one prefix such as "model.layers.3.self_attn.".
class Scope {
 public:
  Scope(const WeightLookup& weights, std::string prefix)
      : weights_(weights), prefix_(std::move(prefix)) {}
  const float* Get(const std::string& name) const {
    return RequireWeight(weights_, prefix_ + name);
  }
  Scope Inner(const std::string& name) const { return Scope(weights_, prefix_ + name); }

 private:
  const WeightLookup& weights_;
  std::string prefix_;
};

LatentWeights BindLatent(const ModelConfig& config, const Scope& scope) {
  LatentWeights w;
  if (config.q_lora_rank == 0) {
    w.q = scope.Get("q_proj.weight");
  } else {
    w.q_a = scope.Get("q_a_proj.weight");
    w.q_a_norm = scope.Get("q_a_layernorm.weight");
    w.q_b = scope.Get("q_b_proj.weight");
  }
  w.kv_a = scope.Get("kv_a_proj_with_mqa.weight");
  w.kv_a_norm = scope.Get("kv_a_layernorm.weight");
  w.kv_b = scope.Get("kv_b_proj.weight");
  w.o = scope.Get("o_proj.weight");
  return w;
}

GroupedWeights BindGrouped(const ModelConfig& config, const Scope& scope) {
  GroupedWeights w;
  w.q = scope.Get("q_proj.weight");
  w.k = scope.Get("k_proj.weight");
  w.v = scope.Get("v_proj.weight");
  w.o = scope.Get("o_proj.weight");
  if (config.family == Family::kQwen2) {
    w.q_bias = scope.Get("q_proj.bias");
    w.k_bias = scope.Get("k_proj.bias");
    w.v_bias = scope.Get("v_proj.bias");
  }
  if (config.family == Family::kQwen3 || config.family == Family::kQwen3Moe ||
      config.family == Family::kOlmoe) {
    w.q_norm = scope.Get("q_norm.weight");
    w.k_norm = scope.Get("k_norm.weight");
  }
  return w;
}

SwigluWeights BindSwiglu(const Scope& scope) {
  return {scope.Get("gate_proj.weight"), scope.Get("up_proj.weight"),
          scope.Get("down_proj.weight")};
}

// Mixtral numbers the three matrices instead: w1 = gate, w3 = up, w2 = down.
SwigluWeights BindMixtralExpert(const Scope& scope) {
  return {scope.Get("w1.weight"), scope.Get("w3.weight"), scope.Get("w2.weight")};
}

void BindExperts(const ModelConfig& config, const Scope& scope, LayerWeights* layer) {
  layer->router = scope.Get("gate.weight");
  if (config.topk_method == TopkMethod::kNoauxTc) {
    layer->correction_bias = scope.Get("gate.e_score_correction_bias");
  }
  for (int64_t e = 0; e < config.num_experts; ++e) {
    const Scope expert = scope.Inner("experts." + std::to_string(e) + ".");
    layer->experts.push_back(config.family == Family::kMixtral ? BindMixtralExpert(expert)
                                                               : BindSwiglu(expert));
  }
  if (config.n_shared_experts > 0) layer->shared = BindSwiglu(scope.Inner("shared_experts."));
}

}  // namespace

const float* RequireWeight(const WeightLookup& weights, const std::string& name) {
  const float* values = weights(name);
  if (values == nullptr) throw std::invalid_argument("the checkpoint has no tensor " + name);
  return values;
}

LayerWeights BindLayer(const ModelConfig& config, const WeightLookup& weights, int64_t index) {
  const Scope scope(weights, "model.layers." + std::to_string(index) + ".");
  LayerWeights layer;
  layer.input_norm = scope.Get("input_layernorm.weight");
  layer.post_attention_norm = scope.Get("post_attention_layernorm.weight");
  if (IsLatent(config)) {
    layer.latent = BindLatent(config, scope.Inner("self_attn."));
  } else {
    layer.grouped = BindGrouped(config, scope.Inner("self_attn."));
  }
  if (!IsMoeLayer(config, index)) {
    layer.dense = BindSwiglu(scope.Inner("mlp."));
  } else if (config.family == Family::kMixtral) {
    BindExperts(config, scope.Inner("block_sparse_moe."), &layer);
  } else {
    BindExperts(config, scope.Inner("mlp."), &layer);
  }
  return layer;
}

}  // namespace fathom::reference
