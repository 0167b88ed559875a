// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the graph dialect says about types, encodings and module attributes.
#include "dialects/graph/Graph.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mlir/IR/Builders.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;

namespace fathom::graph {
namespace {

class GraphTest : public testing::Test {
protected:
  GraphTest() { context.loadDialect<GraphDialect>(); }
  RankedTensorType tensor(ArrayRef<int64_t> shape) {
    return RankedTensorType::get(shape, Float32Type::get(&context));
  }
  std::optional<int64_t> bytes(ArrayRef<int64_t> shape, Encoding encoding) {
    return getEncodedBytes(getEncodedType(tensor(shape), encoding));
  }
  MLIRContext context;
};

TEST_F(GraphTest, EncodedBytesFollowTheTileLayout) {
  // One tile of 16 rows: a step of 1, 2, 64 and 64 columns takes 64, 64, 1088 and 576 bytes.
  EXPECT_EQ(bytes({16, 64}, Encoding::F32), 64 * 64);
  EXPECT_EQ(bytes({16, 64}, Encoding::BF16), 32 * 64);
  EXPECT_EQ(bytes({16, 64}, Encoding::Q8), 1088);
  EXPECT_EQ(bytes({16, 64}, Encoding::Q4), 576);
  // Rows and columns are filled up.
  EXPECT_EQ(bytes({17, 65}, Encoding::Q4), 2 * 2 * 576);
  EXPECT_EQ(bytes({1, 1}, Encoding::BF16), 64);
  // A batch is that many matrices, each with its own filling.
  EXPECT_EQ(bytes({3, 17, 64}, Encoding::Q8), 3 * 2 * 1088);
  EXPECT_EQ(bytes({5}, Encoding::RawF32), 20);
  EXPECT_EQ(bytes({2, 3, 5}, Encoding::RawI32), 120);
}

TEST_F(GraphTest, EncodedBytesRefuseWhatDoesNotFit) {
  EXPECT_EQ(getEncodedBytes(tensor({16, 64})), std::nullopt);  // not encoded
  EXPECT_EQ(bytes({int64_t{1} << 40, int64_t{1} << 40}, Encoding::F32), std::nullopt);
  EXPECT_EQ(bytes({int64_t{1} << 62}, Encoding::RawF32), std::nullopt);
}

TEST_F(GraphTest, EncodedTypesHaveTheElementTypeOfTheirValues) {
  auto stored = RankedTensorType::get({16, 64}, BFloat16Type::get(&context));
  RankedTensorType q4 = getEncodedType(stored, Encoding::Q4);
  EXPECT_TRUE(q4.getElementType().isF32());
  EXPECT_EQ(getEncoding(q4), Encoding::Q4);
  EXPECT_EQ(dropEncoding(q4), tensor({16, 64}));
  EXPECT_TRUE(getEncodedType(tensor({4}), Encoding::RawI32).getElementType().isSignlessInteger(32));
}

TEST_F(GraphTest, OperandTypesTellWeightsFromRows) {
  auto rows = tensor({ShapedType::kDynamic, 64});
  EXPECT_TRUE(isRows(rows));
  EXPECT_FALSE(isWeight(rows));
  EXPECT_FALSE(isRows(tensor({64})));
  EXPECT_FALSE(isRows(tensor({4, 0})));
  EXPECT_FALSE(isRows(getEncodedType(tensor({16, 64}), Encoding::F32)));
  EXPECT_TRUE(isMatrix(tensor({16, 64}), 2, 2));
  EXPECT_TRUE(isMatrix(getEncodedType(tensor({2, 16, 64}), Encoding::Q4), 2, 3));
  EXPECT_FALSE(isMatrix(getEncodedType(tensor({16, 64}), Encoding::RawF32), 2, 3));
  EXPECT_TRUE(isPlain(getEncodedType(tensor({16}), Encoding::RawF32), 1));
  EXPECT_FALSE(isPlain(getEncodedType(tensor({16, 16}), Encoding::F32), 2));
  // More elements than 63 bits count.
  EXPECT_FALSE(isWeight(tensor({int64_t{1} << 40, int64_t{1} << 40})));
}

TEST_F(GraphTest, KvLayoutSurvivesItsAttribute) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  EXPECT_FALSE(getKvLayout(*module));
  module->getOperation()->setAttr(kKvAttr, makeKvAttr(&context, {27, 576, true}));
  std::optional<KvLayout> kv = getKvLayout(*module);
  ASSERT_TRUE(kv);
  EXPECT_EQ(kv->layers, 27);
  EXPECT_EQ(kv->rowElements, 576);
  EXPECT_TRUE(kv->latent);
}

// A range is a way of writing names down: any list comes back as it was.
TEST_F(GraphTest, NamesSurviveTheirText) {
  const std::vector<std::vector<std::string>> lists = {
      {"a"}, {"a.0.b", "a.1.b"}, {"9", "10"}, {"x99y", "x100y", "x101y"}, {"a1b1", "a1b2"},
      {"a1b1", "a2b2"}, {"e.00", "e.01"}, {"a", "a"}, {"a.0", "a.1", "a.3"},
      {"a\"\\\n0", "a\"\\\n1"},
      {"18446744073709551615", "18446744073709551616"}};
  for (const std::vector<std::string> &names : lists) {
    OpBuilder builder(&context);
    SmallVector<StringRef> references(names.begin(), names.end());
    OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
    builder.setInsertionPointToEnd(module->getBody());
    SmallVector<int64_t> shape{static_cast<int64_t>(names.size()), 16};
    ParamOp::create(builder, module->getLoc(), tensor(shape), builder.getStrArrayAttr(references));
    std::string text;
    llvm::raw_string_ostream os(text);
    module->print(os);
    OwningOpRef<ModuleOp> again = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(again) << text;
    auto param = cast<ParamOp>(again->getBody()->front());
    EXPECT_EQ(param.getNames(), builder.getStrArrayAttr(references)) << text;
  }
}

}  // namespace
}  // namespace fathom::graph
