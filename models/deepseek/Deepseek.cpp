// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The architecture of DeepSeek-V2 and V3, layer by layer, in the names of the published files.
#include "models/deepseek/Deepseek.h"

#include "absl/strings/str_cat.h"

using mlir::Value;

namespace fathom {
namespace {

// The norms of the two latents keep this epsilon even where rms_norm_eps is another one: the
// published code makes them with the class's default (Moonlight, with 1e-5, shows the difference).
constexpr double kLatentNormEps = 1e-6;

// Latent attention. What is cached per token is not keys and values but the latent c they are
// computed from, and one rotated key part shared by all heads:
//
//   q        = W_qb rms_norm(W_qa x), or W_q x        (T, heads (nope + rope)), rope part rotated
//   [c | k]  = W_kva x                                (T, rank + rope)
//   cache   += [rms_norm(c) | rope(k)]
//   k_nope, v of head h and token s = W_kvb[h] c_s    made (prefill) or multiplied into q (decode)
//
// In V3 a cached row is 512 + 64 elements where 128 heads of keys and values would be 40960.
Value latentAttention(ModelBuilder &b, const ModelConfig &c, int64_t layer,
                      const std::string &module, Value x) {
  const LatentSizes sizes{c.num_attention_heads, c.kv_lora_rank, c.qk_nope_head_dim,
                          c.qk_rope_head_dim, c.v_head_dim};
  const int64_t headDim = sizes.nope + sizes.ropeDim;
  Value q;
  if (c.q_lora_rank) {
    Value latent = b.linear(x, module + ".q_a_proj", *c.q_lora_rank);
    latent = b.rmsNorm(latent, module + ".q_a_layernorm", kLatentNormEps);
    q = b.linear(latent, module + ".q_b_proj", sizes.heads * headDim);
  } else {
    q = b.linear(x, module + ".q_proj", sizes.heads * headDim);
  }
  q = b.rope(q, sizes.heads, headDim, /*offset=*/sizes.nope);

  Value row = b.linear(x, module + ".kv_a_proj_with_mqa", sizes.rank + sizes.ropeDim);
  row = b.latentCompress(row, module + ".kv_a_layernorm", kLatentNormEps, sizes);
  b.appendCache(module + ".kv_cache", layer, row);

  Value out = b.latentAttention(q, module + ".kv_b_proj", layer, sizes);
  return b.linear(out, module + ".o_proj", c.hidden_size);
}

ExpertLayer expertLayer(const ModelConfig &c) {
  ExpertLayer layer;
  layer.scoring = c.scoring_func == ScoringFunc::kSigmoid ? graph::Scoring::Sigmoid
                                                          : graph::Scoring::Softmax;
  switch (c.topk_method) {
  case TopkMethod::kGreedy: layer.method = graph::RouteMethod::Greedy; break;
  case TopkMethod::kGroupLimitedGreedy:
    layer.method = graph::RouteMethod::GroupLimitedGreedy;
    break;
  case TopkMethod::kNoauxTc: layer.method = graph::RouteMethod::NoauxTc; break;
  }
  return layer;
}

// Routed experts, and the shared ones that every token visits: published as one MLP of
// n_shared_experts times the width.
Value mixtureOfExperts(ModelBuilder &b, const ModelConfig &c, const std::string &module, Value x) {
  Value routed = b.experts(x, module, expertLayer(c));
  if (c.n_shared_experts == 0) return routed;
  Value shared =
      b.mlp(x, module + ".shared_experts", c.n_shared_experts * c.moe_intermediate_size);
  return b.add(shared, routed);
}

Value decoderLayer(ModelBuilder &b, const ModelConfig &c, int64_t layer, Value x) {
  const std::string module = absl::StrCat("model.layers.", layer);
  Value normed = b.rmsNorm(x, module + ".input_layernorm", c.rms_norm_eps);
  x = b.add(x, latentAttention(b, c, layer, module + ".self_attn", normed));
  normed = b.rmsNorm(x, module + ".post_attention_layernorm", c.rms_norm_eps);
  const std::string mlp = module + ".mlp";
  return b.add(x, c.is_moe_layer(layer) ? mixtureOfExperts(b, c, mlp, normed)
                                        : b.mlp(normed, mlp, c.intermediate_size));
}

}  // namespace

mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
buildDeepseek(mlir::MLIRContext &context, const ModelConfig &c, const Checkpoint &weights) {
  ModelBuilder builder(context, c, weights);
  const graph::KvLayout kv{c.num_hidden_layers, c.kv_lora_rank + c.qk_rope_head_dim,
                           /*latent=*/true};
  return builder.build(kv, [&](ModelBuilder &b) {
    Value x = b.embed("model.embed_tokens");
    for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) x = decoderLayer(b, c, layer, x);
    return b.logits(x, "model.norm", c.tie_word_embeddings ? "model.embed_tokens" : "lm_head");
  });
}

}  // namespace fathom
