// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The patterns behind the names of tokenizer.ggml.pre, as the models' own tokenizer.json files have
// them.
#include "frontend/tokenizer/known_pre_tokenizers.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "frontend/tokenizer/text_pipeline.h"
#include "runtime/base/status.h"

namespace fathom::tokenizer {
namespace {

constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseekV3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// The cased letters (upper, lower, title) of scripts that have case, as DeepSeek-LLM's file lists
// them.
constexpr std::string_view kDeepseekLetters =
    R"(A-Za-z\x{00B5}\x{00C0}-\x{00D6}\x{00D8}-\x{00F6}\x{00F8}-\x{01BA}\x{01BC}-\x{01BF})"
    R"(\x{01C4}-\x{0293}\x{0295}-\x{02AF}\x{0370}-\x{0373}\x{0376}\x{0377}\x{037B}-\x{037D})"
    R"(\x{037F}\x{0386}\x{0388}-\x{038A}\x{038C}\x{038E}-\x{03A1}\x{03A3}-\x{03F5})"
    R"(\x{03F7}-\x{0481}\x{048A}-\x{052F}\x{0531}-\x{0556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5})"
    R"(\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77})"
    R"(\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D})"
    R"(\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4})"
    R"(\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3})"
    R"(\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107})"
    R"(\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D})"
    R"(\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184})"
    R"(\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})"
    R"(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF})"
    R"(\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A})"
    R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2})"
    R"(\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})";
constexpr std::string_view kDeepseekPunctuation =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
constexpr std::string_view kDeepseekCjk =
    R"([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr std::string_view kDeepseekV3Cjk =
    R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";

struct Known {
  std::vector<std::string_view> names;
  bool nfc;
  bool ignore_merges;
  bool add_bos;
  std::vector<std::string> patterns;
};

const std::vector<Known>& Table() {
  static const std::vector<Known> table = {
      {{"", "default", "gpt-2", "mpt"}, false, false, false, {std::string(Gpt2Pattern())}},
      {{"olmo", "dolma"}, true, false, false, {std::string(Gpt2Pattern())}},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell"},
       false,
       false,
       false,
       {R"(\p{N})", std::string(Gpt2Pattern())}},
      {{"llama3", "llama-v3", "llama-bpe", "smaug-bpe", "dbrx"},
       false,
       true,
       true,
       {std::string(kLlama3)}},
      {{"qwen2", "deepseek-r1-qwen"}, true, false, false, {std::string(kQwen2)}},
      {{"deepseek-llm"},
       false,
       false,
       true,
       {R"([\r\n])", "\\s?[" + std::string(kDeepseekLetters) + "]+",
        std::string(kDeepseekPunctuation), R"(\s+$)", std::string(kDeepseekCjk), R"(\p{N})"}},
      {{"deepseek-coder"},
       false,
       false,
       true,
       {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", std::string(kDeepseekCjk), R"(\p{N})"}},
      {{"deepseek-v3"},
       false,
       false,
       true,
       {R"(\p{N}{1,3})", std::string(kDeepseekV3Cjk), std::string(kDeepseekV3)}},
  };
  return table;
}

}  // namespace

absl::Status AddKnownPreTokenizer(std::string_view pre, std::string_view where, TokenizerDef* def,
                                  bool* add_bos) {
  std::string names;
  for (const Known& known : Table()) {
    if (std::find(known.names.begin(), known.names.end(), pre) == known.names.end()) {
      for (const std::string_view name : known.names) {
        if (!name.empty()) names += (names.empty() ? "" : ", ") + std::string(name);
      }
      continue;
    }
    if (known.nfc) {
      TokenizerDef::NormalizerStep step;
      step.kind = schema::NormalizerKind::nfc;
      def->normalizer.push_back(step);
    }
    def->ignore_merges = known.ignore_merges;
    *add_bos = known.add_bos;
    for (const std::string& pattern : known.patterns) {
      FATHOM_RETURN_IF_ERROR(AddSplit(pattern, where, def));
    }
    return absl::OkStatus();
  }
  return UnsupportedError(where, "pre-tokenizer " + std::string(pre) +
                                     " is not supported; the known ones are " + names);
}

}  // namespace fathom::tokenizer
