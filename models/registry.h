// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a config to the graph of its model: which definition belongs to which model_type.
#ifndef FATHOM_MODELS_REGISTRY_H
#define FATHOM_MODELS_REGISTRY_H

#include "frontend/config/model_config.h"
#include "frontend/weights/checkpoint.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace fathom {

/// A verified module with the entry points prefill and decode. `config` has passed ValidateConfig;
/// `weights` holds the tensors of ExpectedTensors(config). What it lacks, or holds with another
/// shape, is an error diagnostic that names checkpoint and tensor.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
buildModel(mlir::MLIRContext *context, const ModelConfig &config, const Checkpoint &weights);

}  // namespace fathom

#endif  // FATHOM_MODELS_REGISTRY_H
