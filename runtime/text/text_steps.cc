// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Normalizer and PreTokenizer, step by step as the `tokenizers` library defines them.
#include "runtime/text/text_steps.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "runtime/base/status.h"
#include "runtime/text/strings.h"
#include "runtime/text/utf8.h"

namespace fathom::text {
namespace {

using schema::NormalizerKind;
using schema::PrependScheme;
using schema::PreTokenizerKind;
using schema::SplitBehavior;

absl::Status TooLong(std::string_view step) {
  return InputError("text", Cat("too long after ", step), Cat("at most ", kMaxStepBytes, " bytes"),
                    "more");
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<signed char>(c) >= 0; });
}

absl::Status AppendUtf8proc(std::string_view text, int options, std::string* out) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  if (length < 0) {
    return absl::ResourceExhaustedError(
        Cat("text cannot be normalized: ", utf8proc_errmsg(length)));
  }
  out->append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
  std::free(mapped);
  return absl::OkStatus();
}

// utf8proc 2.8 lets a Hangul syllable swallow U+11A7, the place before the first final consonant,
// which composes with nothing. It is a starter, so the text on either side of it normalizes by
// itself.
absl::StatusOr<std::string> Utf8proc(std::string_view text, int options) {
  constexpr std::string_view kBeforeFinals = "\xE1\x86\xA7";
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(kBeforeFinals); at != text.npos; at = text.find(kBeforeFinals, done)) {
    FATHOM_RETURN_IF_ERROR(AppendUtf8proc(text.substr(done, at - done), options, &out));
    out += kBeforeFinals;
    done = at + kBeforeFinals.size();
  }
  FATHOM_RETURN_IF_ERROR(AppendUtf8proc(text.substr(done), options, &out));
  return out;
}

std::string Lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text, at);
    at += c.length;
    if (c.code == 0x130) {  // the one letter whose lower case is two characters
      out += "i\xCC\x87";
    } else {
      AppendUtf8(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code))),
                 &out);
    }
  }
  return out;
}

std::string String(const flatbuffers::String* s) { return s == nullptr ? std::string() : s->str(); }

absl::Status CheckText(std::string_view text, std::string_view where) {
  if (FindInvalidUtf8(text) != std::string_view::npos) return InputError(where, "not valid UTF-8");
  return absl::OkStatus();
}

std::vector<TextRange> FindText(std::string_view text, std::string_view pattern) {
  std::vector<TextRange> matches;
  for (size_t at = text.find(pattern); at != text.npos;
       at = text.find(pattern, at + pattern.size())) {
    matches.push_back({at, at + pattern.size()});
  }
  return matches;
}

}  // namespace

absl::StatusOr<Normalizer> Normalizer::Create(const schema::Tokenizer& tokenizer) {
  Normalizer result;
  if (tokenizer.normalizer() == nullptr) return result;
  for (const schema::NormalizerStep* in : *tokenizer.normalizer()) {
    const std::string where = Cat("tokenizer: normalizer[", result.steps_.size(), "]");
    if (in->kind() > NormalizerKind::MAX) {
      return InputError(where, "unknown kind", Cat("at most ", int(NormalizerKind::MAX)),
                        int(in->kind()));
    }
    Step step{in->kind(), String(in->pattern()), String(in->content()),
              in->left(), in->right(),           {}};
    FATHOM_RETURN_IF_ERROR(CheckText(step.text, where));
    FATHOM_RETURN_IF_ERROR(CheckText(step.content, where));
    if (step.kind == NormalizerKind::replace_text && step.text.empty()) {
      return InputError(where, "the text to replace is empty");
    }
    if (step.kind == NormalizerKind::replace_regex) {
      FATHOM_ASSIGN_OR_RETURN(step.pattern, SplitPattern::Compile(step.text, where));
    }
    result.steps_.push_back(std::move(step));
  }
  return result;
}

void Normalizer::Optimize() {
  for (const Step& step : steps_) {
    if (step.pattern != nullptr) step.pattern->Optimize();
  }
}

