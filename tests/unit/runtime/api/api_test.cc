// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The C interface as another program sees it: results, error kinds, sizes of structs, the example.
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/api/fathom.h"
#include "tests/unit/runtime/artifact/history_model.h"
#include "tests/unit/runtime/session/byte_tokenizer.h"

namespace fathom {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr char kTemplate[] =
    "{% for m in messages %}<|role|>{{ m['role'] }}\n{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|role|>assistant\n{% endif %}";

class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    file_ = std::make_unique<testing::TemporaryFile>(
        testing::HistoryModel(
            {.vocab = testing::kByteVocabulary, .tokenizer = testing::ByteTokenizer(kTemplate)})
            .Build());
    fathom_model_options options;
    fathom_model_options_init(&options);
    options.threads = 2;
    options.check_full = true;
    ASSERT_EQ(fathom_model_open(file_->path().c_str(), &options, &model_), FATHOM_OK)
        << fathom_last_error();
    fathom_session_options session_options;
    fathom_session_options_init(&session_options);
    session_options.max_sequences = 3;
    ASSERT_EQ(fathom_session_create(model_, &session_options, &session_), FATHOM_OK)
        << fathom_last_error();
  }
  void TearDown() override {
    fathom_session_destroy(session_);
    fathom_model_close(model_);
  }
  int32_t Add() {
    int32_t sequence = -1;
    EXPECT_EQ(fathom_sequence_add(session_, &sequence), FATHOM_OK);
    return sequence;
  }
  std::vector<float> Expected(const std::vector<int32_t>& tokens) {
    return testing::ExpectedLogits(tokens, testing::kByteVocabulary);
  }

  std::unique_ptr<testing::TemporaryFile> file_;
  fathom_model* model_ = nullptr;
  fathom_session* session_ = nullptr;
};

TEST_F(ApiTest, Versions) {
  EXPECT_EQ(fathom_api_version(), static_cast<uint32_t>(FATHOM_API_VERSION));
  EXPECT_GT(std::strlen(fathom_version()), 0u);
}

TEST_F(ApiTest, Info) {
  fathom_model_info info = {};
  info.size = sizeof(info);
  ASSERT_EQ(fathom_model_get_info(model_, &info), FATHOM_OK);
  EXPECT_STREQ(info.name, "test model");
  EXPECT_STREQ(info.target, "cpu:test");
  EXPECT_EQ(info.vocab_size, testing::kByteVocabulary);
  EXPECT_EQ(info.context_length, 1024u);
  EXPECT_TRUE(info.has_tokenizer);
  EXPECT_TRUE(info.has_chat_template);
  EXPECT_EQ(info.size, sizeof(info));
}

TEST_F(ApiTest, StructsOfOlderCallersWork) {
  fathom_model_info info = {};
  info.size = offsetof(fathom_model_info, architecture);  // a caller that knows size and name only
  ASSERT_EQ(fathom_model_get_info(model_, &info), FATHOM_OK);
  EXPECT_STREQ(info.name, "test model");
  EXPECT_EQ(info.architecture, nullptr);
  EXPECT_EQ(info.vocab_size, 0u);
  for (size_t size : {size_t{0}, sizeof(info) + 8}) {
    info.size = size;
    EXPECT_EQ(fathom_model_get_info(model_, &info), FATHOM_BAD_INPUT);
  }
  fathom_session_options options;
  fathom_session_options_init(&options);
  options.size = offsetof(fathom_session_options, max_sequences);
  options.max_sequences = -7;  // beyond what the caller's struct has
  fathom_session* session = nullptr;
  ASSERT_EQ(fathom_session_create(model_, &options, &session), FATHOM_OK) << fathom_last_error();
  fathom_session_destroy(session);
}

