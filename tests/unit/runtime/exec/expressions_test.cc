// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every operation of the expression pool, at its edges.
#include "runtime/exec/expressions.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/runtime/artifact/artifact_builder.h"

namespace fathom {
namespace {

using schema::ExprOp;

absl::StatusOr<std::vector<int64_t>> EvaluateNodes(const std::vector<schema::ExprNode>& nodes,
                                                   const CallShape& shape = {}) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(builder.CreateVectorOfStructs(nodes));
  return Evaluate(*flatbuffers::GetRoot<ExpressionPool>(builder.GetBufferPointer()), shape);
}

absl::StatusOr<int64_t> Apply(ExprOp op, int64_t a, int64_t b) {
  testing::ExprBuilder e;
  const uint32_t x = e.Constant(a), y = e.Constant(b);
  e.Op(op, x, y);
  const auto values = EvaluateNodes(e.nodes());
  if (!values.ok()) return values.status();
  return values->back();
}

TEST(Expressions, Operations) {
  EXPECT_EQ(*Apply(ExprOp::add, 7, -9), -2);
  EXPECT_EQ(*Apply(ExprOp::mul, 1 << 20, 1 << 20), int64_t{1} << 40);
  EXPECT_EQ(*Apply(ExprOp::floor_div, 7, 2), 3);
  EXPECT_EQ(*Apply(ExprOp::floor_div, -7, 2), -4);
  EXPECT_EQ(*Apply(ExprOp::ceil_div, 7, 2), 4);
  EXPECT_EQ(*Apply(ExprOp::ceil_div, -7, 2), -3);
  EXPECT_EQ(*Apply(ExprOp::ceil_div, 8, 2), 4);
  EXPECT_EQ(*Apply(ExprOp::min, 3, -3), -3);
  EXPECT_EQ(*Apply(ExprOp::max, 3, -3), 3);
}

TEST(Expressions, Symbols) {
  testing::ExprBuilder e;
  for (uint32_t symbol = 0; symbol < 4; ++symbol) e.Symbol(symbol);
  EXPECT_THAT(*EvaluateNodes(e.nodes(), {11, 22, 33, 44}), ::testing::ElementsAre(11, 22, 33, 44));
}

TEST(Expressions, NoResult) {
  EXPECT_FALSE(Apply(ExprOp::add, INT64_MAX, 1).ok());
  EXPECT_FALSE(Apply(ExprOp::add, INT64_MIN, -1).ok());
  EXPECT_FALSE(Apply(ExprOp::mul, INT64_MAX, 2).ok());
  EXPECT_FALSE(Apply(ExprOp::mul, INT64_MIN, -1).ok());
  EXPECT_FALSE(Apply(ExprOp::floor_div, 1, 0).ok());
  EXPECT_FALSE(Apply(ExprOp::floor_div, INT64_MIN, -1).ok());
  EXPECT_FALSE(Apply(ExprOp::ceil_div, 1, 0).ok());
}

}  // namespace
}  // namespace fathom
