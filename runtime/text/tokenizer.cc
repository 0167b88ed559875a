// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tokenizer: opening a segment, and the way of a text through added tokens, steps and merges.
#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/status.h"
#include "runtime/text/strings.h"
#include "runtime/text/tokenizer_state.h"
#include "runtime/text/tokenizer_verify.h"
#include "runtime/text/utf8.h"

namespace fathom::text {
namespace {

// Which bytes of the text to encode may hold control tokens: all but the ranges of content.
class ContentRanges {
 public:
  void Add(size_t begin, size_t end) {
    if (begin == end) return;
    if (!ranges_.empty() && ranges_.back().end == begin) {
      ranges_.back().end = end;
    } else {
      ranges_.push_back({begin, end});
    }
  }
  // Whether no byte of [begin, end) is content.
  bool ControlOnly(size_t begin, size_t end) const {
    const auto next = FirstEndingAfter(begin);
    return next == ranges_.end() || next->begin >= end;
  }
  bool ContentOnly(size_t begin, size_t end) const {
    const auto next = FirstEndingAfter(begin);
    return next != ranges_.end() && next->begin <= begin && end <= next->end;
  }

 private:
  std::vector<TextRange>::const_iterator FirstEndingAfter(size_t at) const {
    return std::upper_bound(ranges_.begin(), ranges_.end(), at,
                            [](size_t value, const TextRange& r) { return value < r.end; });
  }
  std::vector<TextRange> ranges_;
};

// One Encode call.
class Encoder {
 public:
  Encoder(Tokenizer::State* state, std::string_view text, const ContentRanges& content)
      : state_(state),
        tables_(*state->tables),
        text_(text),
        content_(content),
        workspace_(text.size()) {}

  absl::StatusOr<std::vector<int32_t>> Run() {
    const auto allowed = [&](size_t begin, size_t end) { return content_.ControlOnly(begin, end); };
    for (const TextPart& part : tables_.raw.Cut(text_, allowed)) {
      if (part.id >= 0) {
        ids_.push_back(part.id);
      } else {
        FATHOM_RETURN_IF_ERROR(EncodePlain(part.begin, part.end));
      }
    }
    return std::move(ids_);
  }

 private:
  // Text without added tokens of the kind that is matched before the normalizer.
  absl::Status EncodePlain(size_t begin, size_t end) {
    const bool control = content_.ControlOnly(begin, end);
    if (state_->normalizer.empty()) {
      const auto allowed = [&](size_t b, size_t e) {
        return control || content_.ControlOnly(begin + b, begin + e);
      };
      return EncodeParts(text_.substr(begin, end - begin), begin == 0, allowed);
    }
    if (control || content_.ContentOnly(begin, end)) return EncodeNormalized(begin, end, control);
    // Template and content side by side. The normalizer would hide where one ends, so the
    // template's own control tokens are cut out first, in the spelling that the template gives
    // them.
    const auto allowed = [&](size_t b, size_t e) {
      return content_.ControlOnly(begin + b, begin + e);
    };
    const std::string_view text = text_.substr(begin, end - begin);
    for (const TextPart& part : tables_.normalized_control.Cut(text, allowed)) {
      if (part.id >= 0) {
        ids_.push_back(part.id);
      } else {
        FATHOM_RETURN_IF_ERROR(
            EncodeNormalized(begin + part.begin, begin + part.end, allowed(part.begin, part.end)));
      }
    }
    return absl::OkStatus();
  }

  absl::Status EncodeNormalized(size_t begin, size_t end, bool control) {
    FATHOM_ASSIGN_OR_RETURN(const std::string text,
                            state_->normalizer.Run(text_.substr(begin, end - begin), &workspace_));
    return EncodeParts(text, begin == 0, [&](size_t, size_t) { return control; });
  }