absl::StatusOr<std::string> Normalizer::Run(std::string_view text,
                                            PatternWorkspace* workspace) const {
  std::string now(text);
  for (const Step& step : steps_) {
    if (now.empty()) break;
    switch (step.kind) {
      case NormalizerKind::nfc:
      case NormalizerKind::nfd:
      case NormalizerKind::nfkc:
      case NormalizerKind::nfkd: {
        if (IsAscii(now)) break;
        const bool compose = step.kind == NormalizerKind::nfc || step.kind == NormalizerKind::nfkc;
        const bool compat = step.kind == NormalizerKind::nfkc || step.kind == NormalizerKind::nfkd;
        FATHOM_ASSIGN_OR_RETURN(now,
                                Utf8proc(now, (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                                                  (compat ? UTF8PROC_COMPAT : 0)));
        break;
      }
      case NormalizerKind::lowercase:
        now = Lowercase(now);
        break;
      case NormalizerKind::prepend:
        now.insert(0, step.content);
        break;
      case NormalizerKind::replace_text: {
        const size_t count = FindText(now, step.text).size();
        if (step.content.size() > step.text.size() && count > kMaxStepBytes / step.content.size()) {
          return TooLong("replacing");
        }
        if (count > 0) now = ReplaceAll(now, step.text, step.content);
        break;
      }
      case NormalizerKind::replace_regex: {
        std::string out;
        size_t done = 0;
        FATHOM_RETURN_IF_ERROR(step.pattern->FindAll(now, workspace, [&](TextRange match) {
          if (out.size() > kMaxStepBytes) return;
          out.append(now, done, match.begin - done).append(step.content);
          done = match.end;
        }));
        if (out.size() > kMaxStepBytes) return TooLong("replacing");
        out.append(now, done);
        now = std::move(out);
        break;
      }
      case NormalizerKind::strip: {
        std::string_view rest = now;
        if (step.left) rest = TrimLeft(rest);
        if (step.right) rest = TrimRight(rest);
        now = std::string(rest);
        break;
      }
    }
    if (now.size() > kMaxStepBytes) return TooLong("normalizing");
  }
  return now;
}

absl::StatusOr<PreTokenizer> PreTokenizer::Create(const schema::Tokenizer& tokenizer) {
  PreTokenizer result;
  if (tokenizer.pre_tokenizer() == nullptr) return result;
  for (const schema::PreTokenizerStep* in : *tokenizer.pre_tokenizer()) {
    const std::string where = Cat("tokenizer: pre_tokenizer[", result.steps_.size(), "]");
    if (in->kind() > PreTokenizerKind::MAX || in->behavior() > SplitBehavior::MAX ||
        in->prepend() > PrependScheme::MAX) {
      return InputError(where, "unknown kind, behavior or prepend scheme");
    }
    Step step{in->kind(),
              in->behavior(),
              in->invert(),
              String(in->pattern()),
              String(in->content()),
              in->prepend(),
              in->split(),
              {}};
    FATHOM_RETURN_IF_ERROR(CheckText(step.text, where));
    FATHOM_RETURN_IF_ERROR(CheckText(step.content, where));
    if (step.kind == PreTokenizerKind::split_text && step.text.empty()) {
      return InputError(where, "the text to split at is empty");
    }
    if (step.kind == PreTokenizerKind::metaspace &&
        (step.content.empty() || step.content.size() > 4)) {
      return InputError(where, "the mark of a space has the wrong length", "one character",
                        step.content);
    }
    if (step.kind == PreTokenizerKind::split) {
      FATHOM_ASSIGN_OR_RETURN(step.pattern, SplitPattern::Compile(step.text, where));
    }
    result.steps_.push_back(std::move(step));
  }
  return result;
}

void PreTokenizer::Optimize() {
  for (const Step& step : steps_) {
    if (step.pattern != nullptr) step.pattern->Optimize();
  }
}

void ApplySplit(size_t size, const std::vector<TextRange>& matches, SplitBehavior behavior,
                bool invert, size_t offset, std::vector<TextRange>* pieces) {
  struct Part {
    TextRange range;
    bool match;
  };
  std::vector<Part> parts;
  parts.reserve(2 * matches.size() + 1);
  size_t done = 0;
  for (const TextRange& match : matches) {
    if (done != match.begin) parts.push_back({{done, match.begin}, invert});
    parts.push_back({match, !invert});
    done = match.end;
  }
  if (done != size) parts.push_back({{done, size}, invert});

  std::vector<TextRange> out;
  bool previous = false;
  const auto merge_forward = [&](bool joins, const TextRange& range) {
    if (joins && !out.empty()) {
      out.back().end = range.end;
    } else {
      out.push_back(range);
    }
  };
  switch (behavior) {
    case SplitBehavior::removed:
      for (const Part& part : parts) {
        if (!part.match) out.push_back(part.range);
      }
      break;
    case SplitBehavior::isolated:
      for (const Part& part : parts) out.push_back(part.range);
      break;
    case SplitBehavior::merged_with_previous:
      for (const Part& part : parts) {
        merge_forward(part.match && !previous, part.range);
        previous = part.match;
      }
      break;
    case SplitBehavior::merged_with_next:
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        if (part->match && !previous && !out.empty()) {
          out.back().begin = part->range.begin;
        } else {
          out.push_back(part->range);
        }
        previous = part->match;
      }
      std::reverse(out.begin(), out.end());
      break;
    case SplitBehavior::contiguous:
      for (const Part& part : parts) {
        merge_forward(part.match == previous, part.range);
        previous = part.match;
      }
      break;
  }
  for (const TextRange& range : out) {
    if (range.begin != range.end) pieces->push_back({range.begin + offset, range.end + offset});
  }
}

