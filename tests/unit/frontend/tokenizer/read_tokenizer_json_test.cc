// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading tokenizer.json and the files beside it: what is understood, and how each fault is named.
#include "frontend/tokenizer/read_tokenizer_json.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "frontend/tokenizer/serialize_tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace fathom::tokenizer {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ReadTokenizerJsonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ =
        std::filesystem::temp_directory_path() / ("fathom_tokenizer_" + std::to_string(getpid()));
    std::filesystem::create_directories(dir_);
    tokenizer_ = json::parse(R"({
      "added_tokens": [{"id": 4, "content": "<s>", "special": true},
                       {"id": 5, "content": "<u>", "special": false},
                       {"id": 6, "content": "   ", "special": false}],
      "normalizer": null,
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
      "post_processor": null, "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120": 3},
                "merges": ["a b"]}})");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
  }
  absl::StatusOr<TokenizerDef> Read() {
    if (!tokenizer_.is_null()) Write("tokenizer.json", tokenizer_.dump());
    return ReadTokenizerJson(dir_.string());
  }
  std::string Error() {
    const auto def = Read();
    return def.ok() ? "read" : std::string(def.status().message());
  }

  std::filesystem::path dir_;
  json tokenizer_;
};

TEST_F(ReadTokenizerJsonTest, ReadsTokensMergesAndAddedTokens) {
  const auto def = Read();
  ASSERT_TRUE(def.ok()) << def.status();
  EXPECT_EQ(def->kind, schema::TokenizerKind::byte_level_bpe);
  ASSERT_EQ(def->tokens.size(), 7u);
  EXPECT_EQ(def->tokens[3].bytes, " ");
  EXPECT_EQ(def->tokens[4].token_class, schema::TokenClass::control);
  ASSERT_EQ(def->merges.size(), 1u);
  EXPECT_EQ(def->merges[0].result(), 2u);
  EXPECT_TRUE(def->added_tokens[0].special && def->added_tokens[0].control);
  EXPECT_TRUE(!def->added_tokens[1].special &&
              def->added_tokens[1].control);   // looks like a marker
  EXPECT_FALSE(def->added_tokens[2].control);  // white space is content
}

TEST_F(ReadTokenizerJsonTest, EqualInputGivesEqualBytes) {
  EXPECT_EQ(SerializeTokenizer(*Read()), SerializeTokenizer(*Read()));
}

