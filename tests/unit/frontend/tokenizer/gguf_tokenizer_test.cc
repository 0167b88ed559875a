// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GGUF's tokenizers: ids equal to SentencePiece's and to tokenizer.json's, and how each fault is
// named.
#include "frontend/tokenizer/gguf_tokenizer.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/runtime/text/tiny_tokenizer.h"

namespace fathom::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

GgufTokenizerFields SentencePieceFields() {
  const nlohmann::json golden = ReadGolden("sentencepiece/fields.json");
  GgufTokenizerFields fields;
  fields.file = "a.gguf";
  fields.model = "llama";
  fields.tokens = golden["tokens"].get<std::vector<std::string>>();
  fields.scores = golden["scores"].get<std::vector<float>>();
  fields.token_types = golden["token_types"].get<std::vector<int32_t>>();
  fields.bos_id = 1;
  fields.eos_id = 2;
  fields.unknown_id = 0;
  return fields;
}

TEST(GgufLlama, EncodesAndDecodesAsSentencePiece) {
  const auto def = TokenizerFromGguf(SentencePieceFields());
  ASSERT_TRUE(def.ok()) << def.status();
  const TinyTokenizer tiny = OpenDef(*def);
  const nlohmann::json strings = ReadGolden("strings.json");
  const nlohmann::json golden = ReadGolden("sentencepiece/ids.json");
  for (size_t i = 0; i < strings.size(); ++i) {
    const auto text = strings[i].get<std::string>();
    const auto expected = golden["ids"][i].get<std::vector<int32_t>>();
    EXPECT_EQ(*tiny->Encode(text, {.add_special = false}), expected) << text;
    const std::string key = std::to_string(i);
    EXPECT_EQ(*tiny->Decode(expected),
              golden["decoded"].contains(key) ? golden["decoded"][key].get<std::string>() : text);
  }
}

TEST(GgufLlama, AddsBosAndKeepsControlOutOfContent) {
  const TinyTokenizer tiny = OpenDef(*TokenizerFromGguf(SentencePieceFields()));
  EXPECT_THAT(*tiny->Encode(""), ElementsAre(1));
  EXPECT_EQ(tiny->bos_id(), 1);
  EXPECT_TRUE(tiny->IsEos(2));
  const std::vector<int32_t> plain = *tiny->Encode("</s><s>", {.add_special = false});
  EXPECT_THAT(plain, ::testing::Each(::testing::Gt(2)));
  EXPECT_THAT(*tiny->Encode("</s><s>", {.add_special = false, .parse_special = true}),
              ElementsAre(2, 1));
}

TEST(GgufLlama, NamesTheFieldAtFault) {
  const auto broken = [](auto change) {
    GgufTokenizerFields fields = SentencePieceFields();
    change(fields);
    const auto def = TokenizerFromGguf(fields);
    return def.ok() ? "read" : std::string(def.status().message());
  };
  using F = GgufTokenizerFields;
  EXPECT_THAT(broken([](F& f) { f.scores.pop_back(); }),
              HasSubstr("a.gguf: tokenizer.ggml.scores: wrong length: expected 520, found 519"));
  EXPECT_THAT(broken([](F& f) { f.scores[300] = NAN; }), HasSubstr("scores[300]: not a number"));
  EXPECT_THAT(broken([](F& f) { f.token_types.pop_back(); }),
              HasSubstr("token_type: wrong length"));
  EXPECT_THAT(broken([](F& f) { f.token_types[7] = 12; }),
              HasSubstr("token_type[7]: unknown type"));
  EXPECT_THAT(broken([](F& f) { f.tokens.clear(); }), HasSubstr("tokens: wrong number of tokens"));
  EXPECT_THAT(broken([](F& f) { f.tokens[300] = f.tokens[301]; }),
              HasSubstr("token given twice: "));
  EXPECT_THAT(broken([](F& f) { f.bos_id = 9999; }), HasSubstr("bos_token_id: id out of range"));
  EXPECT_THAT(broken([](F& f) { f.eot_id = UINT32_MAX; }),
              HasSubstr("eot_token_id: id out of range"));
  EXPECT_THAT(broken([](F& f) { f.model = "bert"; }), HasSubstr("tokenizer bert is not supported"));
  for (const char* byte : {"<0x-1>", "<0xG0>", "<0x1>", "<0x100>", "<0x0a>"}) {
    EXPECT_THAT(broken([&](F& f) { f.tokens[4] = byte; }),
                HasSubstr("tokens[4]: a malformed byte token: expected <0x00> to <0xFF>, found " +
                          std::string(byte)));
  }
}