absl::Status PreTokenizer::Split(const Step& step, std::string_view text,
                                 std::vector<TextRange>* ranges,
                                 PatternWorkspace* workspace) const {
  std::vector<TextRange> out;
  out.reserve(ranges->size());
  for (const TextRange& range : *ranges) {
    const std::string_view piece = text.substr(range.begin, range.end - range.begin);
    std::vector<TextRange> matches;
    if (step.kind == PreTokenizerKind::split) {
      FATHOM_RETURN_IF_ERROR(step.pattern->FindAll(
          piece, workspace, [&](TextRange match) { matches.push_back(match); }));
    } else {
      matches =
          FindText(piece, step.kind == PreTokenizerKind::metaspace ? step.content : step.text);
    }
    ApplySplit(piece.size(), matches, step.behavior, step.invert, range.begin, &out);
  }
  *ranges = std::move(out);
  return absl::OkStatus();
}

// The two steps that change the text of pieces: it is laid out anew, piece after piece.
void PreTokenizer::RewriteSpaces(const Step& step, bool at_start, std::string* text,
                                 std::vector<TextRange>* ranges) {
  std::string out;
  out.reserve(text->size() + ranges->size());
  for (size_t i = 0; i < ranges->size(); ++i) {
    const TextRange range = (*ranges)[i];
    std::string piece = text->substr(range.begin, range.end - range.begin);
    if (step.kind == PreTokenizerKind::prefix_space) {
      if (piece[0] != ' ') piece.insert(0, " ");
    } else {
      if (step.content != " ") piece = ReplaceAll(piece, " ", step.content);
      const bool first = at_start && i == 0;
      if ((step.prepend == PrependScheme::always ||
           (step.prepend == PrependScheme::first && first)) &&
          !piece.starts_with(step.content)) {
        piece.insert(0, step.content);
      }
    }
    (*ranges)[i] = {out.size(), out.size() + piece.size()};
    out += piece;
  }
  *text = std::move(out);
}

absl::Status PreTokenizer::Run(std::string_view text, bool at_start, PatternWorkspace* workspace,
                               absl::FunctionRef<absl::Status(std::string_view)> word) const {
  if (text.empty()) return absl::OkStatus();
  std::string rewritten;
  std::vector<TextRange> ranges = {{0, text.size()}};
  for (const Step& step : steps_) {
    if (step.kind == PreTokenizerKind::prefix_space || step.kind == PreTokenizerKind::metaspace) {
      std::string next(text);
      RewriteSpaces(step, at_start, &next, &ranges);
      if (next.size() > kMaxStepBytes) return TooLong("splitting");
      rewritten = std::move(next);
      text = rewritten;
      if (step.kind == PreTokenizerKind::prefix_space || !step.split) continue;
    }
    FATHOM_RETURN_IF_ERROR(Split(step, text, &ranges, workspace));
  }
  for (const TextRange& range : ranges) {
    FATHOM_RETURN_IF_ERROR(word(text.substr(range.begin, range.end - range.begin)));
  }
  return absl::OkStatus();
}

}  // namespace fathom::text
