// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The cache and attention ops: verifiers and result types.
#include "dialects/graph/Verify.h"

using namespace mlir;

namespace fathom::graph {

using TensorValue = TypedValue<RankedTensorType>;

LogicalResult verifyBatch(Operation *op, StringRef label, int64_t tokens, TensorValue positions,
                          TensorValue sequence, TensorValue pageTable, TensorValue contextLength) {
  for (TensorValue perToken : {positions, sequence})
    if (!agree(dim(perToken, 0), tokens))
      return op->emitOpError() << label << ": "
                               << (perToken == positions ? "positions" : "sequence") << " has "
                               << dim(perToken, 0) << " elements for " << tokens << " tokens";
  if (contextLength && !agree(dim(pageTable, 0), dim(contextLength, 0)))
    return op->emitOpError() << label << ": page_table has " << dim(pageTable, 0)
                             << " rows, context_length " << dim(contextLength, 0) << " elements";
  return success();
}

LogicalResult verifyCacheUse(Operation *op, StringRef label, int64_t layer, bool latent,
                             int64_t rowElements) {
  if (layer < 0) return op->emitOpError() << label << ": layer " << layer << " is negative";
  std::optional<KvLayout> kv = getKvLayout(op);
  if (!kv) return success();
  if (layer >= kv->layers)
    return op->emitOpError() << label << ": layer " << layer << " of a cache of " << kv->layers
                             << " layers";
  if (latent != kv->latent || rowElements != kv->rowElements)
    return op->emitOpError() << label << ": needs a " << (latent ? "latent" : "gqa")
                             << " cache with rows of " << rowElements << " elements, graph.kv is "
                             << (kv->latent ? "latent" : "gqa") << " with " << kv->rowElements;
  return success();
}

// heads * (a + b), or -1 when a size is not positive or the product does not fit.
static int64_t width(int64_t heads, int64_t a, int64_t b = 0) {
  int64_t sum;
  if (heads <= 0 || a <= 0 || b < 0 || __builtin_add_overflow(a, b, &sum)) return -1;
  return product(heads, sum);
}

static LogicalResult sameTypeAs(Value value, SmallVectorImpl<Type> &types) {
  types.push_back(value.getType());
  return success();
}

//===-- latent_compress ---------------------------------------------------------------------===//

LogicalResult LatentCompressOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                                 Adaptor op, SmallVectorImpl<Type> &types) {
  return sameTypeAs(op.getX(), types);
}

LogicalResult LatentCompressOp::verify() {
  if (getRopeDim() <= 0 || width(1, getRank(), getRopeDim()) != dim(getX(), 1))  // C1
    return emitOpError() << "C1: rank " << getRank() << " and rope_dim " << getRopeDim()
                         << " do not make up the " << dim(getX(), 1) << " columns of x";
  if (dim(getGamma(), 0) != getRank())  // C2
    return emitOpError() << "C2: gamma has " << dim(getGamma(), 0) << " elements, expected rank "
                         << getRank();
  if (getRopeDim() % 2 || dim(getTable(), 1) != getRopeDim() ||
      dim(getTable(), 0) <= kRopeTablePeriod)  // C3
    return emitOpError() << "C3: rope_dim must be even and the table have more than "
                         << kRopeTablePeriod << " rows of rope_dim = " << getRopeDim()
                         << " columns, got " << getTable().getType();
  if (!agree(dim(getPositions(), 0), dim(getX(), 0)))  // C4
    return emitOpError() << "C4: positions has " << dim(getPositions(), 0) << " elements, x "
                         << dim(getX(), 0) << " rows";
  if (!isNotNegative(getEps()) || !isPositive(getMscale()))  // C5
    return emitOpError() << "C5: eps must be finite and not negative, mscale finite and greater "
                            "than 0, got "
                         << getEps() << " and " << getMscale();
  return verifyResults(*this, "C6");  // C6
}

//===-- cache_append ------------------------------------------------------------------------===//

LogicalResult CacheAppendOp::verify() {
  OperandRange rows = getRows();
  if (rows.empty() || rows.size() > 2 || rows.front().getType() != rows.back().getType())  // C1
    return emitOpError() << "C1: takes one row, or two of the same type, got " << rows.size();
  auto row = cast<TensorValue>(rows.front());
  if (failed(verifyBatch(*this, "C2", dim(row, 0), getPositions(), getSequence(), getPageTable(),
                         nullptr)))  // C2
    return failure();
  std::optional<KvLayout> kv = getKvLayout(*this);
  if (getLayer() < 0)  // C3
    return emitOpError() << "C3: layer " << getLayer() << " is negative";
  if (kv && getLayer() >= kv->layers)  // C3
    return emitOpError() << "C3: layer " << getLayer() << " of a cache of " << kv->layers
                         << " layers";
  bool latent = rows.size() == 1;
  return verifyCacheUse(*this, "C4", getLayer(), latent, product(rows.size(), dim(row, 1)));  // C4
}

//===-- latent_attention --------------------------------------------------------------------===//

LogicalResult LatentAttentionOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                                  Adaptor op, SmallVectorImpl<Type> &types) {
  int64_t tokens = cast<RankedTensorType>(op.getQ().getType()).getDimSize(0);
  int64_t columns = width(op.getHeads(), op.getVDim());
  if (columns < 0) return failure();
  types.push_back(rowsType(context, tokens, columns));
  return success();
}

