// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sequences on the history model: chunks, batches and truncation never change a result.
#include "runtime/session/session.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "tests/unit/runtime/exec/exec_fixture.h"

namespace fathom {
namespace {

using ::testing::ElementsAreArray;
using testing::ExpectedLogits;
using ::testing::HasSubstr;

std::vector<int32_t> Tokens(int count, int seed) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i)
    tokens[static_cast<size_t>(i)] = (i * 31 + seed * 17 + i / 7) % 100;
  return tokens;
}

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto model = testing::OpenModel(testing::HistoryModel());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }
  std::unique_ptr<Session> Open(const SessionOptions& options) {
    auto session = Session::Create(model_.program, options);
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }
  // Appends `tokens` and gives the logits behind them.
  std::vector<float> Extend(Session& session, SequenceId id, const std::vector<int32_t>& tokens) {
    const Extension extension{id, tokens};
    auto logits = session.Extend({&extension, 1});
    EXPECT_TRUE(logits.ok()) << logits.status();
    if (!logits.ok()) return {};
    const auto row = logits->row(0, session.vocab_size());
    return {row.begin(), row.end()};
  }
  testing::OpenedModel model_;
};

TEST_F(SessionTest, AnyChunkingGivesTheSameLogits) {
  const std::vector<int32_t> prompt = Tokens(300, 1);
  for (int chunk : {1, 7, 63, 64, 65, 299, 300, 512}) {
    auto session = Open({0, 1, chunk});
    const SequenceId id = *session->AddSequence();
    EXPECT_THAT(Extend(*session, id, prompt), ElementsAreArray(ExpectedLogits(prompt, 100)));
    EXPECT_THAT(*session->Tokens(id), ElementsAreArray(prompt));
  }
}

TEST_F(SessionTest, PrefillThenDecodeEqualsOnePrefill) {
  const std::vector<int32_t> all = Tokens(150, 2);
  auto session = Open({});
  const SequenceId id = *session->AddSequence();
  std::vector<int32_t> so_far(all.begin(), all.begin() + 100);
  EXPECT_THAT(Extend(*session, id, so_far), ElementsAreArray(ExpectedLogits(so_far, 100)));
  for (size_t i = 100; i < all.size(); ++i) {
    so_far.push_back(all[i]);
    EXPECT_THAT(Extend(*session, id, {all[i]}), ElementsAreArray(ExpectedLogits(so_far, 100)));
  }
}

TEST_F(SessionTest, SequencesTogetherEqualEachAlone) {
  for (int chunk : {5, 100, 512}) {
    auto session = Open({0, 8, chunk});
    std::vector<std::vector<int32_t>> prompts;
    std::vector<Extension> extensions;
    for (int i = 0; i < 5; ++i) prompts.push_back(Tokens(1 + 70 * i, i));
    for (int i = 0; i < 5; ++i) extensions.push_back({*session->AddSequence(), prompts[i]});
    std::reverse(extensions.begin(), extensions.end());
    auto logits = session->Extend(extensions);
    ASSERT_TRUE(logits.ok()) << logits.status();
    ASSERT_EQ(logits->rows, 5);
    for (int i = 0; i < 5; ++i) {
      EXPECT_THAT(logits->row(i, 100), ElementsAreArray(ExpectedLogits(prompts[4 - i], 100)));
    }
    for (int step = 0; step < 3; ++step) {
      std::vector<int32_t> next(5);
      for (int i = 0; i < 5; ++i) {
        next[i] = (step * 7 + i) % 100;
        prompts[i].push_back(next[i]);
      }
      for (int i = 0; i < 5; ++i) extensions[i] = {i, {&next[i], 1}};
      logits = session->Extend(extensions);
      ASSERT_TRUE(logits.ok()) << logits.status();
      for (int i = 0; i < 5; ++i) {
        EXPECT_THAT(logits->row(i, 100), ElementsAreArray(ExpectedLogits(prompts[i], 100)));
      }
    }
  }
}

