// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Streams the weights of a module into an artifact. Internal to compiler/emit.
#ifndef FATHOM_COMPILER_EMIT_EMITWEIGHTS_H
#define FATHOM_COMPILER_EMIT_EMITWEIGHTS_H

#include "compiler/emit/EmitArtifact.h"
#include "compiler/emit/artifact_writer.h"

namespace fathom::emit {

/// Writes every schedule.weight, in order, as the tensors of the open segment.
absl::Status emitWeights(mlir::ModuleOp module, const Checkpoint& weights, const EmitOptions& options,
                         ArtifactWriter& writer);

/// The encoded bytes of all weights of `module`.
uint64_t weightBytes(mlir::ModuleOp module);

/// Declares every schedule.weight, in order, as a tensor of the open segment of a measuring writer.
absl::Status measureWeights(mlir::ModuleOp module, ArtifactWriter& writer);

}  // namespace fathom::emit

#endif  // FATHOM_COMPILER_EMIT_EMITWEIGHTS_H
