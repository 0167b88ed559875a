// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The router and the experts: verifiers and result types.
#include "dialects/graph/Verify.h"

using namespace mlir;

namespace fathom::graph {

//===-- moe_route ---------------------------------------------------------------------------===//

LogicalResult MoeRouteOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                           Adaptor op, SmallVectorImpl<Type> &types) {
  int64_t tokens = cast<RankedTensorType>(op.getLogits().getType()).getDimSize(0);
  if (op.getTopK() <= 0 || op.getShared() < 0) return failure();
  int64_t slots = op.getTopK() + op.getShared();
  types.push_back(RankedTensorType::get({tokens, slots}, IntegerType::get(context, 32)));
  types.push_back(rowsType(context, tokens, slots));
  return success();
}

LogicalResult MoeRouteOp::verify() {
  int64_t experts = dim(getLogits(), 1);
  if (getTopK() <= 0 || getTopK() > experts)  // C1
    return emitOpError() << "C1: top_k must be in [1, " << experts << "], got " << getTopK();
  if (getNGroup() <= 0 || experts % getNGroup() || getTopkGroup() <= 0 ||
      getTopkGroup() > getNGroup())  // C2
    return emitOpError() << "C2: n_group " << getNGroup() << " must divide " << experts
                         << " experts and topk_group " << getTopkGroup() << " be in [1, n_group]";
  if (getTopK() > getTopkGroup() * (experts / getNGroup()))  // C3
    return emitOpError() << "C3: " << getTopkGroup() << " groups of " << experts / getNGroup()
                         << " experts hold fewer than top_k = " << getTopK();
  bool biased = getMethod() == RouteMethod::NoauxTc;
  if (biased != bool(getBias()))  // C4
    return emitOpError() << "C4: a bias belongs to noaux_tc and only to it, the method is "
                         << stringifyRouteMethod(getMethod());
  if (getBias() && dim(getBias(), 0) != experts)  // C4
    return emitOpError() << "C4: bias has " << dim(getBias(), 0) << " elements, expected "
                         << experts;
  if (getMethod() == RouteMethod::Greedy && getNGroup() != 1)  // C5
    return emitOpError() << "C5: greedy has one group, got n_group = " << getNGroup();
  if (biased && getNGroup() > 1 && experts / getNGroup() < 2)  // C6
    return emitOpError("C6: noaux_tc scores a group by its two best experts, it has one");
  if (!isPositive(getScale()) || !isNotNegative(getNormEps()))  // C7
    return emitOpError() << "C7: scale must be finite and greater than 0, norm_eps finite and not "
                            "negative, got "
                         << getScale() << " and " << getNormEps();
  if (getShared() < 0)  // C8
    return emitOpError() << "C8: shared must not be negative, got " << getShared();
  return verifyResults(*this, "C9");  // C9
}

//===-- moe_experts -------------------------------------------------------------------------===//

LogicalResult MoeExpertsOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                             SmallVectorImpl<Type> &types) {
  types.push_back(op.getX().getType());
  return success();
}

LogicalResult MoeExpertsOp::verify() {
  if (getIndex().getType().getShape() != getWeight().getType().getShape())  // C1
    return emitOpError() << "C1: index is " << getIndex().getType() << ", weight "
                         << getWeight().getType();
  if (getWGate().getType() != getWUp().getType() || dim(getWGate(), 2) != dim(getX(), 1))  // C2
    return emitOpError() << "C2: w_gate and w_up must have one type [E, I, " << dim(getX(), 1)
                         << "], got " << getWGate().getType() << " and " << getWUp().getType();
  ArrayRef<int64_t> gate = getWGate().getType().getShape();
  if (getWDown().getType().getShape() != ArrayRef{gate[0], gate[2], gate[1]})  // C3
    return emitOpError() << "C3: w_down must be [" << gate[0] << ", " << gate[2] << ", " << gate[1]
                         << "], got " << getWDown().getType();
  if (!agree(dim(getIndex(), 0), dim(getX(), 0)))  // C4
    return emitOpError() << "C4: index has " << dim(getIndex(), 0) << " rows, x "
                         << dim(getX(), 0);
  for (auto added : {getShared(), getResidual()})
    if (added && added.getType() != getType())  // C5
      return emitOpError() << "C5: shared and residual must be " << getType() << ", got "
                           << added.getType();
  return verifyResults(*this, "C6");  // C6
}

}  // namespace fathom::graph
