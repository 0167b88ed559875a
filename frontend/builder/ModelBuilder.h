// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes the graph of a model: one method per idea, weights by their published names.
#ifndef FATHOM_FRONTEND_BUILDER_MODELBUILDER_H
#define FATHOM_FRONTEND_BUILDER_MODELBUILDER_H

#include <cstdint>
#include <string>

#include "dialects/graph/Graph.h"
#include "frontend/config/model_config.h"
#include "frontend/config/rope_table.h"
#include "frontend/weights/checkpoint.h"
#include "llvm/ADT/StringMap.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/OwningOpRef.h"

namespace fathom {

/// Sizes of a latent attention layer, named as in config.json.
struct LatentSizes {
  int64_t heads, rank, nope, ropeDim, vDim;
};

/// How a token finds its experts, and what the published files call them: expert 3's gate
/// projection is `<module>.experts.3.<gate>.weight`.
struct ExpertLayer {
  std::string gate = "gate_proj", up = "up_proj", down = "down_proj";
  graph::Scoring scoring;
  graph::RouteMethod method;
};

/// Builds a module with the entry points `prefill` and `decode` (dialects/graph: the signature).
///
/// Every activation is f32 [T, n]. A `module` is the published path of a part of the model without
/// its last component, such as "model.layers.3.self_attn.q_proj"; `.weight` and `.bias` are added
/// here. Without its leading "model." it is also the location of the ops made from it, which later
/// becomes the label of a dispatch.
///
/// A weight that the checkpoint lacks, or holds with another shape or as something that is no
/// weight, is an error diagnostic that names checkpoint, tensor, expected and found. Building goes
/// on with the expected shape, and build() fails in the end, so that one run shows all of them.
class ModelBuilder {
public:
  /// Loads the dialects it needs into `context`. Keeps references to all three.
  ModelBuilder(mlir::MLIRContext &context, const ModelConfig &config, const Checkpoint &weights);

  /// Calls `body` once per entry point and takes what it returns, logits f32 [R, vocab], as the
  /// entry point's result; then verifies the module. `kv.layers` and the like describe the cache.
  mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
  build(const graph::KvLayout &kv, llvm::function_ref<mlir::Value(ModelBuilder &)> body);

  //===-- Weights ---------------------------------------------------------------------------===//

  /// The tensor `name`, with the element type it is stored in (blocks of GGUF: f32).
  mlir::Value weight(llvm::StringRef name, llvm::ArrayRef<int64_t> shape);

  /// (count, shape): the tensors `prefix` + i + `suffix`, i < count, each of `shape`. Stored types
  /// that differ among them count as f32.
  mlir::Value stackedWeights(llvm::StringRef prefix, int64_t count, llvm::StringRef suffix,
                             llvm::ArrayRef<int64_t> shape);

  //===-- Rows ------------------------------------------------------------------------------===//

  /// tokens -> [T, hidden_size]
  mlir::Value embed(llvm::StringRef module);

  /// [T, n] -> [T, outputs]. keepF32: a router, never encoded to fewer bits.
  mlir::Value linear(mlir::Value x, llvm::StringRef module, int64_t outputs, bool bias = false,
                     bool keepF32 = false);

  /// [T, n] -> [T, n]; in `groups` runs of n / groups with one shared weight.
  mlir::Value rmsNorm(mlir::Value x, llvm::StringRef module, double eps, int64_t groups = 1);

  /// residual + x
  mlir::Value add(mlir::Value residual, mlir::Value x);

  /// down(silu(gate x) * up x) with an inner width of `inner`: [T, n] -> [T, n].
  mlir::Value mlp(mlir::Value x, llvm::StringRef module, int64_t inner);

  /// The router `<module>.gate` and the experts, by the sizes of the config: [T, n] -> [T, n].
  mlir::Value experts(mlir::Value x, llvm::StringRef module, const ExpertLayer &layer);

  /// Final norm and head of the rows in logit_rows: [T, hidden_size] -> [R, vocab_size].
  mlir::Value logits(mlir::Value x, llvm::StringRef norm, llvm::StringRef head);

  //===-- Positions, cache, attention -------------------------------------------------------===//

  /// Rotates rotary_dim elements from `offset` on of each of `heads` heads.
  mlir::Value rope(mlir::Value x, int64_t heads, int64_t headDim, int64_t offset = 0);

  /// [T, rank + ropeDim] -> the same: [rms_norm | rope], the row of a latent cache.
  mlir::Value latentCompress(mlir::Value x, llvm::StringRef norm, double eps,
                             const LatentSizes &sizes);

  /// Writes this call's rows of a layer: one latent row, or keys and values.
  void appendCache(llvm::StringRef module, int64_t layer, mlir::ValueRange rows);

  /// [T, heads (nope + ropeDim)] -> [T, heads vDim]; `kvB` is the module of kv_b_proj.
  mlir::Value latentAttention(mlir::Value q, llvm::StringRef kvB, int64_t layer,
                              const LatentSizes &sizes);

  /// [T, heads headDim] -> the same.
  mlir::Value attention(mlir::Value q, llvm::StringRef module, int64_t layer, int64_t heads,
                        int64_t kvHeads, int64_t headDim);

private:
  mlir::FailureOr<mlir::Type> storedType(llvm::StringRef name, llvm::ArrayRef<int64_t> shape);
  mlir::Location locationOf(llvm::StringRef module);
  mlir::Value param(llvm::StringRef key, mlir::Type element, llvm::ArrayRef<int64_t> shape,
                    llvm::ArrayRef<llvm::StringRef> names);
  void beginEntry(llvm::StringRef name);
  mlir::Value ropeTable();
  std::string modelName() const;

  const ModelConfig &config;
  const Checkpoint &weights;
  RopeTable rope_;
  mlir::ImplicitLocOpBuilder b;
  bool failed_ = false;

  // Of the entry point being built.
  mlir::Value tokens, positions, sequence, pageTable, contextLength, logitRows;
  llvm::StringMap<mlir::Value> params;  // by (first) name: a weight is one value per entry point
  mlir::Value table;
};

}  // namespace fathom

#endif  // FATHOM_FRONTEND_BUILDER_MODELBUILDER_H