// Single tokens and longer runs, in either order, get the rows of their extensions back. Which
// kernels compute them is what tests/e2e/determinism_test.cc sees.
TEST_F(SessionTest, DeterministicPassesKeepTheOrderOfTheCall) {
  for (int chunk : {1, 5, 512}) {
    auto session = Open({0, 8, chunk, true});
    std::vector<std::vector<int32_t>> texts(5);
    for (size_t i = 0; i < texts.size(); ++i) ASSERT_TRUE(session->AddSequence().ok());
    int64_t done = 0, total = 0;
    for (int step = 0; step < 4; ++step) {
      std::vector<std::vector<int32_t>> next;
      std::vector<Extension> extensions;
      for (int i = 0; i < 5; ++i) next.push_back(Tokens((i + step) % 3 == 0 ? 1 : 3 * i + 2, step));
      for (int i = 4; i >= 0; --i) {
        extensions.push_back({i, next[i]});
        texts[i].insert(texts[i].end(), next[i].begin(), next[i].end());
      }
      const auto logits = session->Extend(extensions, [&](int64_t so_far, int64_t all) {
        done = so_far;
        total = all;
        return true;
      });
      ASSERT_TRUE(logits.ok()) << logits.status();
      ASSERT_EQ(logits->rows, 5);
      EXPECT_EQ(done, total);
      for (int i = 0; i < 5; ++i) {
        EXPECT_THAT(logits->row(4 - i, 100), ElementsAreArray(ExpectedLogits(texts[i], 100)));
      }
    }
  }
}

// Which entry points took the passes of a call is seen by the labels of their first commands.
TEST(SessionFewTokens, TakeTheEntryPointThatSaysSo) {
  testing::ArtifactBuilder builder = testing::HistoryModel();
  for (const auto& entry : builder.header.programs[0]->entries) {
    entry->commands.front()->label = entry->name;
    if (entry->name != "decode") continue;
    entry->few_tokens = 6;
    entry->few_context = 40;
  }
  auto model = testing::OpenModel(std::move(builder));
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<DispatchProfile> profile;
  std::vector<std::vector<int32_t>> texts;
  std::unique_ptr<Session> session;
  const auto open = [&](bool deterministic) {
    session = *Session::Create(model->program, {0, 2, 512, deterministic});
    session->set_profile(&profile);
    texts.assign(2, {});
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(session->AddSequence().ok());
  };
  // Appends so many tokens to each sequence, none for 0.
  const auto extend = [&](std::vector<int> counts) -> std::string {
    std::vector<std::vector<int32_t>> next(2);
    std::vector<Extension> extensions;
    for (int i = 0; i < 2; ++i) {
      next[i] = Tokens(counts[i], static_cast<int>(texts[i].size()));
      if (counts[i] == 0) continue;
      texts[i].insert(texts[i].end(), next[i].begin(), next[i].end());
      extensions.push_back({i, next[i]});
    }
    profile.clear();
    const auto logits = session->Extend(extensions);
    if (!logits.ok()) return logits.status().ToString();
    for (size_t i = 0; i < extensions.size(); ++i) {
      EXPECT_THAT(logits->row(static_cast<int64_t>(i), 100),
                  ElementsAreArray(ExpectedLogits(texts[extensions[i].sequence], 100)));
    }
    std::vector<std::string> passes;
    for (const DispatchProfile& dispatch : profile)
      if (dispatch.label == "prefill" || dispatch.label == "decode")
        passes.push_back(dispatch.label);
    return absl::StrJoin(passes, " ");
  };
  open(false);
  EXPECT_EQ(extend({7, 0}), "prefill");         // too many tokens
  EXPECT_EQ(extend({3, 3}), "decode");          // 8 + 9 + 10 and 1 + 2 + 3 tokens of context
  EXPECT_EQ(extend({3, 0}), "decode");          // 11 + 12 + 13 = 36
  EXPECT_EQ(extend({3, 0}), "prefill");         // 14 + 15 + 16 = 45
  EXPECT_EQ(extend({1, 0}), "decode");          // a step always is
  EXPECT_EQ(extend({0, 4}), "decode");          // 4 + 5 + 6 + 7
  EXPECT_EQ(extend({1, 2}), "decode");          // 18 and 8 + 9
  EXPECT_EQ(extend({1, 2}), "decode");          // 19 and 10 + 11 = 40
  EXPECT_EQ(extend({1, 2}), "decode decode");   // 20 and 12 + 13 = 45
  EXPECT_EQ(extend({1, 7}), "decode prefill");  // too many tokens
  open(true);
  EXPECT_EQ(extend({2, 0}), "prefill");
  EXPECT_EQ(extend({1, 0}), "decode");
  EXPECT_EQ(extend({1, 2}), "decode prefill");
  EXPECT_EQ(extend({1, 1}), "decode");
}

