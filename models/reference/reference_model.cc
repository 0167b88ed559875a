// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The forward pass. Values are float32, every sum is float64, and clarity comes before speed.
#include "models/reference/reference_model.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

#include "models/reference/reference_weights.h"
#include "models/reference/rope.h"
#include "models/reference/routing.h"

namespace fathom::reference {
namespace {

using Vector = std::vector<float>;

// The norms of the latents keep this epsilon even where rms_norm_eps is another (Moonlight: 1e-5).
constexpr double kLatentNormEps = 1e-6;

double Dot(const float* a, const float* b, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// y = W x (+ bias), W (rows, x.size()) row-major.
Vector Linear(const float* weight, const Vector& x, int64_t rows, const float* bias = nullptr) {
  const auto columns = static_cast<int64_t>(x.size());
  Vector y(rows);
  for (int64_t r = 0; r < rows; ++r) {
    const double sum = Dot(weight + r * columns, x.data(), columns);
    y[r] = static_cast<float>(bias == nullptr ? sum : sum + bias[r]);
  }
  return y;
}

// x[i] = weight[i] x[i] / sqrt(mean(x^2) + eps), in place.
void RmsNorm(const float* weight, double eps, int64_t count, float* x) {
  const double scale = 1.0 / std::sqrt(Dot(x, x, count) / static_cast<double>(count) + eps);
  for (int64_t i = 0; i < count; ++i) x[i] = static_cast<float>(x[i] * scale * weight[i]);
}

Vector Normed(const Vector& x, const float* weight, double eps) {
  Vector y = x;
  RmsNorm(weight, eps, static_cast<int64_t>(y.size()), y.data());
  return y;
}

void SoftmaxInPlace(std::vector<double>* scores) {
  const double largest = *std::max_element(scores->begin(), scores->end());
  double sum = 0.0;
  for (double& score : *scores) sum += score = std::exp(score - largest);
  for (double& score : *scores) score /= sum;
}

// The sum over tokens of probability * row, rows of count numbers that lie stride apart.
void WeightedSum(const std::vector<double>& probabilities, const float* rows, int64_t stride,
                 int64_t count, float* out) {
  std::vector<double> sums(count, 0.0);
  for (size_t t = 0; t < probabilities.size(); ++t) {
    const float* row = rows + static_cast<int64_t>(t) * stride;
    for (int64_t i = 0; i < count; ++i) sums[i] += probabilities[t] * row[i];
  }
  std::transform(sums.begin(), sums.end(), out, [](double sum) { return static_cast<float>(sum); });
}

// W_down (silu(W_gate x) * (W_up x))
Vector Swiglu(const SwigluWeights& w, const Vector& x, int64_t width) {
  Vector gate = Linear(w.gate, x, width);    // (width)
  const Vector up = Linear(w.up, x, width);  // (width)
  for (int64_t i = 0; i < width; ++i) {
    const double g = gate[i];
    gate[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * up[i]);
  }
  return Linear(w.down, gate, static_cast<int64_t>(x.size()));
}

void AddTo(const Vector& values, double weight, std::vector<double>* sums) {
  for (size_t i = 0; i < values.size(); ++i) (*sums)[i] += weight * values[i];
}

void Append(const float* values, int64_t count, Vector* rows) {
  rows->insert(rows->end(), values, values + count);
}

}  // namespace

ReferenceModel::ReferenceModel(const ModelConfig& config, const WeightLookup& weights,
                               LatentForm latent_form)
    : config_(config),
      latent_form_(latent_form),
      softmax_scale_(SoftmaxScale(config)),
      rope_multiplier_(RopeMultiplier(config.rope)),
      rope_frequencies_(RopeFrequencies(
          config.rope, IsLatent(config) ? config.qk_rope_head_dim : config.head_dim)),
      embedding_(RequireWeight(weights, "model.embed_tokens.weight")),
      final_norm_(RequireWeight(weights, "model.norm.weight")),
      head_(config.tie_word_embeddings ? embedding_ : RequireWeight(weights, "lm_head.weight")) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers_.push_back(BindLayer(config, weights, i));
  }
}

Sequence ReferenceModel::NewSequence() const {
  Sequence sequence;
  sequence.layers.resize(config_.num_hidden_layers);
  return sequence;
}

Vector ReferenceModel::Step(int64_t token, Sequence* sequence) const {
  if (token < 0 || token >= config_.vocab_size) {
    throw std::out_of_range("token " + std::to_string(token) + " is outside the vocabulary of " +
                            std::to_string(config_.vocab_size));
  }
  const int64_t position = sequence->length++;
  const float* row = embedding_ + token * config_.hidden_size;
  Vector residual(row, row + config_.hidden_size);  // (hidden)
  Observe("embedding", -1, position, residual);

  const auto add_to_residual = [&](const Vector& branch) {
    for (size_t i = 0; i < residual.size(); ++i) residual[i] += branch[i];
  };
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const LayerWeights& layer = layers_[i];
    LayerCache* cache = &sequence->layers[i];
    const Vector x = Normed(residual, layer.input_norm, config_.rms_norm_eps);  // (hidden)
    const Vector attention = IsLatent(config_) ? LatentAttention(layer, x, position, cache)
                                               : GroupedAttention(layer, x, position, cache);
    Observe("attention", i, position, attention);
    add_to_residual(attention);
    const Vector mlp =
        FeedForward(layer, Normed(residual, layer.post_attention_norm, config_.rms_norm_eps));
    Observe("mlp", i, position, mlp);
    add_to_residual(mlp);
    Observe("residual", i, position, residual);
  }
  const Vector normed = Normed(residual, final_norm_, config_.rms_norm_eps);
  Observe("norm", -1, position, normed);
  return Linear(head_, normed, config_.vocab_size);
}

