// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// DeepSeek-V2, V2-Lite, V3, R1 and models of their shape: latent attention, mixture of experts.
#ifndef FATHOM_MODELS_DEEPSEEK_DEEPSEEK_H
#define FATHOM_MODELS_DEEPSEEK_DEEPSEEK_H

#include "frontend/builder/ModelBuilder.h"

namespace fathom {

/// The graph of a deepseek_v2 or deepseek_v3 config, whose latent sizes are all set. Errors: those
/// of ModelBuilder. Multi-token prediction layers of the checkpoint stay unread.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
buildDeepseek(mlir::MLIRContext &context, const ModelConfig &config, const Checkpoint &weights);

}  // namespace fathom

#endif  // FATHOM_MODELS_DEEPSEEK_DEEPSEEK_H
