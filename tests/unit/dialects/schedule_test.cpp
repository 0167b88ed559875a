// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes: how they are made, which are valid, and that their text reads back as the same map.
#include "dialects/schedule/Schedule.h"

#include "gtest/gtest.h"
#include "mlir/IR/Builders.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;

namespace fathom::schedule {
namespace {

class SizeTest : public testing::Test {
protected:
  SizeTest() : s(&context) { context.loadDialect<ScheduleDialect>(); }

  // The size of a buffer after printing the module and parsing that.
  AffineMap throughText(AffineMap size) {
    OpBuilder builder(&context);
    Location loc = builder.getUnknownLoc();
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    builder.setInsertionPointToEnd(module->getBody());
    auto program =
        ProgramOp::create(builder, loc, "p", "cpu", "cpu", ArrayRef<StringRef>(), nullptr);
    builder.setInsertionPointToEnd(&program.getBody().front());
    auto entry = EntryOp::create(builder, loc, "decode");
    builder.setInsertionPointToEnd(&entry.getBody().front());
    BufferOp::create(builder, loc, "b", BufferKind::Transient, size, AffineMapAttr());
    std::string text;
    llvm::raw_string_ostream os(text);
    module->print(os);
    OwningOpRef<ModuleOp> again = parseSourceString<ModuleOp>(text, &context);
    if (!again) return AffineMap();
    AffineMap read;
    again->walk([&](BufferOp buffer) { read = buffer.getSize(); });
    return read;
  }

  MLIRContext context;
  SizeSymbols s;
};

TEST_F(SizeTest, ReadsAsItIsMeant) {
  EXPECT_EQ(formatSize(makeSize(s.T * 64 + 2056)), "T * 64 + 2056");
  EXPECT_EQ(formatSize(makeSize(&context, 0)), "0");
  EXPECT_EQ(formatSize(makeMinimum({getAffineConstantExpr(64, &context), s.T * 6})),
            "min(64, T * 6)");
  EXPECT_EQ(formatSize(makeSize(s.B * s.P * 4)), "B * P * 4");
  EXPECT_EQ(formatSize(makeSize(s.T.ceilDiv(16))), "T ceildiv 16");
  EXPECT_EQ(formatSize(makeSize((s.T + s.R) * 4)), "(T + R) * 4");
}

TEST_F(SizeTest, TextReadsBack) {
  const AffineExpr T = s.T, B = s.B, P = s.P, R = s.R;
  for (AffineMap size :
       {makeSize(T), makeSize(&context, 1), makeSize(&context, -5), makeSize((T + 1) * 3 + B),
        makeSize(T * (B + P)), makeSize(T - R), makeSize((T + 15).floorDiv(16) * 16),
        makeSize(T * B.ceilDiv(2)), makeSize((T * B).ceilDiv(2)),
        makeSize(T.floorDiv(B.floorDiv(2))),
        makeSize(T + (B + P) * 2), makeSize(T * -1), makeMinimum({T, B, P + R})})
    EXPECT_EQ(throughText(size), size) << formatSize(size);
}

TEST_F(SizeTest, ValidSizesAreWhatTheArtifactCanSay) {
  EXPECT_TRUE(isValidSize(makeSize(s.T * s.P)));
  EXPECT_FALSE(isValidSize(makeSize(s.T % 16)));
  EXPECT_FALSE(isValidSize(makeSize((s.T % 16) * 4 + 1)));
  EXPECT_FALSE(isValidSize(AffineMap::get(1, 4, getAffineDimExpr(0, &context))));
  EXPECT_FALSE(isValidSize(AffineMap::get(0, 3, s.T)));
  EXPECT_FALSE(isValidSize(AffineMap::get(0, 4, &context)));  // no result
}

}  // namespace
}  // namespace fathom::schedule
