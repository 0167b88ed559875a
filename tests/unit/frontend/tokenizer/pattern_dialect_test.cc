// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From Oniguruma's dialect to PCRE2's, and the byte aliases of GPT-2.
#include "frontend/tokenizer/pattern_dialect.h"

#include "frontend/tokenizer/byte_alias.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::tokenizer {
namespace {

using ::testing::HasSubstr;

std::string Translate(std::string_view pattern) {
  const auto result = TranslatePattern(pattern, "f");
  return result.ok() ? *result : std::string(result.status().message());
}

TEST(PatternDialect, KeepsWhatBothDialectsShare) {
  for (const char* same :
       {"", "a|b", R"(\p{N}{1,3})", R"((?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+)", R"([\[\]\\\-^])",
        R"( ?[\p{P}\p{S}]+[\r\n]*)", "[\xE4\xB8\x80-\xE9\xBE\xA5]+", R"((?!x)(?<=y)$)"}) {
    EXPECT_EQ(Translate(same), same);
  }
}

TEST(PatternDialect, SpellsOutWhatDiffers) {
  EXPECT_EQ(Translate(R"(\d\D)"), R"(\p{Nd}\P{Nd})");
  EXPECT_EQ(Translate(R"([\d\h])"), R"([\p{Nd}0-9a-fA-F])");
  EXPECT_EQ(Translate(R"(\w+)"), R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]+)");
  EXPECT_EQ(Translate(R"(\p{Han}\p{^Lu}\P{Greek}\p{LC})"), R"(\p{sc:Han}\P{Lu}\P{sc:Greek}\p{L&})");
  EXPECT_EQ(Translate("\\x41\\x{1F600}\\u0041"), R"(\x{41}\x{1F600}\x{0041})");
  EXPECT_THAT(Translate(R"(\s)"), HasSubstr(R"([\x{09}-\x{0d}\x{20}\x{85})"));
  EXPECT_THAT(Translate(R"([^\s\p{L}])"), HasSubstr(R"(\x{3000}\p{L}])"));
  EXPECT_THAT(Translate(R"([^\S\n])"), HasSubstr(R"(\x{10ffff}\n])"));
  EXPECT_EQ(Translate("[]a]"), R"([\]a])");
}

TEST(PatternDialect, NamesWhatItCannotTranslate) {
  EXPECT_THAT(Translate("a[b[c]]"), HasSubstr("f: a class inside a class at byte 3"));
  EXPECT_THAT(Translate("[a-z&&[aeiou]]"), HasSubstr("an intersection of classes"));
  EXPECT_THAT(Translate(R"(\bword)"), HasSubstr(R"(\b at byte 0)"));
  EXPECT_THAT(Translate(R"(\p{)"), HasSubstr("a property is not closed"));
  EXPECT_THAT(Translate(R"(\p{a b})"), HasSubstr("property"));
  EXPECT_THAT(Translate("a\\"), HasSubstr("ends in a backslash"));
  EXPECT_THAT(Translate("[abc"), HasSubstr("is not closed"));
  EXPECT_THAT(Translate(R"(\x{zz})"), HasSubstr("code point"));
  EXPECT_EQ(TranslatePattern(R"(\bx)", "f").status().code(), absl::StatusCode::kUnimplemented);
}

TEST(ByteAlias, AliasesOfEveryByte) {
  EXPECT_EQ(BytesOfAliases("abc~"), "abc~");
  EXPECT_EQ(BytesOfAliases("\xC4\xA0the\xC4\x8A"), " the\n");
  EXPECT_EQ(BytesOfAliases("\xC3\xA9"), "\xE9");
  EXPECT_EQ(BytesOfAliases("\xC4\x80\xC5\x83"), std::string("\0\xAD", 2));
  EXPECT_EQ(BytesOfAliases("\xC5\x84"), std::nullopt);      // U+0144, one past the last alias
  EXPECT_EQ(BytesOfAliases("a b"), std::nullopt);           // a space is spelled otherwise
  EXPECT_EQ(BytesOfAliases("\xE4\xB8\xAD"), std::nullopt);  // no alias has three bytes
}

}  // namespace
}  // namespace fathom::tokenizer