std::vector<Vector> ReferenceModel::Prefill(const std::vector<int64_t>& tokens,
                                            Sequence* sequence) const {
  std::vector<Vector> logits;
  for (const int64_t token : tokens) logits.push_back(Step(token, sequence));
  return logits;
}

std::vector<int64_t> ReferenceModel::Greedy(const std::vector<int64_t>& tokens,
                                            int64_t count) const {
  Sequence sequence = NewSequence();
  Vector logits;
  for (const int64_t token : tokens) logits = Step(token, &sequence);
  std::vector<int64_t> continuation;
  while (static_cast<int64_t>(continuation.size()) < count) {
    continuation.push_back(std::max_element(logits.begin(), logits.end()) - logits.begin());
    logits = Step(continuation.back(), &sequence);
  }
  return continuation;
}

Vector ReferenceModel::LatentAttention(const LayerWeights& layer, const Vector& x, int64_t position,
                                       LayerCache* cache) const {
  const LatentWeights& w = layer.latent;
  const int64_t heads = config_.num_attention_heads;
  const int64_t nope = config_.qk_nope_head_dim, rope = config_.qk_rope_head_dim;
  const int64_t rank = config_.kv_lora_rank, value_dim = config_.v_head_dim;

  Vector query;  // (heads, nope + rope)
  if (config_.q_lora_rank == 0) {
    query = Linear(w.q, x, heads * (nope + rope));
  } else {
    const Vector compressed = Linear(w.q_a, x, config_.q_lora_rank);  // (q_lora_rank)
    query = Linear(w.q_b, Normed(compressed, w.q_a_norm, kLatentNormEps), heads * (nope + rope));
  }
  Vector latent =
      Linear(w.kv_a, x, rank + rope);  // (rank + rope): latent, then the key's rotary part
  Vector rope_key(latent.begin() + rank, latent.end());  // (rope), shared by all heads, not normed
  latent.resize(rank);
  RmsNorm(w.kv_a_norm, kLatentNormEps, rank, latent.data());

  for (int64_t h = 0; h < heads; ++h) {
    float* rotary = query.data() + h * (nope + rope) + nope;
    ApplyRope(rope_frequencies_, rope_multiplier_, position, config_.rope_interleave, rotary);
  }
  ApplyRope(rope_frequencies_, rope_multiplier_, position, config_.rope_interleave,
            rope_key.data());

  Vector out;  // (heads, v_head_dim)
  if (latent_form_ == LatentForm::kAbsorbed) {
    Append(latent.data(), rank, &cache->latent);
    Append(rope_key.data(), rope, &cache->rope_key);
    out = AttendAbsorbed(layer, query, *cache);
  } else {
    const Vector expanded = Linear(w.kv_b, latent, heads * (nope + value_dim));
    for (int64_t h = 0; h < heads; ++h) {
      const float* head = expanded.data() + h * (nope + value_dim);  // key, then value
      Append(head, nope, &cache->key);
      Append(rope_key.data(), rope, &cache->key);
      Append(head + nope, value_dim, &cache->value);
    }
    out = AttendExpanded(query, *cache);
  }
  return Linear(w.o, out, config_.hidden_size);
}

Vector ReferenceModel::AttendExpanded(const Vector& query, const LayerCache& cache) const {
  const int64_t heads = config_.num_attention_heads, value_dim = config_.v_head_dim;
  const int64_t key_dim = config_.qk_nope_head_dim + config_.qk_rope_head_dim;
  std::vector<double> scores(cache.key.size() / (heads * key_dim));  // (tokens)
  Vector out(heads * value_dim);                                     // (heads, v_head_dim)
  for (int64_t h = 0; h < heads; ++h) {
    for (size_t t = 0; t < scores.size(); ++t) {
      const float* key = cache.key.data() + (static_cast<int64_t>(t) * heads + h) * key_dim;
      scores[t] = softmax_scale_ * Dot(query.data() + h * key_dim, key, key_dim);
    }
    SoftmaxInPlace(&scores);
    WeightedSum(scores, cache.value.data() + h * value_dim, heads * value_dim, value_dim,
                out.data() + h * value_dim);
  }
  return out;
}