TEST_F(ReadTokenizerJsonTest, NamesFileAndFieldOfAFault) {
  const json good = tokenizer_;
  const auto broken = [&](auto change) {
    tokenizer_ = good;
    change(tokenizer_);
    return Error();
  };
  const std::string path = (dir_ / "tokenizer.json").string();
  EXPECT_THAT(broken([](json& t) { t["model"]["vocab"]["c"] = 2; }),
              HasSubstr(path + ": model: id 2 is given to two tokens: "));
  EXPECT_THAT(
      broken([](json& t) { t["model"]["vocab"]["c"] = -1; }),
      HasSubstr("model.vocab.c: wrong value: expected a token id from 0 to 4194303, found -1"));
  EXPECT_THAT(broken([](json& t) { t["model"]["vocab"]["c"] = 1e9; }), HasSubstr("model.vocab.c"));
  EXPECT_THAT(broken([](json& t) { t["model"]["vocab"]["c"] = 4294967296; }),
              HasSubstr("model.vocab.c"));
  EXPECT_THAT(broken([](json& t) { t["model"]["vocab"] = json::array(); }),
              HasSubstr("model.vocab: wrong value: expected an object"));
  EXPECT_THAT(broken([](json& t) { t["model"]["merges"].push_back("b z"); }),
              HasSubstr("merge 1 (\"b\" \"z\") names a token that does not exist: z"));
  EXPECT_THAT(broken([](json& t) { t["model"]["merges"].push_back("b a"); }),
              HasSubstr("names a token that does not exist: ba"));
  EXPECT_THAT(broken([](json& t) { t["model"]["merges"].push_back("ab"); }),
              HasSubstr("model.merges[1]: wrong value: expected two tokens with a space between"));
  EXPECT_THAT(broken([](json& t) { t["model"]["merges"].push_back(7); }),
              HasSubstr("model.merges[1]"));
  EXPECT_THAT(broken([](json& t) { t["added_tokens"][1]["id"] = 4; }),
              HasSubstr("id 4 is given to two tokens: <s> and <u>"));
  EXPECT_THAT(broken([](json& t) { t["added_tokens"][0]["content"] = "ab"; }),
              HasSubstr("added token ab has two ids: expected 2, found 4"));
  EXPECT_THAT(broken([](json& t) { t["added_tokens"][1]["content"] = "<s>"; }),
              HasSubstr("added token given twice: <s>"));
  EXPECT_THAT(broken([](json& t) { t["added_tokens"][0].erase("id"); }),
              HasSubstr("added_tokens[0].id"));
  EXPECT_THAT(broken([](json& t) { t["model"]["unk_token"] = "<unk>"; }),
              HasSubstr("model.unk_token: names a token that does not exist: <unk>"));
  EXPECT_THAT(broken([](json& t) { t["model"]["type"] = "Unigram"; }),
              HasSubstr("model Unigram is not supported"));
  EXPECT_THAT(broken([](json& t) {
                t["normalizer"] = {{"type", "Precompiled"}};
              }),
              HasSubstr("normalizer: type Precompiled is not supported"));
  EXPECT_THAT(broken([](json& t) {
                t["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
              }),
              HasSubstr("pre_tokenizer: type BertPreTokenizer is not supported"));
  EXPECT_THAT(broken([](json& t) {
                t["pre_tokenizer"] = {{"type", "Split"},
                                      {"pattern", {{"Regex", "[a&&b]"}}},
                                      {"behavior", "Isolated"}};
              }),
              HasSubstr("pre_tokenizer.pattern.Regex: an intersection of classes at byte 2"));
  EXPECT_THAT(broken([](json& t) {
                t["decoder"] = {{"type", "WordPiece"}};
              }),
              HasSubstr("decoder: type WordPiece"));
  EXPECT_THAT(broken([](json& t) {
                t["post_processor"] = {{"type", "TemplateProcessing"}, {"single", json::array()}};
              }),
              HasSubstr("the template has no place for the text"));
  EXPECT_THAT(broken([](json& t) {
                json deep = {{"type", "NFC"}};
                for (int i = 0; i < 40; ++i) deep = {{"type", "Sequence"}, {"normalizers", {deep}}};
                t["normalizer"] = deep;
              }),
              HasSubstr("nested too deeply"));
}

TEST_F(ReadTokenizerJsonTest, MalformedJsonIsOneClearError) {
  tokenizer_ = json();
  for (const char* text : {"", "{", "<html>", "[1]", "{\"a\": NaN}", "{\"a\": 1e400}", "\xFF\xFE",
                           "{\"model\": {\"vocab\": {\"\\ud800\": 0}}}", "{\"a\": 1, \"a\": 2}"}) {
    Write("tokenizer.json", text);
    const auto def = Read();
    ASSERT_FALSE(def.ok()) << text;
    EXPECT_EQ(def.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(def.status().message()), HasSubstr("tokenizer.json: ")) << text;
  }
  Write("tokenizer.json", std::string(10000, '[') + std::string(10000, ']'));
  EXPECT_THAT(Error(), HasSubstr("nested too deeply"));
  std::filesystem::remove(dir_ / "tokenizer.json");
  EXPECT_EQ(Read().status().code(), absl::StatusCode::kNotFound);
  std::filesystem::create_directory(dir_ / "tokenizer.json");
  EXPECT_THAT(Error(), HasSubstr("not a regular file"));
}

TEST_F(ReadTokenizerJsonTest, SpecialTokensComeFromTheConfigFiles) {
  Write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "<u>"})");
  Write("generation_config.json", R"({"eos_token_id": [5, 2]})");
  auto def = Read();
  ASSERT_TRUE(def.ok()) << def.status();
  EXPECT_EQ(def->bos_id, 4);
  EXPECT_THAT(def->eos_ids, ElementsAre(5, 2));
  EXPECT_THAT(def->prefix_ids, ElementsAre());
  Write("generation_config.json", R"({"eos_token_id": 77})");
  EXPECT_THAT(
      Error(),
      HasSubstr(
          "generation_config.json: eos_token_id: wrong value: expected an id below 7, found 77"));
  Write("generation_config.json", "{}");
  Write("tokenizer_config.json", R"({"bos_token": "<nope>"})");
  EXPECT_THAT(
      Error(),
      HasSubstr("tokenizer_config.json: bos_token: names a token that does not exist: <nope>"));
  Write("tokenizer_config.json", "{}");
  Write("special_tokens_map.json", R"({"bos_token": "<s>", "pad_token": "ab"})");
  Write("config.json", R"({"eos_token_id": 1})");
  def = Read();
  ASSERT_TRUE(def.ok()) << def.status();
  EXPECT_EQ(def->bos_id, 4);
  EXPECT_EQ(def->pad_id, 2);
  EXPECT_THAT(def->eos_ids, ElementsAre(1));
}

TEST_F(ReadTokenizerJsonTest, LlamaClassesBuildTheirOwnTemplate) {
  Write("tokenizer_config.json",
        R"({"bos_token": "<s>", "eos_token": "<u>",
                                     "tokenizer_class": "LlamaTokenizerFast",
                                     "add_eos_token": true})");
  auto def = Read();
  ASSERT_TRUE(def.ok()) << def.status();
  EXPECT_THAT(def->prefix_ids, ElementsAre(4));
  EXPECT_THAT(def->suffix_ids, ElementsAre(5));
  Write("tokenizer_config.json",
        R"({"bos_token": "<s>", "tokenizer_class": "LlamaTokenizer", "add_bos_token": false})");
  def = Read();
  ASSERT_TRUE(def.ok()) << def.status();
  EXPECT_THAT(def->prefix_ids, ElementsAre());
}

TEST_F(ReadTokenizerJsonTest, ChatTemplatesFromConfigAndFiles) {
  Write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(Read()->chat_templates[0].source, "one");
  Write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                                       {"name": "default", "template": "d"}]})");
  auto def = Read();
  ASSERT_TRUE(def.ok()) << def.status();
  ASSERT_EQ(def->chat_templates.size(), 2u);
  EXPECT_EQ(def->chat_templates[0].name, "default");
  EXPECT_EQ(def->chat_templates[1].source, "t");
  Write("chat_template.jinja", "file");
  def = Read();
  ASSERT_TRUE(def.ok()) << def.status();
  EXPECT_EQ(def->chat_templates[0].source, "file");
  std::filesystem::create_directory(dir_ / "additional_chat_templates");
  Write("additional_chat_templates/rag.jinja", "extra");
  Write("additional_chat_templates/notes.txt", "no template");
  def = Read();
  ASSERT_TRUE(def.ok()) << def.status();
  ASSERT_EQ(def->chat_templates.size(), 3u);
  EXPECT_EQ(def->chat_templates[1].name, "rag");
  Write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THAT(
      Error(),
      HasSubstr("tokenizer_config.json: chat_template: wrong value: expected a string, found 5"));
}

}  // namespace
}  // namespace fathom::tokenizer