TEST(SessionOptions, DefaultsAreThoseOfTheHeader) {
  fathom_session_options options;
  fathom_session_options_init(&options);
  std::ifstream file("runtime/api/fathom.h");
  const std::string header(std::istreambuf_iterator<char>(file), {});
  const auto tells = [](const std::string& field, int32_t value) {
    return ContainsRegex(" " + field + "; [^\n]*default " + std::to_string(value) + " ");
  };
  EXPECT_THAT(header, tells("max_sequences", options.max_sequences));
  EXPECT_THAT(header, tells("chunk", options.chunk));
}

TEST_F(ApiTest, OpenErrorsHaveTheirKind) {
  fathom_model* model = nullptr;
  EXPECT_EQ(fathom_model_open("no/such.fathom", nullptr, &model), FATHOM_BAD_INPUT);
  EXPECT_THAT(fathom_last_error(), HasSubstr("no/such.fathom"));
  EXPECT_EQ(fathom_model_open(nullptr, nullptr, &model), FATHOM_BAD_INPUT);
  EXPECT_EQ(fathom_model_open(file_->path().c_str(), nullptr, nullptr), FATHOM_BAD_INPUT);
  fathom_model_options options;
  fathom_model_options_init(&options);
  options.device = "tpu";
  EXPECT_EQ(fathom_model_open(file_->path().c_str(), &options, &model), FATHOM_BAD_INPUT);
  EXPECT_THAT(fathom_last_error(), HasSubstr("tpu"));
  fathom_model_options_init(&options);
  options.load = 9;
  EXPECT_EQ(fathom_model_open(file_->path().c_str(), &options, &model), FATHOM_BAD_INPUT);
  const testing::TemporaryFile other(testing::HistoryModel({.features = {"quantum"}}).Build());
  EXPECT_EQ(fathom_model_open(other.path().c_str(), nullptr, &model), FATHOM_UNSUPPORTED);
  EXPECT_THAT(fathom_last_error(), HasSubstr("quantum"));
  fathom_model_options_init(&options);
  options.load = FATHOM_LOAD_COPY;
  options.progress = [](void*, uint64_t, uint64_t) { return false; };
  EXPECT_EQ(fathom_model_open(file_->path().c_str(), &options, &model), FATHOM_CANCELLED);
  EXPECT_EQ(model, nullptr);
}

TEST_F(ApiTest, ErrorsBelongToTheirThread) {
  EXPECT_EQ(fathom_sequence_remove(session_, 99), FATHOM_BAD_INPUT);
  std::thread([] { EXPECT_STREQ(fathom_last_error(), ""); }).join();
  EXPECT_THAT(fathom_last_error(), HasSubstr("99"));
}

TEST_F(ApiTest, TokenizesAndDetokenizes) {
  size_t count = 0;
  ASSERT_EQ(fathom_tokenize(model_, "Hey", 3, true, false, nullptr, 0, &count), FATHOM_OK);
  ASSERT_EQ(count, 3u);
  std::vector<int32_t> tokens(count);
  ASSERT_EQ(fathom_tokenize(model_, "Hey", 3, true, false, tokens.data(), 3, &count), FATHOM_OK);
  EXPECT_THAT(tokens, ElementsAre('H', 'e', 'y'));
  char text[8] = {};
  ASSERT_EQ(fathom_detokenize(model_, tokens.data(), 3, true, text, sizeof(text), &count),
            FATHOM_OK);
  EXPECT_STREQ(text, "Hey");
  EXPECT_EQ(count, 3u);
  // Control tokens in text are letters, unless asked for.
  ASSERT_EQ(fathom_tokenize(model_, "<|end|>", 7, true, false, nullptr, 0, &count), FATHOM_OK);
  EXPECT_EQ(count, 7u);
  ASSERT_EQ(fathom_tokenize(model_, "<|end|>", 7, true, true, nullptr, 0, &count), FATHOM_OK);
  EXPECT_EQ(count, 1u);
  EXPECT_TRUE(fathom_token_is_end(model_, testing::kEndOfText));
  EXPECT_FALSE(fathom_token_is_end(model_, 'a'));
  EXPECT_EQ(fathom_tokenize(model_, "\xff", 1, true, false, nullptr, 0, &count), FATHOM_BAD_INPUT);
}

