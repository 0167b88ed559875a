// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds added tokens (special tokens, role markers, runs of white space) in text, whole and before
// any merging.
#ifndef FATHOM_RUNTIME_TEXT_ADDED_TOKENS_H_
#define FATHOM_RUNTIME_TEXT_ADDED_TOKENS_H_

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace fathom::text {

struct AddedTokenRule {
  int32_t id = 0;
  bool control = false;  // only matched where the text is allowed to hold control tokens
  bool left_strip = false;
  bool right_strip = false;
  bool single_word = false;
};

// A part of a text: an added token (id >= 0) or ordinary text (id < 0).
struct TextPart {
  size_t begin;
  size_t end;
  int32_t id;
};

class AddedTokenMatcher {
 public:
  // `spelling` must not be empty. False when it was added before.
  bool Add(std::string_view spelling, const AddedTokenRule& rule);
  bool empty() const { return rules_.empty(); }

  // Cuts `text` into parts that cover it in order; no part of ordinary text is empty. At each place
  // the longest spelling wins, as in the `tokenizers` library. A control token is taken only when
  // `control_allowed(begin, end)` says so for its bytes, else the next shorter spelling is tried.
  std::vector<TextPart> Cut(std::string_view text,
                            absl::FunctionRef<bool(size_t, size_t)> control_allowed) const;

 private:
  struct Match {
    size_t length = 0;
    const AddedTokenRule* rule = nullptr;
  };
  Match FindAt(std::string_view text, size_t at,
               absl::FunctionRef<bool(size_t, size_t)> control_allowed) const;

  std::vector<AddedTokenRule> rules_;
  std::bitset<256> first_bytes_;
  // A byte trie: (node << 8 | byte) -> node. Node 0 is the root; node_rule_[node] is a rule or -1.
  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> node_rule_ = {-1};
};

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_ADDED_TOKENS_H_
