// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Overflow-checked evaluation, node by node.
#include "runtime/exec/expressions.h"

#include <algorithm>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// Rounds towards minus infinity; b > 0.
int64_t FloorDiv(int64_t a, int64_t b) { return a / b - (a % b < 0); }

int64_t SymbolValue(uint32_t symbol, const CallShape& shape) {
  switch (symbol) {
    case 0:
      return shape.tokens;
    case 1:
      return shape.sequences;
    case 2:
      return shape.pages;
    default:
      return shape.rows;
  }
}

// False when the operation has no result in int64.
bool Apply(schema::ExprOp op, int64_t a, int64_t b, int64_t* out) {
  switch (op) {
    case schema::ExprOp::add:
      return CheckedAdd(a, b, out);
    case schema::ExprOp::mul:
      return CheckedMul(a, b, out);
    case schema::ExprOp::floor_div:
      if (b <= 0) return false;
      *out = FloorDiv(a, b);
      return true;
    case schema::ExprOp::ceil_div:
      if (b <= 0) return false;
      *out = a / b + (a % b > 0);
      return true;
    case schema::ExprOp::min:
      *out = std::min(a, b);
      return true;
    case schema::ExprOp::max:
      *out = std::max(a, b);
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> Evaluate(const ExpressionPool& pool, const CallShape& shape) {
  std::vector<int64_t> values(pool.size());
  for (uint32_t i = 0; i < pool.size(); ++i) {
    const schema::ExprNode& node = *pool.Get(i);
    if (node.op() == schema::ExprOp::constant) {
      values[i] = node.value();
    } else if (node.op() == schema::ExprOp::symbol) {
      values[i] = SymbolValue(node.a(), shape);
    } else if (!Apply(node.op(), values[node.a()], values[node.b()], &values[i])) {
      return absl::OutOfRangeError(absl::StrCat(
          "expression ", i, ": ", schema::EnumNameExprOp(node.op()), " of ", values[node.a()],
          " and ", values[node.b()], " has no 64-bit result (T ", shape.tokens, ", B ",
          shape.sequences, ", P ", shape.pages, ", R ", shape.rows, ")"));
    }
  }
  return values;
}

}  // namespace fathom