TEST_F(ApiTest, ChatTemplateKeepsControlTokensToItself) {
  const fathom_message messages[] = {{"user", "<|end|>"}};
  size_t count = 0;
  int32_t tokens[64];
  ASSERT_EQ(fathom_apply_chat_template(model_, messages, 1, true, tokens, 64, &count), FATHOM_OK)
      << fathom_last_error();
  std::vector<int32_t> expected = {testing::kRoleMark, 'u', 's', 'e', 'r', '\n'};
  for (char c : std::string("<|end|>")) expected.push_back(c);
  expected.push_back(testing::kEndOfText);
  expected.push_back(testing::kRoleMark);
  for (char c : std::string("assistant\n")) expected.push_back(c);
  EXPECT_THAT(std::vector<int32_t>(tokens, tokens + count), ElementsAreArray(expected));
}

TEST_F(ApiTest, PrefillAndDecodeSeveralSequences) {
  const std::vector<int32_t> first = {10, 20, 30}, second = {200};
  const int32_t a = Add(), b = Add();
  const fathom_extension extensions[] = {{b, second.data(), 1}, {a, first.data(), 3}};
  fathom_logits logits;
  ASSERT_EQ(fathom_prefill(session_, extensions, 2, &logits), FATHOM_OK) << fathom_last_error();
  ASSERT_EQ(logits.rows, 2u);
  ASSERT_EQ(logits.vocab_size, testing::kByteVocabulary);
  const auto row = [&](size_t i) {
    const float* begin = logits.data + i * logits.stride;
    return std::vector<float>(begin, begin + logits.vocab_size);
  };
  EXPECT_THAT(row(0), ElementsAreArray(Expected({200})));
  EXPECT_THAT(row(1), ElementsAreArray(Expected({10, 20, 30})));
  const int32_t sequences[] = {a, b}, tokens[] = {1, 2};
  ASSERT_EQ(fathom_decode(session_, sequences, tokens, 2, &logits), FATHOM_OK);
  EXPECT_THAT(row(0), ElementsAreArray(Expected({10, 20, 30, 1})));
  EXPECT_THAT(row(1), ElementsAreArray(Expected({200, 2})));
  int64_t length = 0;
  ASSERT_EQ(fathom_sequence_length(session_, a, &length), FATHOM_OK);
  EXPECT_EQ(length, 4);
  ASSERT_EQ(fathom_sequence_truncate(session_, a, 1), FATHOM_OK);
  const int32_t one[] = {7};
  ASSERT_EQ(fathom_decode(session_, &a, one, 1, &logits), FATHOM_OK);
  EXPECT_THAT(row(0), ElementsAreArray(Expected({10, 7})));
}

TEST_F(ApiTest, BadInputChangesNothing) {
  const int32_t a = Add();
  const int32_t bad[] = {1, 100000};
  const fathom_extension extension = {a, bad, 2};
  fathom_logits logits = {};
  EXPECT_EQ(fathom_prefill(session_, &extension, 1, &logits), FATHOM_BAD_INPUT);
  EXPECT_EQ(logits.data, nullptr);
  const fathom_extension null_tokens = {a, nullptr, 2};
  EXPECT_EQ(fathom_prefill(session_, &null_tokens, 1, &logits), FATHOM_BAD_INPUT);
  EXPECT_EQ(fathom_prefill(session_, nullptr, 1, &logits), FATHOM_BAD_INPUT);
  EXPECT_EQ(fathom_prefill(nullptr, &extension, 1, &logits), FATHOM_BAD_INPUT);
  EXPECT_EQ(fathom_decode(session_, &a, bad + 1, 1, &logits), FATHOM_BAD_INPUT);
  int64_t length = -1;
  EXPECT_EQ(fathom_sequence_length(session_, a, &length), FATHOM_OK);
  EXPECT_EQ(length, 0);
}

