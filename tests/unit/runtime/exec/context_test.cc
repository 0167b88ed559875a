// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls through command lists: results, profiles, and every input that must be refused.
#include "runtime/exec/context.h"

#include <numeric>

#include "gmock/gmock.h"
#include "tests/unit/runtime/exec/exec_fixture.h"

namespace fathom {
namespace {

using ::testing::ElementsAreArray;
using testing::ExpectedLogits;
using ::testing::HasSubstr;

// A call that a test can bend.
struct Call {
  std::vector<int32_t> tokens, positions, sequence, page_table, context_length, logit_rows;
  CallInputs inputs() const {
    return {tokens, positions, sequence, page_table, context_length, logit_rows};
  }
};

// One sequence from position 0; `pages` are its physical pages.
Call Prompt(std::vector<int32_t> tokens, std::vector<int32_t> pages) {
  Call call;
  call.positions.resize(tokens.size());
  std::iota(call.positions.begin(), call.positions.end(), 0);
  call.sequence.assign(tokens.size(), 0);
  call.page_table = std::move(pages);
  call.context_length = {static_cast<int32_t>(tokens.size())};
  call.logit_rows = {static_cast<int32_t>(tokens.size()) - 1};
  call.tokens = std::move(tokens);
  return call;
}

class ContextTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    auto model = testing::OpenModel(testing::HistoryModel(), "cpu", GetParam());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    auto context = Context::Create(model_.program, 16);
    ASSERT_TRUE(context.ok()) << context.status();
    context_ = *std::move(context);
  }
  std::vector<float> Row(const Logits& logits, int64_t row) {
    const auto values = logits.row(row, model_.program->vocab_size());
    return {values.begin(), values.end()};
  }
  testing::OpenedModel model_;
  std::unique_ptr<Context> context_;
};

INSTANTIATE_TEST_SUITE_P(Threads, ContextTest, ::testing::Values(1, 2, 5));

TEST_P(ContextTest, PrefillThenDecode) {
  std::vector<int32_t> tokens(130);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 37 % 100);
  auto logits = context_->Run("prefill", Prompt(tokens, {5, 2, 9}).inputs());
  ASSERT_TRUE(logits.ok()) << logits.status();
  EXPECT_THAT(Row(*logits, 0), ElementsAreArray(ExpectedLogits(tokens, 100)));
  for (int i = 0; i < 20; ++i) {
    tokens.push_back(i);
    Call call;
    call.tokens = {i};
    call.positions = {static_cast<int32_t>(tokens.size()) - 1};
    call.sequence = {0};
    call.page_table = {5, 2, 9};
    call.context_length = {static_cast<int32_t>(tokens.size())};
    call.logit_rows = {0};
    logits = context_->Run("decode", call.inputs());
    ASSERT_TRUE(logits.ok()) << logits.status();
    EXPECT_THAT(Row(*logits, 0), ElementsAreArray(ExpectedLogits(tokens, 100)));
  }
}

// Each layer has pages of its own: the last one's are what the first ones' writes leave alone.
TEST_P(ContextTest, LayersDoNotReachIntoEachOther) {
  auto model = testing::OpenModel(testing::HistoryModel({.layers = 5}), "cpu", GetParam());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->program->page_bytes(), 5 * 256u);
  auto context = Context::Create(model->program, 3);
  ASSERT_TRUE(context.ok()) << context.status();
  std::vector<int32_t> tokens(190);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 37 % 100);
  auto logits = (*context)->Run("prefill", Prompt(tokens, {2, 0, 1}).inputs());
  ASSERT_TRUE(logits.ok()) << logits.status();
  EXPECT_THAT(Row(*logits, 0), ElementsAreArray(ExpectedLogits(tokens, 100)));
}

TEST_P(ContextTest, SeveralSequencesAndRowsInOneCall) {
  Call call;
  call.tokens = {7, 8, 9, 50, 51};
  call.positions = {0, 1, 2, 0, 1};
  call.sequence = {0, 0, 0, 1, 1};
  call.page_table = {3, 0, 4, 0};
  call.context_length = {3, 2};
  call.logit_rows = {4, 1, 2};
  auto logits = context_->Run("prefill", call.inputs());
  ASSERT_TRUE(logits.ok()) << logits.status();
  ASSERT_EQ(logits->rows, 3);
  EXPECT_THAT(Row(*logits, 0), ElementsAreArray(ExpectedLogits({50, 51}, 100)));
  EXPECT_THAT(Row(*logits, 1), ElementsAreArray(ExpectedLogits({7, 8}, 100)));
  EXPECT_THAT(Row(*logits, 2), ElementsAreArray(ExpectedLogits({7, 8, 9}, 100)));
}

TEST_P(ContextTest, ManyShapesOutliveTheRecordingsKept) {
  for (int round = 0; round < 2; ++round) {
    for (int n = 1; n <= 60; ++n) {
      const std::vector<int32_t> tokens(n, n);
      auto logits = context_->Run("prefill", Prompt(tokens, {n % 16}).inputs());
      ASSERT_TRUE(logits.ok()) << logits.status();
      EXPECT_THAT(Row(*logits, 0), ElementsAreArray(ExpectedLogits(tokens, 100)));
    }
  }
}

