// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tokenizer.json's steps, one function per member and kind.
#include "frontend/tokenizer/text_pipeline.h"

#include <utility>
#include <vector>

#include "frontend/tokenizer/pattern_dialect.h"
#include "runtime/base/status.h"

namespace fathom::tokenizer {
namespace {

using schema::NormalizerKind;
using schema::PrependScheme;
using schema::PreTokenizerKind;
using schema::SplitBehavior;
using schema::TokenizerKind;

constexpr int kMaxNesting = 16;

absl::Status UnknownType(const Node& node, std::string_view type) {
  return UnsupportedError(node.where(), "type " + std::string(type) + " is not supported");
}

// Calls `step` for the node, or for each member of a Sequence, in order. `list` names the
// sequence's member.
template <typename Step>
absl::Status ForEachStep(const Node& node, const char* list, Step step, int depth = 0) {
  if (node.IsNull()) return absl::OkStatus();
  if (depth > kMaxNesting) return InputError(node.where(), "sequences are nested too deeply");
  FATHOM_RETURN_IF_ERROR(node.ExpectObject());
  FATHOM_ASSIGN_OR_RETURN(const std::string type, node["type"].RequiredString());
  if (type != "Sequence") return step(node, type);
  const Node steps = node[list];
  FATHOM_RETURN_IF_ERROR(steps.ExpectArray());
  for (size_t i = 0; i < steps.json().size(); ++i) {
    FATHOM_RETURN_IF_ERROR(ForEachStep(steps.At(i), list, step, depth + 1));
  }
  return absl::OkStatus();
}

struct Pattern {
  std::string text;
  bool regex = false;
};
// {"String": "..."} or {"Regex": "..."}; the regex comes back translated.
absl::StatusOr<Pattern> ReadPattern(const Node& node) {
  FATHOM_RETURN_IF_ERROR(node.ExpectObject());
  if (!node["String"].IsNull()) {
    FATHOM_ASSIGN_OR_RETURN(std::string text, node["String"].RequiredString());
    if (text.empty()) return node["String"].TypeError("a string that is not empty");
    return Pattern{std::move(text), false};
  }
  FATHOM_ASSIGN_OR_RETURN(const std::string regex, node["Regex"].RequiredString());
  FATHOM_ASSIGN_OR_RETURN(std::string translated, TranslatePattern(regex, node["Regex"].where()));
  return Pattern{std::move(translated), true};
}

absl::StatusOr<SplitBehavior> ReadBehavior(const Node& node) {
  FATHOM_ASSIGN_OR_RETURN(const std::string name, node.RequiredString());
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  return node.TypeError("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

absl::Status ReadNormalizerStep(const Node& node, std::string_view type, TokenizerDef* def) {
  TokenizerDef::NormalizerStep step;
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD" || type == "Lowercase") {
    step.kind = type == "NFC"    ? NormalizerKind::nfc
                : type == "NFD"  ? NormalizerKind::nfd
                : type == "NFKC" ? NormalizerKind::nfkc
                : type == "NFKD" ? NormalizerKind::nfkd
                                 : NormalizerKind::lowercase;
  } else if (type == "Prepend") {
    step.kind = NormalizerKind::prepend;
    FATHOM_ASSIGN_OR_RETURN(step.content, node["prepend"].RequiredString());
  } else if (type == "Replace") {
    FATHOM_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(node["pattern"]));
    step.kind = pattern.regex ? NormalizerKind::replace_regex : NormalizerKind::replace_text;
    step.pattern = std::move(pattern.text);
    FATHOM_ASSIGN_OR_RETURN(step.content, node["content"].RequiredString());
  } else if (type == "Strip") {
    step.kind = NormalizerKind::strip;
    FATHOM_ASSIGN_OR_RETURN(step.left, node["strip_left"].Bool(true));
    FATHOM_ASSIGN_OR_RETURN(step.right, node["strip_right"].Bool(true));
  } else {
    return UnknownType(node, type);
  }
  def->normalizer.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status AddPlainSplit(std::string_view pattern, SplitBehavior behavior, bool invert,
                           TokenizerDef* def) {
  FATHOM_ASSIGN_OR_RETURN(std::string translated, TranslatePattern(pattern, "pre_tokenizer"));
  TokenizerDef::PreTokenizerStep step;
  step.pattern = std::move(translated);
  step.behavior = behavior;
  step.invert = invert;
  def->pre_tokenizer.push_back(std::move(step));
  return absl::OkStatus();
}

absl::StatusOr<PrependScheme> ReadPrependScheme(const Node& node) {
  // Older files say add_prefix_space instead.
  FATHOM_ASSIGN_OR_RETURN(const bool add_prefix, node["add_prefix_space"].Bool(true));
  FATHOM_ASSIGN_OR_RETURN(const std::string name,
                          node["prepend_scheme"].String(add_prefix ? "always" : "never"));
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  return node["prepend_scheme"].TypeError("always, first or never");
}

absl::Status ReadMetaspace(const Node& node, TokenizerDef* def) {
  TokenizerDef::PreTokenizerStep step;
  step.kind = PreTokenizerKind::metaspace;
  step.behavior = SplitBehavior::merged_with_next;
  FATHOM_ASSIGN_OR_RETURN(step.content, node["replacement"].RequiredString());
  FATHOM_ASSIGN_OR_RETURN(step.prepend, ReadPrependScheme(node));
  FATHOM_ASSIGN_OR_RETURN(step.split, node["split"].Bool(true));
  def->pre_tokenizer.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status ReadByteLevel(const Node& node, TokenizerDef* def) {
  FATHOM_ASSIGN_OR_RETURN(const bool prefix, node["add_prefix_space"].Bool(true));
  FATHOM_ASSIGN_OR_RETURN(const bool regex, node["use_regex"].Bool(true));
  if (prefix) {
    TokenizerDef::PreTokenizerStep step;
    step.kind = PreTokenizerKind::prefix_space;
    def->pre_tokenizer.push_back(std::move(step));
  }
  return regex ? AddSplit(Gpt2Pattern(), node.where(), def) : absl::OkStatus();
}

absl::Status ReadPreTokenizerStep(const Node& node, std::string_view type, TokenizerDef* def,
                                  bool* byte_level) {
  if (*byte_level) {
    return UnsupportedError(node.where(), "a step after ByteLevel is not supported");
  }
  if (type == "ByteLevel") {
    *byte_level = true;
    return ReadByteLevel(node, def);
  }
  if (type == "Metaspace") return ReadMetaspace(node, def);
  if (type == "Split") {
    TokenizerDef::PreTokenizerStep step;
    FATHOM_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(node["pattern"]));
    step.kind = pattern.regex ? PreTokenizerKind::split : PreTokenizerKind::split_text;
    step.pattern = std::move(pattern.text);
    FATHOM_ASSIGN_OR_RETURN(step.behavior, ReadBehavior(node["behavior"]));
    FATHOM_ASSIGN_OR_RETURN(step.invert, node["invert"].Bool(false));
    def->pre_tokenizer.push_back(std::move(step));
    return absl::OkStatus();
  }
  if (type == "Digits") {
    FATHOM_ASSIGN_OR_RETURN(const bool individual, node["individual_digits"].Bool(false));
    return AddPlainSplit("\\p{N}", individual ? SplitBehavior::isolated : SplitBehavior::contiguous,
                         false, def);
  }
  if (type == "Punctuation") {
    SplitBehavior behavior = SplitBehavior::isolated;
    if (!node["behavior"].IsNull()) {
      FATHOM_ASSIGN_OR_RETURN(behavior, ReadBehavior(node["behavior"]));
    }
    // Unicode's punctuation and the ASCII signs that are symbols.
    return AddPlainSplit("[\\p{P}$+<=>\\^`|~]", behavior, false, def);
  }
  if (type == "Whitespace")
    return AddPlainSplit("\\w+|[^\\w\\s]+", SplitBehavior::removed, true, def);
  if (type == "WhitespaceSplit") return AddPlainSplit("\\s", SplitBehavior::removed, false, def);
  return UnknownType(node, type);
}

// An id list of a template's special token, or of the older [content, id] pairs.
absl::Status AppendIds(const Node& ids, size_t vocabulary, std::vector<uint32_t>* out) {
  FATHOM_RETURN_IF_ERROR(ids.ExpectArray());
  for (size_t i = 0; i < ids.json().size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const uint32_t id, ids.At(i).RequiredId());
    if (id >= vocabulary) return ids.At(i).TypeError("an id of the vocabulary");
    out->push_back(id);
  }
  return absl::OkStatus();
}

absl::Status ReadTemplate(const Node& node, TokenizerDef* def) {
  const Node single = node["single"];
  FATHOM_RETURN_IF_ERROR(single.ExpectArray());
  bool after_text = false;
  for (size_t i = 0; i < single.json().size(); ++i) {
    const Node piece = single.At(i);
    if (!piece["Sequence"].IsNull()) {
      if (after_text)
        return UnsupportedError(piece.where(), "a text that stands twice is not supported");
      after_text = true;
      continue;
    }
    FATHOM_ASSIGN_OR_RETURN(const std::string name, piece["SpecialToken"]["id"].RequiredString());
    FATHOM_RETURN_IF_ERROR(AppendIds(node["special_tokens"][name]["ids"], def->tokens.size(),
                                     after_text ? &def->suffix_ids : &def->prefix_ids));
  }
  if (!after_text) return InputError(single.where(), "the template has no place for the text");
  return absl::OkStatus();
}

}  // namespace

std::string_view Gpt2Pattern() {
  return R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
}

absl::Status AddSplit(std::string_view pattern, std::string_view where, TokenizerDef* def) {
  FATHOM_ASSIGN_OR_RETURN(std::string translated, TranslatePattern(pattern, where));
  TokenizerDef::PreTokenizerStep step;
  step.pattern = std::move(translated);
  def->pre_tokenizer.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status ReadNormalizer(const Node& node, TokenizerDef* def) {
  return ForEachStep(node, "normalizers", [&](const Node& step, const std::string& type) {
    return ReadNormalizerStep(step, type, def);
  });
}

absl::Status ReadPreTokenizer(const Node& node, TokenizerDef* def, bool* byte_level) {
  return ForEachStep(node, "pretokenizers", [&](const Node& step, const std::string& type) {
    return ReadPreTokenizerStep(step, type, def, byte_level);
  });
}

absl::Status ReadDecoder(const Node& node, TokenizerDef* def, bool* byte_fallback) {
  const bool bytes = def->kind == TokenizerKind::byte_level_bpe;
  if (node.IsNull()) {
    return bytes ? absl::OkStatus()
                 : UnsupportedError(node.where(), "a tokenizer without a decoder is not supported");
  }
  bool fused = false;
  return ForEachStep(
      node, "decoders", [&](const Node& step, const std::string& type) -> absl::Status {
        if (type == "ByteLevel" && bytes) return absl::OkStatus();
        if (type == "Fuse") {
          fused = true;
          return absl::OkStatus();
        }
        if (type == "Strip") {
          FATHOM_ASSIGN_OR_RETURN(def->decoder_strip_char, step["content"].RequiredString());
          if (!step["stop"].IsNull() && step["stop"].json() != 0) {
            return UnsupportedError(step["stop"].where(),
                                    "taking characters from the end is not supported");
          }
          FATHOM_ASSIGN_OR_RETURN(def->decoder_strip_left, step["start"].RequiredId());
          if (!fused) return UnsupportedError(step.where(), "Strip before Fuse is not supported");
          return absl::OkStatus();
        }
        if (fused || bytes) return UnknownType(step, type);
        if (type == "ByteFallback") {
          *byte_fallback = true;
          return absl::OkStatus();
        }
        if (type == "Replace") {
          FATHOM_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(step["pattern"]));
          if (pattern.regex)
            return UnsupportedError(step.where(), "Replace of a Regex is not supported");
          FATHOM_ASSIGN_OR_RETURN(std::string content, step["content"].RequiredString());
          def->decoder_replacements.push_back({std::move(pattern.text), std::move(content)});
          return absl::OkStatus();
        }
        if (type == "Metaspace") {
          FATHOM_ASSIGN_OR_RETURN(std::string mark, step["replacement"].RequiredString());
          FATHOM_ASSIGN_OR_RETURN(const PrependScheme scheme, ReadPrependScheme(step));
          if (mark.empty()) return step["replacement"].TypeError("a character");
          if (scheme != PrependScheme::never) def->decoder_first_token_drop = mark;
          def->decoder_replacements.push_back({std::move(mark), " "});
          return absl::OkStatus();
        }
        return UnknownType(step, type);
      });
}

absl::Status ReadPostProcessor(const Node& node, TokenizerDef* def) {
  return ForEachStep(
      node, "processors", [&](const Node& step, const std::string& type) -> absl::Status {
        if (type == "ByteLevel") return absl::OkStatus();  // changes offsets only
        if (type == "TemplateProcessing") return ReadTemplate(step, def);
        if (type == "BertProcessing" || type == "RobertaProcessing") {
          FATHOM_RETURN_IF_ERROR(step["cls"].ExpectArray());
          FATHOM_RETURN_IF_ERROR(step["sep"].ExpectArray());
          if (step["cls"].json().size() != 2) return step["cls"].TypeError("a token and its id");
          if (step["sep"].json().size() != 2) return step["sep"].TypeError("a token and its id");
          FATHOM_ASSIGN_OR_RETURN(const uint32_t cls, step["cls"].At(1).RequiredId());
          FATHOM_ASSIGN_OR_RETURN(const uint32_t sep, step["sep"].At(1).RequiredId());
          if (cls >= def->tokens.size()) return step["cls"].TypeError("an id of the vocabulary");
          if (sep >= def->tokens.size()) return step["sep"].TypeError("an id of the vocabulary");
          def->prefix_ids.push_back(cls);
          def->suffix_ids.push_back(sep);
          return absl::OkStatus();
        }
        return UnknownType(step, type);
      });
}

}  // namespace fathom::tokenizer
