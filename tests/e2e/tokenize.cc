// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Developer program: encodes each JSON string on stdin with a checkpoint's tokenizer and prints its
// ids.
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "frontend/tokenizer/read_tokenizer_json.h"
#include "frontend/tokenizer/serialize_tokenizer.h"
#include "nlohmann/json.hpp"
#include "runtime/base/status.h"
#include "runtime/text/tokenizer.h"

namespace {

int Fail(const absl::Status& status) {
  std::cerr << "tokenize: " << status.message() << "\n";
  return fathom::ExitCode(status);
}

int Run(const std::string& dir, bool decode) {
  const auto def = fathom::tokenizer::ReadTokenizerJson(dir);
  if (!def.ok()) return Fail(def.status());
  const std::vector<uint8_t> segment = fathom::tokenizer::SerializeTokenizer(*def);
  const auto tokenizer = fathom::text::Tokenizer::Open(segment);
  if (!tokenizer.ok()) return Fail(tokenizer.status());
  std::string line;
  while (std::getline(std::cin, line)) {
    const nlohmann::json text = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!text.is_string()) return Fail(fathom::InputError("stdin", "not a JSON string: " + line));
    const auto ids =
        (*tokenizer)->Encode(text.get<std::string>(), {.add_special = true, .parse_special = true});
    if (!ids.ok()) return Fail(ids.status());
    if (decode) {
      const auto back = (*tokenizer)->Decode(*ids, /*skip_special=*/false);
      if (!back.ok()) return Fail(back.status());
      std::cout << nlohmann::json({{"ids", *ids}, {"text", *back}}).dump() << "\n";
    } else {
      std::cout << nlohmann::json(*ids).dump() << "\n";
    }
  }
  return 0;
}

}  // namespace

// tokenize DIR [--decode] < strings.jsonl: one JSON list of ids a line, or with --decode
// {"ids": [...], "text": what they decode to}. Special tokens are added and recognised, as the
// `tokenizers` library does by default.
int main(int argc, char** argv) {
  const bool decode = argc == 3 && std::string(argv[2]) == "--decode";
  if (argc != 2 && !decode) {
    std::cerr << "usage: tokenize DIR [--decode] < strings.jsonl\n";
    return 1;
  }
  return Run(argv[1], decode);
}
