// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A GGUF file under the published tensor names, so that model definitions know only those.
#ifndef FATHOM_FRONTEND_CONFIG_GGUF_NAMES_H_
#define FATHOM_FRONTEND_CONFIG_GGUF_NAMES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/config/model_config.h"
#include "frontend/weights/checkpoint.h"

namespace fathom {

// What a GGUF file calls the tensor that safetensors files call `published`, in the order in which
// to look: "model.layers.3.mlp.experts.17.up_proj.weight" is slice 17 of
// "blk.3.ffn_up_exps.weight", in older files the tensor "blk.3.ffn_up.17.weight". Empty for names
// without a counterpart. One name can also stand for two tensors that make it up together:
// self_attn.kv_b_proj.weight is "blk.N.attn_kv_b.weight" or the pair "blk.N.attn_k_b.weight" and
// "blk.N.attn_v_b.weight".
std::vector<std::string> GgufTensorNames(const std::string& published);

// A checkpoint with the tensors of ExpectedTensors(config), read out of `gguf`, which it owns.
// metadata() is the file's. Three kinds of tensor are not stored as published:
//   experts        one slice of a stacked tensor; stays verbatim
//   llama q and k  the file holds the rows of each head with the two halves interleaved (row 2j+s
//                  of the file is row s*d/2+j); ReadRows gives the published order back
//   kv_b_proj      may lie as attn_k_b (heads, kv_lora_rank, qk_nope_head_dim), transposed, and
//                  attn_v_b (heads, v_head_dim, kv_lora_rank); ReadRows puts the rows together
// The last two have TensorInfo::verbatim false. Errors: a tensor that is missing or misshapen, or
// one inside a layer that the architecture would not use. `notes`, when given, receives a line for
// each thing that is left out on purpose.
absl::StatusOr<std::unique_ptr<Checkpoint>> WithPublishedNames(
    std::unique_ptr<Checkpoint> gguf, const ModelConfig& config,
    std::vector<std::string>* notes = nullptr);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_CONFIG_GGUF_NAMES_H_
