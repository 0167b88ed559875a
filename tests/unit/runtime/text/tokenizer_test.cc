// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tokenizer: ids equal to the libraries', control tokens only where allowed, streaming, hostile
// input.
#include "runtime/text/tokenizer.h"

#include <sys/mman.h>

#include <chrono>
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/base/status.h"
#include "tests/unit/runtime/text/tiny_tokenizer.h"

namespace fathom::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tokenizer::TokenizerDef;

std::vector<int32_t> Ids(const TinyTokenizer& tiny, std::string_view text,
                         EncodeOptions options = {}) {
  auto ids = tiny->Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<int32_t>();
}

class GoldenTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, EncodesAndDecodesAsTheLibrary) {
  const std::string folder = GetParam();
  const nlohmann::json strings = ReadGolden("strings.json");
  const nlohmann::json golden = ReadGolden(folder + "/ids.json");
  const TinyTokenizer tiny = OpenGolden(folder);
  ASSERT_NE(tiny.tokenizer, nullptr);
  ASSERT_GT(strings.size(), 50u);
  ASSERT_EQ(strings.size(), golden["ids"].size());
  for (size_t i = 0; i < strings.size(); ++i) {
    const auto text = strings[i].get<std::string>();
    const auto expected = golden["ids"][i].get<std::vector<int32_t>>();
    EXPECT_EQ(Ids(tiny, text, {.add_special = true, .parse_special = true}), expected) << text;
    const std::string key = std::to_string(i);
    const auto decoded = tiny->Decode(expected, /*skip_special=*/true);
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(*decoded,
              golden["decoded"].contains(key) ? golden["decoded"][key].get<std::string>() : text);
  }
}

INSTANTIATE_TEST_SUITE_P(Published, GoldenTest,
                         ::testing::Values("deepseek_v3", "deepseek_v2", "llama3", "qwen2", "olmo",
                                           "smollm", "prefixed", "mixtral", "mixtral_metaspace"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Tokenizer, MergesByRank) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  EXPECT_THAT(Ids(tiny, "abcab"), ElementsAre(257, 256));
  EXPECT_THAT(Ids(tiny, "bc"), ElementsAre('b', 'c'));
  EXPECT_THAT(Ids(tiny, ""), ElementsAre());
}

TEST(Tokenizer, ControlTextInContentStaysText) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  const std::string text = "ab<|im_end|><user>";
  EXPECT_THAT(Ids(tiny, text, {.parse_special = true}), ElementsAre(256, 258, 259));
  const std::vector<int32_t> plain = Ids(tiny, text);
  EXPECT_EQ(plain.size(), text.size() - 1);  // "ab" is one token, every other letter its own
  for (const int32_t id : plain) EXPECT_TRUE(id != 258 && id != 259);
  EXPECT_EQ(*tiny->Decode(plain), text);
}

TEST(Tokenizer, AddedTextThatUsersMayWriteIsFoundEverywhere) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  EXPECT_THAT(Ids(tiny, "a  b"), ElementsAre('a', 260, 'b'));
}

TEST(Tokenizer, SegmentsShareWordsButNotControl) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  // The merge runs across the border.
  EXPECT_THAT(*tiny->EncodeSegments({{"<user>a", true}, {"bc", false}, {"<|im_end|>", true}}),
              ElementsAre(259, 257, 258));
  // Neither content alone nor content completed by the template makes a control token.
  const auto ids =
      *tiny->EncodeSegments({{"<|im_", true}, {"end|>", false}, {"<user", true}, {">", false}});
  EXPECT_EQ(ids.size(), 16u);
  const auto inside = *tiny->EncodeSegments({{"x", true}, {"<|im_end|>", false}, {"<user>", true}});
  EXPECT_EQ(inside.size(), 12u);
  EXPECT_EQ(inside.back(), 259);
}

TEST(Tokenizer, NormalizerDoesNotMakeContentControl) {
  TokenizerDef def = ByteDef();
  TokenizerDef::NormalizerStep fold;
  fold.kind = schema::NormalizerKind::nfkc;  // turns full-width <user> into the ASCII spelling
  def.normalizer = {fold};
  const TinyTokenizer tiny = OpenDef(def);
  const std::string wide = "\xEF\xBC\x9Cuser\xEF\xBC\x9E";
  EXPECT_THAT(Ids(tiny, wide, {.parse_special = true}), ElementsAre(259));
  EXPECT_THAT(Ids(tiny, wide), ElementsAre('<', 'u', 's', 'e', 'r', '>'));
  EXPECT_THAT(*tiny->EncodeSegments({{"<user>a", true}, {"b" + wide, false}, {"<user>", true}}),
              ElementsAre(259, 256, '<', 'u', 's', 'e', 'r', '>', 259));
}