LogicalResult LatentAttentionOp::verify() {
  if (getRopeDim() <= 0 || getRank() <= 0 || getVDim() <= 0 ||
      width(getHeads(), getNope(), getRopeDim()) != dim(getQ(), 1))  // C1
    return emitOpError() << "C1: " << getHeads() << " heads of " << getNope() << " + "
                         << getRopeDim() << " elements do not make up the " << dim(getQ(), 1)
                         << " columns of q";
  if (bool(getKvB()) == bool(getWUk()) || bool(getWUk()) != bool(getWUv()))  // C2
    return emitOpError("C2: takes either kv_b or both of w_uk and w_uv");
  if (getKvB() && (dim(getKvB(), 0) != width(getHeads(), getNope(), getVDim()) ||
                   dim(getKvB(), 1) != getRank()))  // C3
    return emitOpError() << "C3: kv_b must be [" << width(getHeads(), getNope(), getVDim()) << ", "
                         << getRank() << "], got " << getKvB().getType();
  if (getWUk()) {  // C4
    ArrayRef<int64_t> uk = getWUk().getType().getShape(), uv = getWUv().getType().getShape();
    if (uk != ArrayRef{getHeads(), getNope(), getRank()} ||
        uv != ArrayRef{getHeads(), getVDim(), getRank()})
      return emitOpError() << "C4: w_uk must be [" << getHeads() << ", " << getNope() << ", "
                           << getRank() << "] and w_uv [" << getHeads() << ", " << getVDim()
                           << ", " << getRank() << "], got " << getWUk().getType() << " and "
                           << getWUv().getType();
    if (getForm() != AttentionForm::Expanded)
      return emitOpError("C4: w_uk and w_uv need the form expanded");
  }
  if (failed(verifyBatch(*this, "C5", dim(getQ(), 0), getPositions(), getSequence(),
                         getPageTable(), getContextLength())))  // C5
    return failure();
  if (failed(verifyCacheUse(*this, "C6", getLayer(), /*latent=*/true,
                            getRank() + getRopeDim())))  // C6
    return failure();
  if (!isPositive(getScale()))  // C7
    return emitOpError() << "C7: scale must be finite and greater than 0, got " << getScale();
  return verifyResults(*this, "C8");  // C8
}

//===-- latent_attention_absorbed -----------------------------------------------------------===//

LogicalResult LatentAttentionAbsorbedOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                                          Adaptor op,
                                                          SmallVectorImpl<Type> &types) {
  return sameTypeAs(op.getQLatent(), types);
}

LogicalResult LatentAttentionAbsorbedOp::verify() {
  if (width(getHeads(), getRank()) != dim(getQLatent(), 1))  // C1
    return emitOpError() << "C1: " << getHeads() << " heads of rank " << getRank()
                         << " do not make up the " << dim(getQLatent(), 1)
                         << " columns of q_latent";
  if (getRopeDim() <= 0 || width(getHeads(), getNope(), getRopeDim()) != dim(getQ(), 1) ||
      !agree(dim(getQ(), 0), dim(getQLatent(), 0)))  // C2
    return emitOpError() << "C2: q must have " << dim(getQLatent(), 0) << " rows of " << getHeads()
                         << " heads of " << getNope() << " + " << getRopeDim()
                         << " elements, got " << getQ().getType();
  if (failed(verifyBatch(*this, "C3", dim(getQ(), 0), getPositions(), getSequence(),
                         getPageTable(), getContextLength())))  // C3
    return failure();
  if (failed(verifyCacheUse(*this, "C4", getLayer(), /*latent=*/true,
                            getRank() + getRopeDim())))  // C4
    return failure();
  if (!isPositive(getScale()))  // C5
    return emitOpError() << "C5: scale must be finite and greater than 0, got " << getScale();
  return verifyResults(*this, "C6");  // C6
}

//===-- attention ---------------------------------------------------------------------------===//

LogicalResult AttentionOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                            SmallVectorImpl<Type> &types) {
  return sameTypeAs(op.getQ(), types);
}

LogicalResult AttentionOp::verify() {
  if (width(getHeads(), getHeadDim()) != dim(getQ(), 1))  // C1
    return emitOpError() << "C1: " << getHeads() << " heads of " << getHeadDim()
                         << " elements do not make up the " << dim(getQ(), 1) << " columns of q";
  if (getKvHeads() <= 0 || getHeads() % getKvHeads())  // C2
    return emitOpError() << "C2: kv_heads " << getKvHeads() << " does not divide heads "
                         << getHeads();
  if (getSinks() && dim(getSinks(), 0) != getHeads())  // C3
    return emitOpError() << "C3: sinks has " << dim(getSinks(), 0) << " elements, expected "
                         << getHeads();
  if (failed(verifyBatch(*this, "C4", dim(getQ(), 0), getPositions(), getSequence(),
                         getPageTable(), getContextLength())))  // C4
    return failure();
  if (failed(verifyCacheUse(*this, "C5", getLayer(), /*latent=*/false,
                            product(2, product(getKvHeads(), getHeadDim())))))  // C5
    return failure();
  if (!isPositive(getScale()) || getWindow() < 0)  // C6
    return emitOpError() << "C6: scale must be finite and greater than 0, window not negative, got "
                         << getScale() << " and " << getWindow();
  return verifyResults(*this, "C7");  // C7
}

}  // namespace fathom::graph
