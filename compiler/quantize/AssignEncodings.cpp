// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Uniform precision: one encoding for every matrix of the model.
#include "compiler/quantize/Passes.h"
#include "dialects/graph/Graph.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace fathom::quantize {
#define GEN_PASS_DEF_ASSIGNENCODINGSPASS
#include "compiler/quantize/Passes.h.inc"
}  // namespace fathom::quantize

using namespace mlir;
using fathom::graph::Encoding;

namespace {

// A weight is a static tensor that does not have an encoding yet; activations have a dynamic dimension.
bool isUnencodedWeight(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && !type.getEncoding() && value.getDefiningOp();
}

struct AssignEncodings : fathom::quantize::impl::AssignEncodingsPassBase<AssignEncodings> {
  using AssignEncodingsPassBase::AssignEncodingsPassBase;

  void runOnOperation() override {
    std::optional<Encoding> wanted = fathom::graph::symbolizeEncoding(encoding);
    if (!wanted || *wanted == Encoding::RawF32 || *wanted == Encoding::RawI32) {
      getOperation().emitError("fathom-assign-encodings: encoding: expected f32, bf16, q8 or q4, found '")
          << encoding << "'";
      return signalPassFailure();
    }
    // A weight that several ops read is encoded once per encoding it is wanted in.
    llvm::DenseMap<std::pair<Value, Encoding>, Value> encoded;
    getOperation().walk([&](Operation* op) {
      if (op->getName().getDialectNamespace() != "graph" || isa<fathom::graph::EncodeOp>(op)) return;
      for (OpOperand& operand : op->getOpOperands()) {
        if (!isUnencodedWeight(operand.get())) continue;
        const Encoding chosen = choose(op, operand.get(), *wanted);
        Value& value = encoded[{operand.get(), chosen}];
        if (!value) {
          OpBuilder builder(&getContext());
          builder.setInsertionPointAfterValue(operand.get());
          value = fathom::graph::EncodeOp::create(builder, operand.get().getLoc(), operand.get(), chosen);
        }
        operand.set(value);
      }
    });
  }

  static Encoding choose(Operation* user, Value weight, Encoding wanted) {
    const int64_t rank = cast<RankedTensorType>(weight.getType()).getRank();
    if (rank == 1 || weight.getDefiningOp<fathom::graph::RopeTableOp>()) return Encoding::RawF32;
    auto linear = dyn_cast<fathom::graph::LinearOp>(user);
    return linear && linear.getKeepF32() ? Encoding::F32 : wanted;
  }
};

}  // namespace
