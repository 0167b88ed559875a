// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The oracle: a plain forward pass of every supported architecture, one token at a time.
#ifndef FATHOM_MODELS_REFERENCE_REFERENCE_MODEL_H_
#define FATHOM_MODELS_REFERENCE_REFERENCE_MODEL_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/reference/model_config.h"

namespace fathom::reference {

// Returns the row-major float32 values of a tensor of TensorShapes(config), at least as many as its
// shape says, valid as long as the model; null when there is no such tensor.
using WeightLookup = std::function<const float*(const std::string& name)>;

// Two ways to compute the same latent attention (DeepSeek families; the others ignore it).
// With c the normed latent of a cached token (kv_lora_rank), k_pe its rotated key and, per head,
// W_UK (qk_nope_head_dim, kv_lora_rank) and W_UV (v_head_dim, kv_lora_rank), the rows of kv_b_proj:
//   kExpanded  k = [W_UK c | k_pe], v = W_UV c cached per head;  score = q.k;  out = sum P v
//   kAbsorbed  only c and k_pe cached;  score = (W_UK^T q_nope).c + q_pe.k_pe;
//              out = W_UV (sum P c)
// They are equal because q_nope.(W_UK c) = (W_UK^T q_nope).c and W_UV moves out of the sum. For
// DeepSeek-V3 the first caches 128 x (192 + 128) = 40960 numbers per token, the second 576.
enum class LatentForm { kExpanded, kAbsorbed };

struct LatentWeights {
  const float* q = nullptr;          // (heads * (nope + rope), hidden), without q_lora
  const float* q_a = nullptr;        // (q_lora_rank, hidden)
  const float* q_a_norm = nullptr;   // (q_lora_rank)
  const float* q_b = nullptr;        // (heads * (nope + rope), q_lora_rank)
  const float* kv_a = nullptr;       // (kv_lora_rank + rope, hidden)
  const float* kv_a_norm = nullptr;  // (kv_lora_rank)
  const float* kv_b = nullptr;       // (heads, nope + v_head_dim, kv_lora_rank)
  const float* o = nullptr;          // (hidden, heads * v_head_dim)
};

struct GroupedWeights {
  const float* q = nullptr;       // (heads * head_dim, hidden)
  const float* k = nullptr;       // (kv_heads * head_dim, hidden)
  const float* v = nullptr;       // (kv_heads * head_dim, hidden)
  const float* o = nullptr;       // (hidden, heads * head_dim)
  const float* q_bias = nullptr;  // (heads * head_dim), Qwen2
  const float* k_bias = nullptr;  // (kv_heads * head_dim)
  const float* v_bias = nullptr;  // (kv_heads * head_dim)
  const float* q_norm = nullptr;  // (head_dim), Qwen3, or (heads * head_dim), OLMoE
  const float* k_norm = nullptr;  // (head_dim), Qwen3, or (kv_heads * head_dim), OLMoE
};

struct SwigluWeights {
  const float* gate = nullptr;  // (width, hidden)
  const float* up = nullptr;    // (width, hidden)
  const float* down = nullptr;  // (hidden, width)
};

struct LayerWeights {
  const float* input_norm = nullptr;           // (hidden)
  const float* post_attention_norm = nullptr;  // (hidden)
  LatentWeights latent;
  GroupedWeights grouped;
  SwigluWeights dense;                     // width = intermediate_size
  const float* router = nullptr;           // (num_experts, hidden); null in a dense layer
  const float* correction_bias = nullptr;  // (num_experts)
  std::vector<SwigluWeights> experts;      // (num_experts), width = moe_intermediate_size
  SwigluWeights shared;                    // width = n_shared_experts * moe_intermediate_size
};

// What one layer remembers of the tokens so far; each vector grows by one row per token.
struct LayerCache {
  std::vector<float> latent;    // (tokens, kv_lora_rank), normed; kAbsorbed
  std::vector<float> rope_key;  // (tokens, qk_rope_head_dim), rotated; kAbsorbed
  // kExpanded: (tokens, heads, nope + rope) and (tokens, heads, v_head_dim);
  // grouped attention: (tokens, kv_heads, head_dim) each.
  std::vector<float> key;
  std::vector<float> value;
};

// One sequence of tokens. Copy it to branch off; sequences are independent of each other.
struct Sequence {
  int64_t length = 0;              // tokens seen = position of the next one
  std::vector<LayerCache> layers;  // (num_hidden_layers)
};

class ReferenceModel {
 public:
  // Sees intermediate values: where is "embedding", "attention", "mlp" (what each adds to the
  // residual stream), "residual" (the stream after the layer) or "norm"; layer is -1 outside
  // layers.
  using Observer = std::function<void(const char* where, int64_t layer, int64_t position,
                                      const std::vector<float>& values)>;

  // Throws std::invalid_argument naming the first tensor that weights does not have.
  ReferenceModel(const ModelConfig& config, const WeightLookup& weights,
                 LatentForm latent_form = LatentForm::kExpanded);

  Sequence NewSequence() const;

  // Appends the token and returns the logits (vocab_size) of what follows it. Throws
  // std::out_of_range for a token outside the vocabulary.
  std::vector<float> Step(int64_t token, Sequence* sequence) const;

  // As Step for each token; returns the logits of every position, (tokens.size(), vocab_size).
  std::vector<std::vector<float>> Prefill(const std::vector<int64_t>& tokens,
                                          Sequence* sequence) const;

  // The count most likely continuations of tokens, each the first largest logit.
  std::vector<int64_t> Greedy(const std::vector<int64_t>& tokens, int64_t count) const;

  void set_observer(Observer observer) { observer_ = std::move(observer); }

 private:
  // Each takes the normed hidden vector (hidden_size) and returns what is added to the residual.
  std::vector<float> LatentAttention(const LayerWeights& layer, const std::vector<float>& x,
                                     int64_t position, LayerCache* cache) const;
  std::vector<float> GroupedAttention(const LayerWeights& layer, const std::vector<float>& x,
                                      int64_t position, LayerCache* cache) const;
  std::vector<float> FeedForward(const LayerWeights& layer, const std::vector<float>& x) const;

  std::vector<float> AttendExpanded(const std::vector<float>& query, const LayerCache& cache) const;
  std::vector<float> AttendAbsorbed(const LayerWeights& layer, const std::vector<float>& query,
                                    const LayerCache& cache) const;
  void Observe(const char* where, int64_t layer, int64_t position,
               const std::vector<float>& values) const;

  ModelConfig config_;
  LatentForm latent_form_;
  double softmax_scale_;
  double rope_multiplier_;
  std::vector<double> rope_frequencies_;  // (rotated dimensions / 2)
  const float* embedding_;                // (vocab_size, hidden)
  const float* final_norm_;               // (hidden)
  const float* head_;                     // (vocab_size, hidden)
  std::vector<LayerWeights> layers_;      // (num_hidden_layers)
  Observer observer_;
};

}  // namespace fathom::reference

#endif  // FATHOM_MODELS_REFERENCE_REFERENCE_MODEL_H_