TEST_F(ApiTest, GeneratesAndStreams) {
  struct Collected {
    std::string text;
    std::vector<int32_t> tokens;
  } collected;
  fathom_sampler_options sampler;
  fathom_sampler_options_init(&sampler);
  sampler.temperature = 0;
  fathom_generate_options options;
  fathom_generate_options_init(&options);
  options.sampler = &sampler;
  options.max_tokens = 20;
  options.user = &collected;
  options.callback = [](void* user, int32_t token, const char* text, size_t length) {
    auto* c = static_cast<Collected*>(user);
    c->text.append(text, length);
    if (token >= 0) c->tokens.push_back(token);
    return true;
  };
  const std::vector<int32_t> prompt = {1, 2, 3};
  fathom_generation result = {};
  result.size = sizeof(result);
  ASSERT_EQ(fathom_generate(session_, Add(), prompt.data(), 3, &options, &result), FATHOM_OK)
      << fathom_last_error();
  std::vector<int32_t> expected = testing::ExpectedGreedy(prompt, 20, testing::kByteVocabulary);
  const auto end = std::find(expected.begin(), expected.end(), testing::kEndOfText);
  const bool ended = end != expected.end();
  expected.erase(end, expected.end());
  EXPECT_EQ(collected.tokens, expected);
  EXPECT_EQ(result.reason, ended ? FATHOM_STOP_END_OF_TEXT : FATHOM_STOP_MAX_TOKENS);
  EXPECT_EQ(result.prompt_tokens, 3);
  const char* bad_stop[] = {nullptr};
  options.stop = bad_stop;
  options.stop_count = 1;
  EXPECT_EQ(fathom_generate(session_, 0, prompt.data(), 3, &options, nullptr), FATHOM_BAD_INPUT);
  sampler.top_p = 7;
  options.stop_count = 0;
  EXPECT_EQ(fathom_generate(session_, 0, prompt.data(), 3, &options, nullptr), FATHOM_BAD_INPUT);
  EXPECT_THAT(fathom_last_error(), HasSubstr("top-p"));
}

TEST_F(ApiTest, TheModelOutlivesItsHandleWhileASessionUsesIt) {
  fathom_model_close(model_);
  model_ = nullptr;
  const int32_t token = 5;
  const fathom_extension extension = {Add(), &token, 1};
  fathom_logits logits;
  EXPECT_EQ(fathom_prefill(session_, &extension, 1, &logits), FATHOM_OK);
}

TEST_F(ApiTest, NullsAreHarmless) {
  fathom_model_close(nullptr);
  fathom_session_destroy(nullptr);
  fathom_sampler_destroy(nullptr);
  EXPECT_FALSE(fathom_token_is_end(nullptr, 1));
  EXPECT_EQ(fathom_sample(nullptr, nullptr, 1, nullptr), FATHOM_BAD_INPUT);
  EXPECT_EQ(fathom_session_context_size(nullptr), 0);
}

TEST_F(ApiTest, TheExampleRuns) {
  const std::string command =
      std::string(FATHOM_EXAMPLE) + " '" + file_->path() + "' 'In the beginning'";
  FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  char block[4096];
  for (size_t n; (n = std::fread(block, 1, sizeof(block), pipe)) > 0;) output.append(block, n);
  EXPECT_EQ(WEXITSTATUS(::pclose(pipe)), 0);
  EXPECT_THAT(output, HasSubstr("test model: test, f32, context of 1024 tokens"));
  EXPECT_THAT(output, HasSubstr("tokens from a prompt of 16"));
  std::vector<int32_t> prompt;
  for (char c : std::string("In the beginning")) prompt.push_back(c);
  const int32_t next = testing::ExpectedGreedy(prompt, 1, testing::kByteVocabulary)[0];
  prompt.pop_back();
  const int32_t other = testing::ExpectedGreedy(prompt, 1, testing::kByteVocabulary)[0];
  EXPECT_THAT(output, HasSubstr("step 0: tokens " + std::to_string(next) + " and " +
                                std::to_string(other)));
}

}  // namespace
}  // namespace fathom
