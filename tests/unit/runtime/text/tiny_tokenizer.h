// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Small tokenizers for tests: made by hand from a few tokens, or read from a golden folder.
#ifndef FATHOM_TESTS_UNIT_RUNTIME_TEXT_TINY_TOKENIZER_H_
#define FATHOM_TESTS_UNIT_RUNTIME_TEXT_TINY_TOKENIZER_H_

#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/tokenizer/read_tokenizer_json.h"
#include "frontend/tokenizer/serialize_tokenizer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "runtime/text/tokenizer.h"

namespace fathom {

inline constexpr char kGoldens[] = "tests/unit/runtime/text/";

// A tokenizer together with the bytes it lives in.
struct TinyTokenizer {
  std::vector<uint8_t> segment;
  std::unique_ptr<text::Tokenizer> tokenizer;
  text::Tokenizer* operator->() const { return tokenizer.get(); }
};

inline TinyTokenizer OpenDef(const tokenizer::TokenizerDef& def) {
  TinyTokenizer tiny;
  tiny.segment = tokenizer::SerializeTokenizer(def);
  auto opened = text::Tokenizer::Open(tiny.segment);
  EXPECT_TRUE(opened.ok()) << opened.status();
  if (opened.ok()) tiny.tokenizer = *std::move(opened);
  return tiny;
}

inline nlohmann::json ReadGolden(const std::string& name) {
  std::ifstream file(kGoldens + name);
  EXPECT_TRUE(file.good()) << name;
  return nlohmann::json::parse(file);
}

inline TinyTokenizer OpenGolden(const std::string& folder) {
  auto def = tokenizer::ReadTokenizerJson(kGoldens + folder);
  EXPECT_TRUE(def.ok()) << def.status();
  return def.ok() ? OpenDef(*def) : TinyTokenizer();
}

// Byte-level: the 256 bytes (id = byte), then "ab" (256), "abc" (257), a control token "<|im_end|>"
// (258), a role marker "<user>" that is not special (259) and an added run of two spaces (260) that
// users may write.
inline tokenizer::TokenizerDef ByteDef() {
  tokenizer::TokenizerDef def;
  for (int byte = 0; byte < 256; ++byte) {
    def.tokens.push_back({std::string(1, static_cast<char>(byte)), schema::TokenClass::normal, 0});
  }
  def.tokens.push_back({"ab", schema::TokenClass::normal, 0});
  def.tokens.push_back({"abc", schema::TokenClass::normal, 0});
  def.tokens.push_back({"<|im_end|>", schema::TokenClass::control, 0});
  def.tokens.push_back({"<user>", schema::TokenClass::control, 0});
  def.tokens.push_back({"  ", schema::TokenClass::added, 0});
  def.merges = {{'a', 'b', 256}, {256, 'c', 257}};
  tokenizer::TokenizerDef::Added end, user, spaces;
  end.id = 258, end.content = "<|im_end|>", end.control = end.special = true;
  user.id = 259, user.content = "<user>", user.control = true, user.normalized = true;
  spaces.id = 260, spaces.content = "  ";
  def.added_tokens = {end, user, spaces};
  def.eos_ids = {258};
  return def;
}

}  // namespace fathom

#endif  // FATHOM_TESTS_UNIT_RUNTIME_TEXT_TINY_TOKENIZER_H_