TEST(Tokenizer, MergesNeverMakeAControlToken) {
  TokenizerDef def = ByteDef();
  def.tokens.push_back({"<s", schema::TokenClass::normal, 0});
  def.tokens.push_back({"<s>", schema::TokenClass::control, 0});
  def.merges.push_back({'<', 's', 261});
  def.merges.push_back({261, '>', 262});
  const TinyTokenizer tiny = OpenDef(def);
  EXPECT_THAT(Ids(tiny, "<s>"), ElementsAre(261, '>'));
}

TEST(Tokenizer, GoldenMarkersInContent) {
  for (const char* folder : {"deepseek_v3", "qwen2", "llama3", "mixtral"}) {
    auto def = tokenizer::ReadTokenizerJson(kGoldens + std::string(folder));
    ASSERT_TRUE(def.ok()) << def.status();
    const TinyTokenizer tiny = OpenDef(*def);
    for (const TokenizerDef::Added& added : def->added_tokens) {
      ASSERT_TRUE(added.control) << added.content;
      const auto ids = Ids(tiny, "a" + added.content + "b", {.add_special = false});
      EXPECT_THAT(ids, ::testing::Not(::testing::Contains(static_cast<int32_t>(added.id))))
          << added.content;
      EXPECT_THAT(Ids(tiny, added.content, {.add_special = false, .parse_special = true}),
                  ::testing::Contains(static_cast<int32_t>(added.id)));
    }
  }
}

TEST(Tokenizer, TokensByIdAndText) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  EXPECT_EQ(tiny->vocab_size(), 261);
  EXPECT_EQ(tiny->TokenToId("abc"), 257);
  EXPECT_EQ(tiny->TokenToId("<user>"), 259);
  EXPECT_EQ(tiny->TokenToId("nothing"), std::nullopt);
  EXPECT_EQ(tiny->IdToToken(256), "ab");
  EXPECT_EQ(tiny->IdToToken(-1), std::nullopt);
  EXPECT_EQ(tiny->IdToToken(261), std::nullopt);
  EXPECT_TRUE(tiny->IsEos(258));
  EXPECT_FALSE(tiny->IsEos(0));
  EXPECT_TRUE(tiny->IsSpecial(258));
  EXPECT_FALSE(tiny->IsSpecial(259));
  EXPECT_EQ(tiny->bos_id(), std::nullopt);
}

TEST(Tokenizer, DecodeSkipsSpecialAndRefusesWrongIds) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  const std::vector<int32_t> ids = {'a', 258, 259};
  EXPECT_EQ(*tiny->Decode(ids), "a<user>");
  EXPECT_EQ(*tiny->Decode(ids, /*skip_special=*/false), "a<|im_end|><user>");
  for (const int32_t wrong : {-1, 261, INT32_MAX}) {
    const auto text = tiny->Decode({&wrong, 1});
    ASSERT_FALSE(text.ok());
    EXPECT_THAT(text.status().message(),
                HasSubstr("expected 0 to 260, found " + std::to_string(wrong)));
  }
}

TEST(StreamDecoder, GivesOutWholeCharacters) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  StreamDecoder stream(*tiny.tokenizer);
  const std::string text = "\xF0\x9F\x98\x80!";  // an emoji, byte by byte
  std::vector<std::string> pieces;
  for (const char byte : text) pieces.push_back(*stream.Add(static_cast<unsigned char>(byte)));
  EXPECT_THAT(pieces, ElementsAre("", "", "", "\xF0\x9F\x98\x80", "!"));
  EXPECT_EQ(stream.Finish(), "");
  EXPECT_EQ(*stream.Add(0xE4), "");
  EXPECT_EQ(stream.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(*stream.Add(0xFF) + *stream.Add('a'),
            "\xEF\xBF\xBD"
            "a");
}

