// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The architecture of Llama, Qwen2, Qwen3, Qwen3-MoE, Mixtral and OLMoE, layer by layer.
#include "models/llama/Llama.h"

#include "absl/strings/str_cat.h"

using mlir::Value;

namespace fathom {
namespace {

// A norm of queries or keys before RoPE, if the architecture has one: over each head with one
// shared weight (qwen3), or over all heads at once (olmoe).
Value normalised(ModelBuilder &b, const ModelConfig &c, Value x, const std::string &module,
                 int64_t heads) {
  switch (c.qk_norm) {
  case QkNorm::kNone: return x;
  case QkNorm::kPerHead: return b.rmsNorm(x, module, c.rms_norm_eps, /*groups=*/heads);
  case QkNorm::kFullWidth: return b.rmsNorm(x, module, c.rms_norm_eps);
  }
  return x;
}

// q: (T, heads head_dim); k, v: (T, kv_heads head_dim); query head h reads key and value head
// h kv_heads / heads.
Value attention(ModelBuilder &b, const ModelConfig &c, int64_t layer, const std::string &module,
                Value x) {
  const int64_t heads = c.num_attention_heads, kvHeads = c.num_key_value_heads, d = c.head_dim;
  Value q = b.linear(x, module + ".q_proj", heads * d, c.qkv_bias);
  Value k = b.linear(x, module + ".k_proj", kvHeads * d, c.qkv_bias);
  Value v = b.linear(x, module + ".v_proj", kvHeads * d, c.qkv_bias);
  q = b.rope(normalised(b, c, q, module + ".q_norm", heads), heads, d);
  k = b.rope(normalised(b, c, k, module + ".k_norm", kvHeads), kvHeads, d);
  b.appendCache(module + ".kv_cache", layer, {k, v});
  Value out = b.attention(q, module, layer, heads, kvHeads, d);
  return b.linear(out, module + ".o_proj", c.hidden_size, c.o_bias);
}

// All of them score by softmax over all experts and take the best ones.
Value mixtureOfExperts(ModelBuilder &b, const ModelConfig &c, const std::string &layer, Value x) {
  ExpertLayer experts;
  experts.scoring = graph::Scoring::Softmax;
  experts.method = graph::RouteMethod::Greedy;
  if (c.model_type != ModelType::kMixtral) return b.experts(x, layer + ".mlp", experts);
  experts.gate = "w1";
  experts.up = "w3";
  experts.down = "w2";
  return b.experts(x, layer + ".block_sparse_moe", experts);
}

Value decoderLayer(ModelBuilder &b, const ModelConfig &c, int64_t layer, Value x) {
  const std::string module = absl::StrCat("model.layers.", layer);
  Value normed = b.rmsNorm(x, module + ".input_layernorm", c.rms_norm_eps);
  x = b.add(x, attention(b, c, layer, module + ".self_attn", normed));
  normed = b.rmsNorm(x, module + ".post_attention_layernorm", c.rms_norm_eps);
  return b.add(x, c.is_moe_layer(layer) ? mixtureOfExperts(b, c, module, normed)
                                        : b.mlp(normed, module + ".mlp", c.intermediate_size));
}

}  // namespace

mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
buildLlama(mlir::MLIRContext &context, const ModelConfig &c, const Checkpoint &weights) {
  ModelBuilder builder(context, c, weights);
  const graph::KvLayout kv{c.num_hidden_layers, 2 * c.num_key_value_heads * c.head_dim,
                           /*latent=*/false};
  return builder.build(kv, [&](ModelBuilder &b) {
    Value x = b.embed("model.embed_tokens");
    for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) x = decoderLayer(b, c, layer, x);
    return b.logits(x, "model.norm", c.tie_word_embeddings ? "model.embed_tokens" : "lm_head");
  });
}

}  // namespace fathom
