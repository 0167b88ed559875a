// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops on rows: verifiers, result types and builders.
#include "dialects/graph/Verify.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace fathom::graph {

int64_t product(int64_t a, int64_t b) {
  int64_t result;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) return -1;
  return result;
}

static int64_t firstDim(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(0);
}

//===-- embed -------------------------------------------------------------------------------===//

LogicalResult EmbedOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor op,
                                        SmallVectorImpl<Type> &types) {
  auto w = cast<RankedTensorType>(op.getW().getType());
  types.push_back(rowsType(context, firstDim(op.getTokens()), w.getShape().back()));
  return success();
}

LogicalResult EmbedOp::verify() { return verifyResults(*this, "C1"); }  // C1

//===-- linear ------------------------------------------------------------------------------===//

// Outputs of a weight [N, K] or [G, N, K].
static int64_t outputs(RankedTensorType w) {
  return w.getRank() == 2 ? w.getDimSize(0) : product(w.getDimSize(0), w.getDimSize(1));
}

LogicalResult LinearOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  auto w = cast<RankedTensorType>(op.getW().getType());
  types.push_back(rowsType(context, firstDim(op.getX()), outputs(w)));
  return success();
}

LogicalResult LinearOp::verify() {
  RankedTensorType w = getW().getType();
  int64_t columns = w.getRank() == 2 ? w.getDimSize(1) : product(w.getDimSize(0), w.getDimSize(2));
  if (dim(getX(), 1) != columns)  // C1
    return emitOpError() << "C1: x has " << dim(getX(), 1) << " columns, the weight " << w
                         << " takes " << columns;
  if (getBias() && dim(getBias(), 0) != outputs(w))  // C2
    return emitOpError() << "C2: bias has " << dim(getBias(), 0) << " elements, expected "
                         << outputs(w);
  if (getResidual() && getResidual().getType() != getType())  // C3
    return emitOpError() << "C3: residual must be " << getType() << ", got "
                         << getResidual().getType();
  return verifyResults(*this, "C4");  // C4
}

void LinearOp::build(OpBuilder &builder, OperationState &state, Value x, Value w, Value bias,
                     Value residual, bool keepF32) {
  state.addOperands({x, w});
  if (bias) state.addOperands(bias);
  if (residual) state.addOperands(residual);
  auto &properties = state.getOrAddProperties<Properties>();
  properties.operandSegmentSizes = {1, 1, bias ? 1 : 0, residual ? 1 : 0};
  if (keepF32) properties.keep_f32 = builder.getUnitAttr();
  state.addTypes(rowsType(builder.getContext(), firstDim(x),
                          outputs(cast<RankedTensorType>(w.getType()))));
}

//===-- linear_swiglu -----------------------------------------------------------------------===//

LogicalResult LinearSwigluOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                               Adaptor op, SmallVectorImpl<Type> &types) {
  types.push_back(rowsType(context, firstDim(op.getX()), firstDim(op.getWGate())));
  return success();
}

LogicalResult LinearSwigluOp::verify() {
  if (dim(getX(), 1) != dim(getWGate(), 1))  // C1
    return emitOpError() << "C1: x has " << dim(getX(), 1) << " columns, w_gate "
                         << dim(getWGate(), 1);
  if (getWGate().getType() != getWUp().getType())  // C2
    return emitOpError() << "C2: w_gate is " << getWGate().getType() << ", w_up "
                         << getWUp().getType();
  return verifyResults(*this, "C3");  // C3
}

//===-- norms -------------------------------------------------------------------------------===//

LogicalResult RmsNormOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                          SmallVectorImpl<Type> &types) {
  types.push_back(op.getX().getType());
  return success();
}

LogicalResult RmsNormOp::verify() {
  if (getGroups() <= 0 || product(getGroups(), dim(getGamma(), 0)) != dim(getX(), 1))  // C1
    return emitOpError() << "C1: " << getGroups() << " groups of " << dim(getGamma(), 0)
                         << " elements do not make up the " << dim(getX(), 1) << " columns of x";
  if (!isNotNegative(getEps()))  // C2
    return emitOpError() << "C2: eps must be finite and not negative, got " << getEps();
  return verifyResults(*this, "C3");  // C3
}