TEST(StreamDecoder, EqualsDecode) {
  for (const char* folder : {"mixtral", "mixtral_metaspace", "qwen2"}) {
    const TinyTokenizer tiny = OpenGolden(folder);
    const nlohmann::json golden = ReadGolden(std::string(folder) + "/ids.json");
    for (const auto& list : golden["ids"]) {
      const auto ids = list.get<std::vector<int32_t>>();
      StreamDecoder stream(*tiny.tokenizer);
      std::string text;
      for (const int32_t id : ids) text += *stream.Add(id);
      EXPECT_EQ(text + stream.Finish(), *tiny->Decode(ids));
    }
  }
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  // Unpaired surrogates, an overlong form, a lone continuation byte, a cut character, beyond
  // U+10FFFF.
  for (const char* bad :
       {"a\xED\xA0\x80", "a\xED\xBF\xBF", "a\xC0\xAF", "a\x80", "a\xE4\xB8", "a\xF4\x90\x80\x80"}) {
    const auto ids = tiny->Encode(bad);
    ASSERT_FALSE(ids.ok()) << bad;
    EXPECT_EQ(ids.status().message(), "text: not valid UTF-8 at byte 1");
  }
}

TEST(Tokenizer, RefusesTwoGigabytesWithoutReadingThem) {
  const TinyTokenizer tiny = OpenDef(ByteDef());
  const size_t size = (size_t{1} << 31) + 1;
  void* map = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(map, MAP_FAILED);
  const auto ids = tiny->Encode({static_cast<const char*>(map), size});
  ASSERT_FALSE(ids.ok());
  EXPECT_THAT(ids.status().message(),
              HasSubstr("too long: expected at most 67108864 bytes, found 2147483649"));
  munmap(map, size);
}

