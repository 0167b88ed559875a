// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generation on the history model with a tokenizer of bytes: the text, each reason to stop,
// streaming.
#include "runtime/session/generate.h"

#include "gmock/gmock.h"
#include "tests/unit/runtime/exec/exec_fixture.h"
#include "tests/unit/runtime/session/byte_tokenizer.h"

namespace fathom {
namespace {

using ::testing::ElementsAreArray;
using testing::ExpectedGreedy;

class GenerateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Only ASCII ids, so that every token is a character.
    auto model = testing::OpenModel(testing::HistoryModel({.vocab = 128, .context_length = 200}));
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    segment_ = testing::ByteTokenizer();
    auto tokenizer = text::Tokenizer::Open(segment_);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
    auto session = Session::Create(model_.program, {});
    ASSERT_TRUE(session.ok()) << session.status();
    session_ = *std::move(session);
    id_ = *session_->AddSequence();
    options_.sampler.temperature = 0;
    options_.max_tokens = 40;
  }
  absl::StatusOr<Generation> Run(const TokenCallback& callback = nullptr) {
    return Generate(*session_, id_, prompt_, tokenizer_.get(), options_, callback);
  }
  std::string GreedyText(int count) const {
    std::string text;
    for (int32_t token : ExpectedGreedy(prompt_, count, 128))
      text.push_back(static_cast<char>(token));
    return text;
  }

  testing::OpenedModel model_;
  std::vector<uint8_t> segment_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<Session> session_;
  SequenceId id_ = 0;
  std::vector<int32_t> prompt_ = {72, 101, 108, 108, 111};
  GenerateOptions options_;
};

TEST_F(GenerateTest, GreedyIsTheModelsArgmax) {
  std::string streamed;
  std::vector<int32_t> tokens;
  const auto result = Run([&](int32_t token, std::string_view text) {
    if (token >= 0) tokens.push_back(token);
    streamed.append(text);
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->tokens, ElementsAreArray(ExpectedGreedy(prompt_, 40, 128)));
  EXPECT_EQ(result->tokens, tokens);
  EXPECT_EQ(result->text, GreedyText(40));
  EXPECT_EQ(result->text, streamed);
  EXPECT_EQ(result->reason, StopReason::max_tokens);
  EXPECT_EQ(result->prompt_tokens, 5);
  EXPECT_EQ(result->decoded_tokens, 39);
  EXPECT_EQ(session_->Tokens(id_)->size(), 5u + 39);
}

TEST_F(GenerateTest, StopStringsAcrossTokens) {
  const std::string text = GreedyText(40);
  options_.stop = {text.substr(17, 3)};
  std::string streamed;
  const auto result = Run([&](int32_t, std::string_view piece) {
    streamed.append(piece);
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->reason, StopReason::stop_string);
  EXPECT_EQ(result->text, text.substr(0, text.find(options_.stop[0])));
  EXPECT_EQ(streamed, result->text);
}

TEST_F(GenerateTest, TextHeldBackComesAtTheEnd) {
  const std::string text = GreedyText(40);
  options_.stop = {text.substr(38, 2) + "never"};
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->reason, StopReason::max_tokens);
  EXPECT_EQ(result->text, text);
}

TEST_F(GenerateTest, EndsWhenTheContextIsFull) {
  options_.max_tokens = -1;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->reason, StopReason::context_full);
  EXPECT_EQ(session_->Tokens(id_)->size(), 200u);
  EXPECT_EQ(result->tokens.size(), 196u);  // the last one did not fit any more
}

TEST_F(GenerateTest, TheCallbackCancels) {
  int calls = 0;
  const auto result = Run([&](int32_t, std::string_view) { return ++calls < 3; });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->reason, StopReason::cancelled);
  EXPECT_EQ(result->tokens.size(), 3u);
}

TEST_F(GenerateTest, ZeroTokensOnlyPrefills) {
  options_.max_tokens = 0;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->tokens.empty());
  EXPECT_EQ(session_->Tokens(id_)->size(), 5u);
}

TEST_F(GenerateTest, ASeedRepeatsItself) {
  options_.sampler = {1.0f, 0, 1.0f, 0.0f, 12345};
  const auto first = Run();
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(session_->Truncate(id_, 0).ok());
  const auto second = Run();
  ASSERT_TRUE(session_->Truncate(id_, 0).ok());
  options_.sampler.seed = 54321;
  const auto third = Run();
  EXPECT_EQ(first->tokens, second->tokens);
  EXPECT_NE(first->tokens, third->tokens);
}

TEST_F(GenerateTest, RefusesBadRequests) {
  options_.max_tokens = -2;
  EXPECT_FALSE(Run().ok());
  options_.max_tokens = 1;
  options_.sampler.temperature = -1;
  EXPECT_FALSE(Run().ok());
  options_.sampler.temperature = 0;
  options_.stop = {""};
  EXPECT_FALSE(Run().ok());
  options_.stop = {"x"};
  EXPECT_FALSE(Generate(*session_, id_, prompt_, nullptr, options_).ok());
  options_.stop.clear();
  EXPECT_FALSE(Generate(*session_, id_, {}, tokenizer_.get(), options_).ok());
  EXPECT_TRUE(session_->Tokens(id_)->empty());
  EXPECT_TRUE(Run().ok());
}

// A vocabulary in which the end of text wins sooner or later.
TEST(GenerateEnd, EndsTheTextOrIgnoresTheEnd) {
  auto model = testing::OpenModel(
      testing::HistoryModel({.vocab = testing::kByteVocabulary, .context_length = 4096}));
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<uint8_t> segment = testing::ByteTokenizer();
  const auto tokenizer = text::Tokenizer::Open(segment);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  auto session = Session::Create(model->program, {});
  const SequenceId id = *(*session)->AddSequence();
  GenerateOptions options;
  options.sampler = {50.0f, 0, 1.0f, 0.0f, 3};
  options.max_tokens = 3000;
  const std::vector<int32_t> prompt = {65};
  const auto ended = Generate(**session, id, prompt, tokenizer->get(), options);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->reason, StopReason::end_of_text);
  EXPECT_THAT(ended->tokens, ::testing::Not(::testing::Contains(testing::kEndOfText)));
  ASSERT_TRUE((*session)->Truncate(id, 0).ok());
  options.ignore_eos = true;
  const auto ignored = Generate(**session, id, prompt, tokenizer->get(), options);
  ASSERT_TRUE(ignored.ok()) << ignored.status();
  EXPECT_EQ(ignored->reason, StopReason::max_tokens);
  EXPECT_EQ(ignored->tokens.size(), 3000u);
  EXPECT_THAT(ignored->tokens, ::testing::Not(::testing::Contains(testing::kEndOfText)));
}

}  // namespace
}  // namespace fathom
