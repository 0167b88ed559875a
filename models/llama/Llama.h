// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Llama and its relatives: grouped-query attention, SwiGLU, with or without experts.
#ifndef FATHOM_MODELS_LLAMA_LLAMA_H
#define FATHOM_MODELS_LLAMA_LLAMA_H

#include "frontend/builder/ModelBuilder.h"

namespace fathom {

/// The graph of a llama, qwen2, qwen3, qwen3_moe, mixtral or olmoe config. They differ in biases,
/// in the norms of queries and keys and in which layers have experts, all of which the config
/// says. Errors: those of ModelBuilder.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
buildLlama(mlir::MLIRContext &context, const ModelConfig &config, const Checkpoint &weights);

}  // namespace fathom

#endif  // FATHOM_MODELS_LLAMA_LLAMA_H
