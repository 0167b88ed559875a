// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The graph dialect: the one header to include for its ops, attributes and the facts about types.
#ifndef FATHOM_DIALECTS_GRAPH_GRAPH_H
#define FATHOM_DIALECTS_GRAPH_GRAPH_H

#include <cstdint>
#include <optional>

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/graph/GraphDialect.h.inc"
#include "dialects/graph/GraphEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/graph/GraphAttrs.h.inc"

namespace fathom::graph {

/// The paged key-value cache, the only state a graph has. One resource for all layers: ops on
/// different layers are kept in order too, which costs nothing because they depend on each other.
struct KvCacheResource : mlir::SideEffects::Resource::Base<KvCacheResource> {
  llvm::StringRef getName() final { return "KvCache"; }
};

/// The positions a RoPE table composes an angle from: p mod kRopeTablePeriod, p / kRopeTablePeriod.
inline constexpr int64_t kRopeTablePeriod = 512;

/// Names of the attributes of a model's module.
inline constexpr llvm::StringLiteral kModelAttr = "graph.model";
inline constexpr llvm::StringLiteral kKvAttr = "graph.kv";

/// The module's `graph.kv`, typed.
struct KvLayout {
  int64_t layers;       // how many layers have a cache
  int64_t rowElements;  // of one token and layer
  bool latent;          // kind "latent"; else "gqa"
};

/// The layout of the module around `op` (or of `op` itself); none without a valid `graph.kv`.
std::optional<KvLayout> getKvLayout(mlir::Operation *op);
mlir::DictionaryAttr makeKvAttr(mlir::MLIRContext *context, const KvLayout &layout);

/// The encoding of a tensor type, if it has one of ours.
std::optional<Encoding> getEncoding(mlir::Type type);

/// `type` with the element type and the encoding it has once encoded.
mlir::RankedTensorType getEncodedType(mlir::RankedTensorType type, Encoding encoding);
mlir::RankedTensorType dropEncoding(mlir::RankedTensorType type);

/// Row-major values without a tile layout: norms, biases, tables.
inline bool isRaw(Encoding encoding) {
  return encoding == Encoding::RawF32 || encoding == Encoding::RawI32;
}

/// Bytes of an encoded tensor in the artifact, by encodings.md; none if `type` is not encoded or
/// the size does not fit 63 bits.
std::optional<int64_t> getEncodedBytes(mlir::RankedTensorType type);

/// True for the upstream ops that only take a weight apart or put it together:
/// tensor.extract_slice, expand_shape, collapse_shape, concat, empty and linalg.transpose.
bool isWeightView(mlir::Operation *op);

// What the operand types of the .td mean. Shapes are static but for T, B, P and R.
bool isRows(mlir::Type type);                     // f32 [T, n], not encoded
bool isIds(mlir::Type type, int64_t rank);        // i32
bool isFloats(mlir::Type type);                   // f32 [R]
bool isStored(mlir::Type type);                   // what a checkpoint can hold, not encoded
bool isWeight(mlir::Type type);                   // float or i32, encoded or not
bool isMatrix(mlir::Type type, int64_t minRank, int64_t maxRank);  // no raw encoding
bool isPlain(mlir::Type type, int64_t rank);      // not encoded or raw_f32

}  // namespace fathom::graph

#define GET_OP_CLASSES
#include "dialects/graph/GraphOps.h.inc"

#endif  // FATHOM_DIALECTS_GRAPH_GRAPH_H