TEST_P(ContextTest, ProfileNamesEachDispatch) {
  std::vector<DispatchProfile> profile;
  auto logits = context_->Run("prefill", Prompt({1, 2, 3}, {0}).inputs(), &profile);
  ASSERT_TRUE(logits.ok()) << logits.status();
  EXPECT_THAT(Row(*logits, 0), ElementsAreArray(ExpectedLogits({1, 2, 3}, 100)));
  ASSERT_EQ(profile.size(), 3u);
  EXPECT_EQ(profile[0].kernel, "append");
  EXPECT_EQ(profile[1].label, "layers.0/history");
  EXPECT_GT(profile[2].nanoseconds, 0u);
}

TEST_P(ContextTest, RefusesBadInputs) {
  const auto expect = [&](const Call& call, const char* field) {
    const auto logits = context_->Run("prefill", call.inputs());
    ASSERT_EQ(logits.status().code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(std::string(logits.status().message()), HasSubstr(field));
  };
  const Call good = Prompt({1, 2, 3}, {0, 1});
  Call call = good;
  call.tokens[1] = 100;
  expect(call, "tokens[1]");
  call.tokens[1] = -1;
  expect(call, "tokens[1]");
  call = good;
  call.tokens.clear();
  expect(call, "tokens");
  call = good;
  call.positions.pop_back();
  expect(call, "positions");
  call = good;
  call.positions[0] = -1;
  expect(call, "positions[0]");
  call = good;
  call.positions[2] = 7;
  expect(call, "positions[2]");
  call = good;
  call.context_length[0] = 4;
  expect(call, "positions[2]");
  call.context_length[0] = 129;
  expect(call, "context_length[0]");
  call.context_length = {3, 1};
  expect(call, "sequence");
  call = good;
  call.sequence = {1, 1, 1};
  expect(call, "sequence[0]");
  call = good;
  call.page_table[1] = 16;
  expect(call, "page_table[1]");
  call.page_table[1] = -1;
  expect(call, "page_table[1]");
  call.page_table.clear();
  expect(call, "page_table");
  call = good;
  call.logit_rows = {3};
  expect(call, "logit_rows[0]");
  call.logit_rows.clear();
  expect(call, "logit_rows");
  EXPECT_FALSE(context_->Run("train", good.inputs()).ok());
  EXPECT_TRUE(context_->Run("prefill", good.inputs()).ok());
}

TEST(ContextCreate, RefusesNoPages) {
  auto model = testing::OpenModel(testing::HistoryModel());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE(Context::Create(model->program, 0).ok());
}

// What a header may say that no single field reveals: sizes that disagree at run time.
TEST(ContextPlan, RefusesBuffersOutsideTheArena) {
  auto builder = testing::HistoryModel();
  for (auto& entry : builder.header.programs[0]->entries) entry->arena = 1;  // the constant 0
  auto model = testing::OpenModel(std::move(builder));
  ASSERT_TRUE(model.ok()) << model.status();
  auto context = Context::Create(model->program, 4);
  ASSERT_TRUE(context.ok());
  const auto logits = (*context)->Run("prefill", Prompt({1}, {0}).inputs());
  EXPECT_THAT(std::string(logits.status().message()), HasSubstr("outside the arena"));
}

TEST(ContextPlan, RefusesWrongLogitsSize) {
  auto builder = testing::HistoryModel();
  for (auto& entry : builder.header.programs[0]->entries) entry->buffers.back()->size = 0;
  auto model = testing::OpenModel(std::move(builder));
  ASSERT_TRUE(model.ok()) << model.status();
  auto context = Context::Create(model->program, 4);
  const auto logits = (*context)->Run("prefill", Prompt({1}, {0}).inputs());
  EXPECT_THAT(std::string(logits.status().message()), HasSubstr("logits"));
}

TEST(ContextPlan, RefusesABindingOutsideItsBuffer) {
  auto builder = testing::HistoryModel();
  for (auto& entry : builder.header.programs[0]->entries) {
    entry->commands[0]->bindings[0]->offset = 1 << 20;
  }
  auto model = testing::OpenModel(std::move(builder));
  ASSERT_TRUE(model.ok()) << model.status();
  auto context = Context::Create(model->program, 4);
  const auto logits = (*context)->Run("prefill", Prompt({1}, {0}).inputs());
  EXPECT_THAT(std::string(logits.status().message()), HasSubstr("outside the buffer"));
}

TEST(ContextPlan, RefusesOverflowingSizes) {
  auto builder = testing::HistoryModel();
  for (auto& entry : builder.header.programs[0]->entries) {
    auto& exprs = entry->exprs;
    exprs.emplace_back(schema::ExprOp::constant, 0, 0, INT64_MAX);
    const uint32_t last = static_cast<uint32_t>(exprs.size() - 1);
    exprs.emplace_back(schema::ExprOp::add, last, last, 0);
  }
  auto model = testing::OpenModel(std::move(builder));
  ASSERT_TRUE(model.ok()) << model.status();
  auto context = Context::Create(model->program, 4);
  const auto logits = (*context)->Run("prefill", Prompt({1}, {0}).inputs());
  EXPECT_THAT(std::string(logits.status().message()), HasSubstr("64-bit"));
}

}  // namespace
}  // namespace fathom
