// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Byte-pair encoding: from a word to token ids, by merge rank or by token score.
#ifndef FATHOM_RUNTIME_TEXT_BPE_H_
#define FATHOM_RUNTIME_TEXT_BPE_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/strings.h"

namespace fathom::text {

// A merge table as one open-addressing array: two loads for most look-ups.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank;
    uint32_t result;
  };
  explicit MergeTable(size_t count);
  void Insert(uint32_t left, uint32_t right, Merge merge);  // an equal pair is overwritten
  const Merge* Find(uint32_t left, uint32_t right) const;

 private:
  struct Slot {
    uint64_t key = UINT64_MAX;  // no pair: ids are below 2^22
    Merge merge{0, 0};
  };
  size_t Index(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }
  std::vector<Slot> slots_;
  int shift_;
};

// The merging half of a tokenizer. Built once from a verified schema (it keeps views into it);
// Encode is const and safe from any number of threads.
//
// Merging, as both the `tokenizers` library and SentencePiece do it: start from the units of the
// word (bytes or characters), repeatedly join the neighbouring pair of lowest rank (highest score),
// leftmost first, until no pair can be joined. With "ab" ranked 0 and "bc" ranked 1, "abc" becomes
// ab c. A heap of candidate pairs over a linked list of units makes it O(n log n) for a word of n
// units.
class BpeModel {
 public:
  explicit BpeModel(const schema::Tokenizer& tokenizer);

  // Appends the tokens of `word` (not empty, valid UTF-8) to `ids`. Characters that cannot be
  // spelled become their bytes (byte_fallback), else the unknown token, else nothing.
  void Encode(std::string_view word, std::vector<int32_t>* ids) const;

  // The normal token spelled `text`, or -1.
  int32_t Find(std::string_view text) const;

 private:
  struct Unit {
    uint32_t id;
    uint32_t begin;   // its text is word[begin, begin + length)
    uint32_t length;  // 0: merged into its left neighbour
    int32_t previous;
    int32_t next;
  };
  struct Candidate {
    uint32_t key;  // smaller merges first
    uint32_t position;
    uint32_t id;
  };
  struct Later {
    bool operator()(const Candidate& a, const Candidate& b) const {
      return a.key != b.key ? a.key > b.key : a.position > b.position;
    }
  };
  void SplitIntoUnits(std::string_view word, std::vector<Unit>* units) const;
  bool Join(std::string_view word, const Unit& left, const Unit& right, Candidate* out) const;
  void MergeAll(std::string_view word, std::vector<Unit>* units) const;

  const schema::Tokenizer& tokenizer_;
  MergeTable merges_;
  absl::flat_hash_map<std::string_view, uint32_t, StringHash> ids_;  // normal tokens by spelling
  std::array<int32_t, 256> byte_ids_;                                // the token of one byte, or -1
};

// Token `id` of a verified tokenizer.
std::string_view TokenBytes(const schema::Tokenizer& tokenizer, uint32_t id);

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_BPE_H_