LogicalResult LayerNormOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                            SmallVectorImpl<Type> &types) {
  types.push_back(op.getX().getType());
  return success();
}

LogicalResult LayerNormOp::verify() {
  if (dim(getGamma(), 0) != dim(getX(), 1))  // C1
    return emitOpError() << "C1: gamma has " << dim(getGamma(), 0) << " elements, x "
                         << dim(getX(), 1) << " columns";
  if (getBeta() && dim(getBeta(), 0) != dim(getGamma(), 0))  // C2
    return emitOpError() << "C2: beta has " << dim(getBeta(), 0) << " elements, gamma "
                         << dim(getGamma(), 0);
  if (!isNotNegative(getEps()))  // C3
    return emitOpError() << "C3: eps must be finite and not negative, got " << getEps();
  return verifyResults(*this, "C4");  // C4
}

//===-- swiglu ------------------------------------------------------------------------------===//

LogicalResult SwigluOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  types.push_back(op.getGate().getType());
  return success();
}

LogicalResult SwigluOp::verify() {
  if (getGate().getType() != getUp().getType())  // C1
    return emitOpError() << "C1: gate is " << getGate().getType() << ", up " << getUp().getType();
  return verifyResults(*this, "C2");  // C2
}

//===-- rope --------------------------------------------------------------------------------===//

LogicalResult RopeOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                       SmallVectorImpl<Type> &types) {
  types.push_back(op.getX().getType());
  return success();
}

LogicalResult RopeOp::verify() {
  if (getHeads() <= 0 || product(getHeads(), getHeadDim()) != dim(getX(), 1))  // C1
    return emitOpError() << "C1: " << getHeads() << " heads of " << getHeadDim()
                         << " elements do not make up the " << dim(getX(), 1) << " columns of x";
  if (getDim() <= 0 || getDim() % 2 || getOffset() < 0 || getDim() > getHeadDim() ||
      getOffset() > getHeadDim() - getDim())  // C2
    return emitOpError() << "C2: dim " << getDim() << " at offset " << getOffset()
                         << " must be even and inside a head of " << getHeadDim();
  if (dim(getTable(), 1) != getDim() || dim(getTable(), 0) <= kRopeTablePeriod)  // C3
    return emitOpError() << "C3: the table must have more than " << kRopeTablePeriod
                         << " rows of dim = " << getDim() << " columns, got "
                         << getTable().getType();
  if (!agree(dim(getPositions(), 0), dim(getX(), 0)))  // C4
    return emitOpError() << "C4: positions has " << dim(getPositions(), 0) << " elements, x "
                         << dim(getX(), 0) << " rows";
  if (!isPositive(getMscale()))  // C5
    return emitOpError() << "C5: mscale must be finite and greater than 0, got " << getMscale();
  return verifyResults(*this, "C6");  // C6
}

//===-- logits, sample ----------------------------------------------------------------------===//

LogicalResult LogitsOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  types.push_back(rowsType(context, firstDim(op.getLogitRows()), firstDim(op.getHead())));
  return success();
}

LogicalResult LogitsOp::verify() {
  if (dim(getGamma(), 0) != dim(getX(), 1))  // C1
    return emitOpError() << "C1: gamma has " << dim(getGamma(), 0) << " elements, x "
                         << dim(getX(), 1) << " columns";
  if (dim(getHead(), 1) != dim(getX(), 1))  // C2
    return emitOpError() << "C2: head has " << dim(getHead(), 1) << " columns, x "
                         << dim(getX(), 1);
  if (!isNotNegative(getEps()))  // C3
    return emitOpError() << "C3: eps must be finite and not negative, got " << getEps();
  return verifyResults(*this, "C4");  // C4
}

LogicalResult SampleOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  types.push_back(
      RankedTensorType::get({firstDim(op.getLogits())}, IntegerType::get(context, 32)));
  return success();
}

LogicalResult SampleOp::verify() {
  for (Value operand : getOperands().drop_front())
    if (!agree(firstDim(operand), dim(getLogits(), 0)))  // C1
      return emitOpError() << "C1: an operand has " << firstDim(operand) << " elements, logits "
                           << dim(getLogits(), 0) << " rows";
  return verifyResults(*this, "C2");  // C2
}

}  // namespace fathom::graph