Vector ReferenceModel::AttendAbsorbed(const LayerWeights& layer, const Vector& query,
                                      const LayerCache& cache) const {
  const int64_t heads = config_.num_attention_heads, rank = config_.kv_lora_rank;
  const int64_t nope = config_.qk_nope_head_dim, rope = config_.qk_rope_head_dim;
  const int64_t value_dim = config_.v_head_dim;
  std::vector<double> scores(cache.latent.size() / rank);  // (tokens)
  Vector out;                                              // (heads, v_head_dim)
  for (int64_t h = 0; h < heads; ++h) {
    const float* w_uk = layer.latent.kv_b + h * (nope + value_dim) * rank;  // (nope, rank)
    const float* w_uv = w_uk + nope * rank;                                 // (v_head_dim, rank)
    const float* q_nope = query.data() + h * (nope + rope);
    const float* q_rope = q_nope + nope;

    Vector absorbed(rank);  // W_UK^T q_nope
    WeightedSum(std::vector<double>(q_nope, q_nope + nope), w_uk, rank, rank, absorbed.data());
    for (size_t t = 0; t < scores.size(); ++t) {
      const auto token = static_cast<int64_t>(t);
      scores[t] = softmax_scale_ * (Dot(absorbed.data(), cache.latent.data() + token * rank, rank) +
                                    Dot(q_rope, cache.rope_key.data() + token * rope, rope));
    }
    SoftmaxInPlace(&scores);
    Vector mixed(rank);  // the probability-weighted latent
    WeightedSum(scores, cache.latent.data(), rank, rank, mixed.data());
    const Vector head_out = Linear(w_uv, mixed, value_dim);
    Append(head_out.data(), value_dim, &out);
  }
  return out;
}

Vector ReferenceModel::GroupedAttention(const LayerWeights& layer, const Vector& x,
                                        int64_t position, LayerCache* cache) const {
  const GroupedWeights& w = layer.grouped;
  const int64_t heads = config_.num_attention_heads, kv_heads = config_.num_key_value_heads;
  const int64_t dim = config_.head_dim;
  Vector query = Linear(w.q, x, heads * dim, w.q_bias);           // (heads, head_dim)
  Vector key = Linear(w.k, x, kv_heads * dim, w.k_bias);          // (kv_heads, head_dim)
  const Vector value = Linear(w.v, x, kv_heads * dim, w.v_bias);  // (kv_heads, head_dim)

  // Qwen3 norms each head by itself with one shared weight, OLMoE the whole projection at once.
  const auto norm = [&](const float* weight, Vector* values) {
    if (weight == nullptr) return;
    const auto size = static_cast<int64_t>(values->size());
    const int64_t span = config_.family == Family::kOlmoe ? size : dim;
    for (int64_t i = 0; i < size; i += span) {
      RmsNorm(weight, config_.rms_norm_eps, span, values->data() + i);
    }
  };
  norm(w.q_norm, &query);
  norm(w.k_norm, &key);
  for (int64_t h = 0; h < heads; ++h) {
    ApplyRope(rope_frequencies_, rope_multiplier_, position, false, query.data() + h * dim);
  }
  for (int64_t h = 0; h < kv_heads; ++h) {
    ApplyRope(rope_frequencies_, rope_multiplier_, position, false, key.data() + h * dim);
  }
  Append(key.data(), kv_heads * dim, &cache->key);
  Append(value.data(), kv_heads * dim, &cache->value);

  std::vector<double> scores(cache->key.size() / (kv_heads * dim));  // (tokens)
  Vector out(heads * dim);                                           // (heads, head_dim)
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t g = h / (heads / kv_heads);  // the key-value head this query head shares
    for (size_t t = 0; t < scores.size(); ++t) {
      const float* cached = cache->key.data() + (static_cast<int64_t>(t) * kv_heads + g) * dim;
      scores[t] = softmax_scale_ * Dot(query.data() + h * dim, cached, dim);
    }
    SoftmaxInPlace(&scores);
    WeightedSum(scores, cache->value.data() + g * dim, kv_heads * dim, dim, out.data() + h * dim);
  }
  return Linear(w.o, out, config_.hidden_size);
}

Vector ReferenceModel::FeedForward(const LayerWeights& layer, const Vector& x) const {
  if (layer.router == nullptr) return Swiglu(layer.dense, x, config_.intermediate_size);
  const Vector logits = Linear(layer.router, x, config_.num_experts);  // (num_experts)
  const Routing routing = Route(config_, logits.data(), layer.correction_bias);
  const int64_t width = config_.moe_intermediate_size;
  std::vector<double> sums(x.size(), 0.0);  // (hidden)
  for (size_t k = 0; k < routing.experts.size(); ++k) {
    AddTo(Swiglu(layer.experts[routing.experts[k]], x, width), routing.weights[k], &sums);
  }
  if (config_.n_shared_experts > 0) {
    // Always on and unweighted: one SwiGLU as wide as all shared experts together.
    AddTo(Swiglu(layer.shared, x, config_.n_shared_experts * width), 1.0, &sums);
  }
  return Vector(sums.begin(), sums.end());
}

void ReferenceModel::Observe(const char* where, int64_t layer, int64_t position,
                             const Vector& values) const {
  if (observer_) observer_(where, layer, position, values);
}

}  // namespace fathom::reference