  // Normalized text: the added tokens that are matched in it, and words.
  absl::Status EncodeParts(std::string_view text, bool at_start,
                           absl::FunctionRef<bool(size_t, size_t)> control_allowed) {
    for (const TextPart& part : tables_.normalized.Cut(text, control_allowed)) {
      if (part.id >= 0) {
        ids_.push_back(part.id);
        continue;
      }
      FATHOM_RETURN_IF_ERROR(state_->pre_tokenizer.Run(
          text.substr(part.begin, part.end - part.begin), at_start && part.begin == 0, &workspace_,
          [&](std::string_view word) {
            state_->EncodeWord(word, &ids_);
            return absl::OkStatus();
          }));
    }
    return absl::OkStatus();
  }

  Tokenizer::State* const state_;
  const EncoderTables& tables_;
  const std::string_view text_;
  const ContentRanges& content_;
  PatternWorkspace workspace_;
  std::vector<int32_t> ids_;
};

absl::Status CheckText(std::string_view text) {
  if (text.size() > Tokenizer::kMaxTextBytes) {
    return InputError("text", "too long", Cat("at most ", Tokenizer::kMaxTextBytes, " bytes"),
                      text.size());
  }
  if (const size_t at = FindInvalidUtf8(text); at != std::string_view::npos) {
    return InputError("text", Cat("not valid UTF-8 at byte ", at));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> EncodeText(Tokenizer::State* state, std::string_view text,
                                                const ContentRanges& content, bool add_special) {
  FATHOM_RETURN_IF_ERROR(CheckText(text));
  FATHOM_RETURN_IF_ERROR(state->BuildTables());
  FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> ids, Encoder(state, text, content).Run());
  if (!add_special) return ids;
  const auto* prefix = state->root->prefix_ids();
  const auto* suffix = state->root->suffix_ids();
  if (prefix != nullptr) ids.insert(ids.begin(), prefix->begin(), prefix->end());
  if (suffix != nullptr) ids.insert(ids.end(), suffix->begin(), suffix->end());
  return ids;
}

}  // namespace

absl::Status Tokenizer::State::BuildTables() {
  std::call_once(tables_once, [this] {
    auto built = std::make_unique<EncoderTables>(*root);
    normalizer.Optimize();
    pre_tokenizer.Optimize();
    PatternWorkspace workspace(1 << 16);
    for (uint32_t i = 0; root->added_tokens() != nullptr && i < root->added_tokens()->size(); ++i) {
      const schema::AddedToken& token = *root->added_tokens()->Get(i);
      const std::string_view content(token.content()->c_str(), token.content()->size());
      const AddedTokenRule rule{static_cast<int32_t>(token.id()), token.control(),
                                token.left_strip(), token.right_strip(), token.single_word()};
      if (!token.normalized()) {
        built->raw.Add(content, rule);
        continue;
      }
      const absl::StatusOr<std::string> spelling = normalizer.Run(content, &workspace);
      if (!spelling.ok()) {
        tables_status = spelling.status();
        return;
      }
      if (!spelling->empty()) built->normalized.Add(*spelling, rule);
      if (token.control()) built->normalized_control.Add(content, rule);
    }
    tables = std::move(built);
  });
  return tables_status;
}

void Tokenizer::State::EncodeWord(std::string_view word, std::vector<int32_t>* ids) {
  const bool cached = word.size() <= kMaxCachedWordBytes;
  if (cached) {
    const std::lock_guard lock(cache_mutex);
    if (const auto it = cache.find(word); it != cache.end()) {
      ids->insert(ids->end(), it->second.begin(), it->second.end());
      return;
    }
  }
  const size_t before = ids->size();
  tables->model.Encode(word, ids);
  if (cached) {
    const std::lock_guard lock(cache_mutex);
    if (cache.size() >= kMaxCachedWords) cache.clear();
    cache.try_emplace(std::string(word), ids->begin() + static_cast<ptrdiff_t>(before), ids->end());
  }
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Open(absl::Span<const uint8_t> segment) {
  auto state = std::make_unique<State>();
  if (reinterpret_cast<uintptr_t>(segment.data()) % 8 != 0 &&
      segment.size() < FLATBUFFERS_MAX_BUFFER_SIZE) {
    state->aligned_copy.resize((segment.size() + 7) / 8);
    std::memcpy(state->aligned_copy.data(), segment.data(), segment.size());
    segment = {reinterpret_cast<const uint8_t*>(state->aligned_copy.data()), segment.size()};
  }
  FATHOM_ASSIGN_OR_RETURN(state->root, VerifyTokenizer(segment));
  const schema::Tokenizer& root = *state->root;
  FATHOM_ASSIGN_OR_RETURN(state->normalizer, Normalizer::Create(root));
  FATHOM_ASSIGN_OR_RETURN(state->pre_tokenizer, PreTokenizer::Create(root));
  if (root.eos_ids() != nullptr)
    state->eos_ids.assign(root.eos_ids()->begin(), root.eos_ids()->end());
  state->special.resize(root.token_ends()->size());
  for (uint32_t i = 0; root.added_tokens() != nullptr && i < root.added_tokens()->size(); ++i) {
    const schema::AddedToken& token = *root.added_tokens()->Get(i);
    const std::string_view content(token.content()->c_str(), token.content()->size());
    state->added_ids.try_emplace(content, static_cast<int32_t>(token.id()));
    if (token.special()) state->special[token.id()] = true;
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(state)));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       const EncodeOptions& options) const {
  ContentRanges content;
  if (!options.parse_special) content.Add(0, text.size());
  return EncodeText(state_.get(), text, content, options.add_special);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeSegments(
    absl::Span<const TextSegment> segments, bool add_special) const {
  std::string text;
  ContentRanges content;
  for (const TextSegment& segment : segments) {
    if (segment.text.size() > kMaxTextBytes - text.size()) {
      return InputError("text", "too long", Cat("at most ", kMaxTextBytes, " bytes"), "more");
    }
    if (!segment.control) content.Add(text.size(), text.size() + segment.text.size());
    text += segment.text;
  }
  return EncodeText(state_.get(), text, content, add_special);
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids,
                                              bool skip_special) const {
  StreamDecoder decoder(*this, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    FATHOM_ASSIGN_OR_RETURN(const std::string piece, decoder.Add(id));
    text += piece;
  }
  return text + decoder.Finish();
}

int32_t Tokenizer::vocab_size() const {
  return static_cast<int32_t>(state_->root->token_ends()->size());
}

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  if (const auto it = state_->added_ids.find(token); it != state_->added_ids.end())
    return it->second;
  if (!state_->BuildTables().ok()) return std::nullopt;
  const int32_t id = state_->tables->model.Find(token);
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

std::optional<std::string_view> Tokenizer::IdToToken(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return std::nullopt;
  const auto at = static_cast<uint32_t>(id);
  if (state_->root->token_classes()->Get(at) == static_cast<uint8_t>(schema::TokenClass::missing)) {
    return std::nullopt;
  }
  return TokenBytes(*state_->root, at);
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && state_->special[static_cast<size_t>(id)];
}

namespace {
std::optional<int32_t> Optional(int32_t id) {
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}
}  // namespace

std::optional<int32_t> Tokenizer::bos_id() const { return Optional(state_->root->bos_id()); }
std::optional<int32_t> Tokenizer::pad_id() const { return Optional(state_->root->pad_id()); }
std::optional<int32_t> Tokenizer::unknown_id() const {
  return Optional(state_->root->unknown_id());
}
const std::vector<int32_t>& Tokenizer::eos_ids() const { return state_->eos_ids; }
bool Tokenizer::IsEos(int32_t id) const {
  return std::find(state_->eos_ids.begin(), state_->eos_ids.end(), id) != state_->eos_ids.end();
}

std::optional<std::string_view> Tokenizer::ChatTemplate(std::string_view name) const {
  const auto* sources = state_->root->chat_templates();
  for (uint32_t i = 0; sources != nullptr && i < sources->size(); ++i) {
    const schema::ChatTemplateSource& source = *sources->Get(i);
    if (std::string_view(source.name()->c_str(), source.name()->size()) == name) {
      return std::string_view(source.source()->c_str(), source.source()->size());
    }
  }
  return std::nullopt;
}

}  // namespace fathom::text