TEST(Tokenizer, SlowPatternIsAnErrorNotAHang) {
  for (const char* pattern : {"(a+)+[bc]", "(?:a|aa)+[bc]", "(a*)*[bc]", "(?:a?){40}a{40}[bc]"}) {
    TokenizerDef def = ByteDef();
    TokenizerDef::PreTokenizerStep step;
    step.pattern = pattern;
    def.pre_tokenizer = {step};
    const TinyTokenizer tiny = OpenDef(def);
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tiny->Encode(std::string(3000, 'a') + "!");
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
    EXPECT_LT(seconds.count(), 30) << pattern;
    ASSERT_FALSE(ids.ok()) << pattern;
    EXPECT_EQ(ids.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(ids.status().message(),
                HasSubstr("pre_tokenizer[0]: the pattern is too slow for this text"));
  }
}

TEST(Tokenizer, PublishedPatternsTakeLongRuns) {
  for (const char* folder :
       {"deepseek_v3", "deepseek_v2", "qwen2", "llama3", "smollm", "mixtral"}) {
    const TinyTokenizer tiny = OpenGolden(folder);
    for (const char* unit : {" ", "a", "9", "\n", "!", "\xE4\xB8\xAD", "a ", " \n"}) {
      std::string text;
      while (text.size() < 30000) text += unit;
      const auto ids = tiny->Encode(text + "x", {.add_special = false});
      ASSERT_TRUE(ids.ok()) << folder << " '" << unit << "': " << ids.status();
      EXPECT_EQ(*tiny->Decode(*ids), text + "x");
    }
  }
}

TEST(Tokenizer, EncodesFromManyThreads) {
  const TinyTokenizer tiny = OpenGolden("qwen2");
  const nlohmann::json strings = ReadGolden("strings.json");
  const nlohmann::json golden = ReadGolden("qwen2/ids.json");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < strings.size(); ++i) {
        const auto ids = tiny->Encode(strings[i].get<std::string>(), {.parse_special = true});
        wrong[t] += !ids.ok() || *ids != golden["ids"][i].get<std::vector<int32_t>>();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

TEST(Tokenizer, OpensFromAnyAlignment) {
  const std::vector<uint8_t> segment = tokenizer::SerializeTokenizer(ByteDef());
  std::vector<uint8_t> shifted(segment.size() + 1);
  std::copy(segment.begin(), segment.end(), shifted.begin() + 1);
  const auto opened = Tokenizer::Open(absl::MakeConstSpan(shifted).subspan(1));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_THAT(*(*opened)->Encode("abc"), ElementsAre(257));
}

std::string OpenError(const TokenizerDef& def) {
  const std::vector<uint8_t> segment = tokenizer::SerializeTokenizer(def);
  const auto opened = Tokenizer::Open(segment);
  return opened.ok() ? "opened" : std::string(opened.status().message());
}

TEST(TokenizerVerify, NamesTheFieldAtFault) {
  const auto broken = [](auto change) {
    TokenizerDef def = ByteDef();
    change(def);
    return OpenError(def);
  };
  EXPECT_EQ(OpenError(ByteDef()), "opened");
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.merges.push_back({'a', 'b', 261});
              }),
              HasSubstr("merges[2]: id out of range: expected below 261, found 261"));
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.merges.push_back({UINT32_MAX, 'b', 1});
              }),
              HasSubstr("merges[2]: id out of range"));
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.merges.push_back({'a', 'c', 257});
              }),
              HasSubstr("merges[2]: the result is not as long as its parts"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.added_tokens[0].id = 900; }),
              HasSubstr("added_tokens[0]: id"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.added_tokens[1] = d.added_tokens[0]; }),
              HasSubstr("added_tokens[1]: given twice: <|im_end|>"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.added_tokens[0].content = ""; }),
              HasSubstr("wrong length"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.added_tokens[0].content = "\xFF"; }),
              HasSubstr("not valid UTF-8"));
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.eos_ids = {3, 999};
              }),
              HasSubstr("eos_ids[1]: id out of range"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.prefix_ids = {999}; }), HasSubstr("prefix_ids[0]"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.suffix_ids = {999}; }), HasSubstr("suffix_ids[0]"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.bos_id = 261; }), HasSubstr("bos_id"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.pad_id = -2; }), HasSubstr("pad_id"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.unknown_id = INT32_MAX; }), HasSubstr("unknown_id"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.tokens.clear(); }), HasSubstr("token_ends"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.kind = schema::TokenizerKind(9); }),
              HasSubstr("kind"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.tokens[3].token_class = schema::TokenClass(77); }),
              HasSubstr("token_classes[3]: unknown class"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.tokens[256].token_class = schema::TokenClass::byte; }),
              HasSubstr("a byte token has the wrong length: expected 1, found 2"));
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.kind = schema::TokenizerKind::sentencepiece_bpe;
                d.tokens[5].score = NAN;
              }),
              HasSubstr("token_scores[5]: not a number"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.pre_tokenizer.push_back({.pattern = "(["}); }),
              HasSubstr("pre_tokenizer[0]: pattern is not understood at byte 2"));
  EXPECT_THAT(broken([](TokenizerDef& d) { d.pre_tokenizer.push_back({.pattern = "\\C"}); }),
              HasSubstr("pattern is not understood"));
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.pre_tokenizer.push_back({.pattern = std::string(70000, 'a')});
              }),
              HasSubstr("pattern is too long"));
  EXPECT_THAT(
      broken([](TokenizerDef& d) { d.normalizer.push_back({.kind = schema::NormalizerKind(50)}); }),
      HasSubstr("normalizer[0]: unknown kind"));
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.normalizer.push_back({.kind = schema::NormalizerKind::replace_text});
              }),
              HasSubstr("normalizer[0]: the text to replace is empty"));
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.decoder_replacements.push_back({"", "x"});
              }),
              HasSubstr("decoder.replacements[0]"));
  EXPECT_THAT(broken([](TokenizerDef& d) {
                d.chat_templates.push_back({"default", "\xC3"});
              }),
              HasSubstr("chat_templates[0]: not valid UTF-8"));
}

TEST(TokenizerVerify, EveryTruncationIsRefused) {
  const std::vector<uint8_t> segment = tokenizer::SerializeTokenizer(ByteDef());
  for (size_t size = 0; size + 8 < segment.size(); ++size) {  // the last bytes may be padding
    // A buffer of exactly that size, so that a read past its end is seen by a sanitizer.
    const std::vector<uint8_t> cut(segment.begin(), segment.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(Tokenizer::Open(cut).ok()) << size;
  }
}

TEST(TokenizerVerify, DamagedBytesNeverCrash) {
  std::vector<uint8_t> segment = tokenizer::SerializeTokenizer(ByteDef());
  std::mt19937 random(5);
  int opened = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> damaged = segment;
    for (int i = 0; i < 1 + round % 4; ++i) {
      damaged[random() % damaged.size()] = static_cast<uint8_t>(random());
    }
    const auto tokenizer = Tokenizer::Open(damaged);
    if (!tokenizer.ok()) continue;
    ++opened;
    const auto ids = (*tokenizer)->Encode("abc <user>\n99");
    if (ids.ok()) (void)(*tokenizer)->Decode(*ids);
  }
  EXPECT_GT(opened, 0);
  EXPECT_LT(opened, 3000);
}

}  // namespace
}  // namespace fathom::text
