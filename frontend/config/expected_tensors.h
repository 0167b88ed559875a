// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tensors an architecture needs, by their published names, and the check of a checkpoint.
#ifndef FATHOM_FRONTEND_CONFIG_EXPECTED_TENSORS_H_
#define FATHOM_FRONTEND_CONFIG_EXPECTED_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "frontend/config/model_config.h"
#include "frontend/weights/checkpoint.h"

namespace fathom {

// Every tensor the model reads, in the order in which it uses them: embedding, layers, final norm,
// lm_head (absent with tied embeddings). Names as in the published safetensors files, for instance
// "model.layers.3.mlp.experts.17.down_proj.weight" (hidden_size, moe_intermediate_size). Scales of
// fp8 tensors and MTP layers are not among them.
std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config);

// Elements in all of them: 15,706,484,224 for DeepSeek-V2-Lite, 671,026,419,200 for V3.
uint64_t ParameterCount(const ModelConfig& config);

// An error that names the first tensor that is missing or of another shape, or a tensor of the file
// that belongs to the model's layers but that this architecture would not use (a bias, say), since
// results without it would be wrong. `notes`, when given, receives a line for each thing that is
// left out on purpose: multi-token prediction layers, a redundant lm_head, unknown extras.
absl::Status CheckTensors(const ModelConfig& config, const Checkpoint& checkpoint,
                          std::vector<std::string>* notes = nullptr);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_CONFIG_EXPECTED_TENSORS_H_
