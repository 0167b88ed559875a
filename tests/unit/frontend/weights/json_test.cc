// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JSON within limits.
#include "frontend/weights/json.h"

#include <nlohmann/json.hpp>

#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(StrictJson, Parses) {
  const auto json = ParseStrictJson(R"({"a":[1,-2,3.5,true,null,"x"],"b":{"a":{}}})", "f");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->dump(), R"({"a":[1,-2,3.5,true,null,"x"],"b":{"a":{}}})");
}

TEST(StrictJson, Refuses) {
  const auto parse = [](const std::string& text, const JsonLimits& limits = {}) {
    return ParseStrictJson(text, "f.json", limits).status();
  };
  for (const char* text :
       {"", " ", "{", "[1,]", "{\"a\":1,}", "NaN", "Infinity", "-", "01", "1e400", "-1e400",
        "\"\\ud800\"", "\"\xff\"", "\"\x01\"", "'a'", "[1] 2", "/* c */ 1", "tru"}) {
    SCOPED_TRACE(text);
    ExpectError(parse(text), kInvalid, {"f.json", "expected JSON", "error at byte"});
  }
  ExpectError(parse(R"({"a":{"b":1,"b":1}})"), kInvalid, {"f.json", "\"b\"", "found twice"});
  ExpectError(parse("[[[[1]]]]", {.max_depth = 3}), kInvalid, {"f.json", "nesting", "at most 3"});
  EXPECT_TRUE(parse("[[[1]]]", {.max_depth = 3}).ok());
  ExpectError(parse("[1,2,3]", {.max_values = 3}), kInvalid, {"f.json", "number of JSON values"});
  ExpectError(parse("[1,2,3]", {.max_bytes = 4}), kInvalid, {"f.json", "at most 4 bytes"});
  ExpectError(parse(std::string(1000000, '[')), kInvalid, {"f.json", "nesting"});
}

TEST(StrictJson, MessagesStayShort) {
  const auto status =
      ParseStrictJson("{\"a\": \"" + std::string(100000, 'x') + "\x01\"}", "f").status();
  EXPECT_LT(status.message().size(), 600u);
  EXPECT_EQ(Quoted(std::string(100, 'x')), "\"" + std::string(80, 'x') + "...\" (100 bytes)");
  EXPECT_EQ(Quoted("a\n\xff"), "\"a\\n\\xff\"");
}

}  // namespace
}  // namespace fathom