// The same vocabulary as a golden tokenizer.json, as a GGUF converter writes it.
GgufTokenizerFields Gpt2Fields(const std::string& folder, const std::string& pre) {
  const nlohmann::json json = ReadGolden(folder + "/tokenizer.json");
  GgufTokenizerFields fields;
  fields.file = "b.gguf";
  fields.model = "gpt2";
  fields.pre = pre;
  const auto put = [&](size_t id, const std::string& token, int32_t type) {
    if (fields.tokens.size() <= id)
      fields.tokens.resize(id + 1), fields.token_types.resize(id + 1, 1);
    fields.tokens[id] = token;
    fields.token_types[id] = type;
  };
  for (const auto& [token, id] : json["model"]["vocab"].items()) put(id.get<size_t>(), token, 1);
  for (const auto& added : json["added_tokens"]) {
    put(added["id"].get<size_t>(), added["content"].get<std::string>(),
        added["special"].get<bool>() ? 3 : 4);
  }
  for (const auto& merge : json["model"]["merges"]) {
    fields.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return fields;
}

class GgufGpt2Test : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(GgufGpt2Test, EncodesAsTokenizerJson) {
  const auto [folder, pre] = GetParam();
  GgufTokenizerFields fields = Gpt2Fields(folder, pre);
  fields.add_bos = false;
  const auto def = TokenizerFromGguf(fields);
  ASSERT_TRUE(def.ok()) << def.status();
  const TinyTokenizer gguf = OpenDef(*def);
  const TinyTokenizer json = OpenGolden(folder);
  for (const auto& text_value : ReadGolden("strings.json")) {
    const text::EncodeOptions options{.add_special = false, .parse_special = true};
    const auto string = text_value.get<std::string>();
    EXPECT_EQ(*gguf->Encode(string, options), *json->Encode(string, options)) << string;
  }
}

INSTANTIATE_TEST_SUITE_P(Names, GgufGpt2Test,
                         ::testing::Values(std::pair("deepseek_v3", "deepseek-v3"),
                                           std::pair("llama3", "llama-bpe"),
                                           std::pair("qwen2", "qwen2"),
                                           std::pair("smollm", "smollm")),
                         [](const auto& info) { return std::string(info.param.first); });

TEST(GgufGpt2, EndsGenerationAtTheTurnMarkerToo) {
  GgufTokenizerFields fields = Gpt2Fields("qwen2", "qwen2");
  fields.eos_id = 0;  // <|endoftext|>
  fields.chat_template = "{{ messages }}";
  const auto def = TokenizerFromGguf(fields);
  ASSERT_TRUE(def.ok()) << def.status();
  EXPECT_THAT(def->eos_ids, ElementsAre(0, 2));
  EXPECT_EQ(def->chat_templates[0].source, "{{ messages }}");
}

TEST(GgufGpt2, NamesTheFieldAtFault) {
  const auto broken = [](auto change) {
    GgufTokenizerFields fields = Gpt2Fields("smollm", "smollm");
    change(fields);
    const auto def = TokenizerFromGguf(fields);
    return def.ok() ? "read" : std::string(def.status().message());
  };
  using F = GgufTokenizerFields;
  EXPECT_EQ(broken([](F&) {}), "read");
  EXPECT_THAT(
      broken([](F& f) { f.pre = "gpt-99"; }),
      HasSubstr(
          "b.gguf: tokenizer.ggml.pre: pre-tokenizer gpt-99 is not supported; the known ones are"));
  EXPECT_THAT(broken([](F& f) { f.merges.push_back("x"); }),
              HasSubstr("]: malformed: expected two tokens"));
  EXPECT_THAT(broken([](F& f) { f.merges.push_back("x \xC4\xA0nothing"); }),
              HasSubstr("names a token that does not exist"));
  EXPECT_THAT(broken([](F& f) { f.tokens[20] = f.tokens[21]; }), HasSubstr("token given twice"));
}

}  // namespace
}  // namespace fathom::tokenizer
