// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dispatch on model_type.
#include "models/registry.h"

#include "models/deepseek/Deepseek.h"
#include "models/llama/Llama.h"

namespace fathom {

mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
buildModel(mlir::MLIRContext *context, const ModelConfig &config, const Checkpoint &weights) {
  // No default: a new type without a definition is a compiler warning here.
  switch (config.model_type) {
  case ModelType::kDeepseekV2:
  case ModelType::kDeepseekV3:
    return buildDeepseek(*context, config, weights);
  case ModelType::kLlama:
  case ModelType::kQwen2:
  case ModelType::kQwen3:
  case ModelType::kQwen3Moe:
  case ModelType::kMixtral:
  case ModelType::kOlmoe:
    return buildLlama(*context, config, weights);
  }
  return mlir::emitError(mlir::UnknownLoc::get(context)) << "model type without a definition";
}

}  // namespace fathom