TEST_F(SessionTest, TruncatedSequencesGoOnFromThere) {
  auto session = Open({512, 2, 64});
  const SequenceId id = *session->AddSequence(), other = *session->AddSequence();
  const std::vector<int32_t> long_prompt = Tokens(400, 3);
  Extend(*session, id, long_prompt);
  ASSERT_TRUE(session->Truncate(id, 70).ok());
  // The pages given back are written by somebody else.
  Extend(*session, other, Tokens(500, 9));
  std::vector<int32_t> expected(long_prompt.begin(), long_prompt.begin() + 70);
  expected.push_back(5);
  EXPECT_THAT(Extend(*session, id, {5}), ElementsAreArray(ExpectedLogits(expected, 100)));
  EXPECT_FALSE(session->Truncate(id, 72).ok());
  EXPECT_FALSE(session->Truncate(id, -1).ok());
  ASSERT_TRUE(session->Truncate(id, 0).ok());
  EXPECT_THAT(Extend(*session, id, {8}), ElementsAreArray(ExpectedLogits({8}, 100)));
}

TEST_F(SessionTest, SequencesComeAndGo) {
  auto session = Open({128, 2, 64});
  const SequenceId a = *session->AddSequence(), b = *session->AddSequence();
  EXPECT_NE(a, b);
  EXPECT_EQ(session->AddSequence().status().code(), absl::StatusCode::kResourceExhausted);
  for (int round = 0; round < 10; ++round) {
    Extend(*session, a, Tokens(128, round));
    ASSERT_TRUE(session->RemoveSequence(a).ok());
    EXPECT_EQ(session->Tokens(a).status().code(), absl::StatusCode::kNotFound);
    EXPECT_FALSE(session->RemoveSequence(a).ok());
    EXPECT_EQ(*session->AddSequence(), a);
    EXPECT_TRUE(session->Tokens(a)->empty());
  }
}

TEST_F(SessionTest, AFullContextIsSaidClearlyAndChangesNothing) {
  auto session = Open({100, 1, 64});
  const SequenceId id = *session->AddSequence();
  Extend(*session, id, Tokens(90, 1));
  const std::vector<int32_t> eleven = Tokens(11, 2);
  const Extension extension{id, eleven};
  const absl::Status status = session->Extend({&extension, 1}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 100 tokens, found 90 and 11 more"));
  EXPECT_EQ(session->Tokens(id)->size(), 90u);
  Extend(*session, id, Tokens(10, 2));
  EXPECT_EQ(session->Tokens(id)->size(), 100u);
}

TEST_F(SessionTest, RefusesBadExtensions) {
  auto session = Open({});
  const SequenceId id = *session->AddSequence();
  const std::vector<int32_t> good = {1}, high = {1, 100}, low = {-1};
  const auto status = [&](std::vector<Extension> list) { return session->Extend(list).status(); };
  EXPECT_FALSE(status({}).ok());
  EXPECT_THAT(std::string(status({{id, high}}).message()), HasSubstr("tokens[1]"));
  EXPECT_THAT(std::string(status({{id, low}}).message()), HasSubstr("found -1"));
  EXPECT_FALSE(status({{id, {}}}).ok());
  EXPECT_EQ(status({{7, good}}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status({{-1, good}}).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status({{id, good}, {id, good}}).message()), HasSubstr("named twice"));
  EXPECT_TRUE(session->Tokens(id)->empty());
}

TEST_F(SessionTest, OptionsAreChecked) {
  const auto status = [&](SessionOptions options) {
    return Session::Create(model_.program, options).status();
  };
  EXPECT_THAT(std::string(status({1025, 1, 512}).message()), HasSubstr("the model's 1024"));
  EXPECT_FALSE(status({-1, 1, 512}).ok());
  EXPECT_FALSE(status({0, 0, 512}).ok());
  EXPECT_FALSE(status({0, 100000, 512}).ok());
  EXPECT_FALSE(status({0, 1, 0}).ok());
  EXPECT_FALSE(status({0, 1, 1 << 20}).ok());
  EXPECT_EQ(Open({})->context_size(), 1024);
}

TEST_F(SessionTest, ProgressCanCancel) {
  auto session = Open({0, 1, 10});
  const SequenceId id = *session->AddSequence();
  const std::vector<int32_t> tokens = Tokens(100, 4);
  const Extension extension{id, tokens};
  const auto status = session
                          ->Extend({&extension, 1},
                                   [](int64_t done, int64_t total) {
                                     EXPECT_EQ(total, 100);
                                     return done < 30;
                                   })
                          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(session->Tokens(id)->size(), 30u);
}

TEST_F(SessionTest, ManyOneTokenCallsStayQuick) {
  auto session = Open({});
  const SequenceId id = *session->AddSequence();
  std::vector<int32_t> so_far;
  for (int i = 0; i < 1024; ++i) {
    so_far.push_back(i % 100);
    Extend(*session, id, {i % 100});
  }
  EXPECT_THAT(*session->Tokens(id), ElementsAreArray(so_far));
}

}  // namespace
}  // namespace fathom
