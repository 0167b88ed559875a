// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The byte trie behind AddedTokenMatcher and the rules for white space and words around a match.
#include "runtime/text/added_tokens.h"

#include "runtime/text/utf8.h"

namespace fathom::text {
namespace {

bool EndsWithWord(std::string_view text) {
  if (text.empty()) return false;
  size_t start = text.size() - 1;
  while (start > 0 && IsContinuation(text[start])) --start;
  return IsWordChar(ReadUtf8(text, start).code);
}

bool StartsWithWord(std::string_view text) {
  return !text.empty() && IsWordChar(ReadUtf8(text, 0).code);
}

}  // namespace

bool AddedTokenMatcher::Add(std::string_view spelling, const AddedTokenRule& rule) {
  uint32_t node = 0;
  for (const char c : spelling) {
    const uint64_t key = uint64_t{node} << 8 | static_cast<unsigned char>(c);
    const auto [it, inserted] = edges_.try_emplace(key, static_cast<uint32_t>(node_rule_.size()));
    if (inserted) node_rule_.push_back(-1);
    node = it->second;
  }
  if (node_rule_[node] >= 0) return false;
  node_rule_[node] = static_cast<int32_t>(rules_.size());
  rules_.push_back(rule);
  first_bytes_.set(static_cast<unsigned char>(spelling[0]));
  return true;
}

AddedTokenMatcher::Match AddedTokenMatcher::FindAt(
    std::string_view text, size_t at,
    absl::FunctionRef<bool(size_t, size_t)> control_allowed) const {
  Match best;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto it = edges_.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
    if (it == edges_.end()) break;
    node = it->second;
    if (node_rule_[node] < 0) continue;
    const AddedTokenRule& rule = rules_[node_rule_[node]];
    if (!rule.control || control_allowed(at, i + 1)) best = {i + 1 - at, &rule};
  }
  return best;
}

std::vector<TextPart> AddedTokenMatcher::Cut(
    std::string_view text, absl::FunctionRef<bool(size_t, size_t)> control_allowed) const {
  std::vector<TextPart> parts;
  size_t done = 0;  // everything before it is in `parts`
  for (size_t at = 0; !rules_.empty() && at < text.size();) {
    if (!first_bytes_.test(static_cast<unsigned char>(text[at]))) {
      ++at;
      continue;
    }
    const Match match = FindAt(text, at, control_allowed);
    if (match.rule == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + match.length;
    at = end;
    if (match.rule->single_word &&
        (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end)))) {
      continue;
    }
    if (match.rule->left_strip) begin = done + TrimRight(text.substr(done, begin - done)).size();
    if (match.rule->right_strip) end = text.size() - TrimLeft(text.substr(end)).size();
    if (done < begin) parts.push_back({done, begin, -1});
    parts.push_back({begin, end, match.rule->id});
    done = end;
    at = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), -1});
  return parts;
}

}  // namespace fathom::text
