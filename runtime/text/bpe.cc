// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The merge table and the heap-driven merging of BpeModel.
#include "runtime/text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/text/utf8.h"

namespace fathom::text {
namespace {

using schema::TokenClass;
using schema::TokenizerKind;

// Maps scores to keys so that a higher score has the smaller key. Scores are never NaN.
uint32_t ScoreKey(float score) {
  if (score == 0) score = 0;  // -0 equals 0
  const uint32_t bits = std::bit_cast<uint32_t>(score);
  const uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

}  // namespace

MergeTable::MergeTable(size_t count) {
  const size_t size = std::bit_ceil(std::max<size_t>(2 * count, 2));
  slots_.resize(size);
  shift_ = 64 - std::countr_zero(size);
}

void MergeTable::Insert(uint32_t left, uint32_t right, Merge merge) {
  const uint64_t key = uint64_t{left} << 32 | right;
  size_t i = Index(key);
  while (slots_[i].key != key && slots_[i].key != UINT64_MAX) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {key, merge};
}

const MergeTable::Merge* MergeTable::Find(uint32_t left, uint32_t right) const {
  const uint64_t key = uint64_t{left} << 32 | right;
  size_t i = Index(key);
  while (slots_[i].key != key) {
    if (slots_[i].key == UINT64_MAX) return nullptr;
    i = (i + 1) & (slots_.size() - 1);
  }
  return &slots_[i].merge;
}

std::string_view TokenBytes(const schema::Tokenizer& tokenizer, uint32_t id) {
  const auto& ends = *tokenizer.token_ends();
  const uint32_t begin = id == 0 ? 0 : ends[id - 1];
  return {reinterpret_cast<const char*>(tokenizer.token_bytes()->data()) + begin, ends[id] - begin};
}

BpeModel::BpeModel(const schema::Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      merges_(tokenizer.merges() == nullptr ? 0 : tokenizer.merges()->size()) {
  const auto& classes = *tokenizer.token_classes();
  if (tokenizer.merges() != nullptr) {
    for (uint32_t rank = 0; rank < tokenizer.merges()->size(); ++rank) {
      const schema::TokenMerge& merge = *tokenizer.merges()->Get(rank);
      // A control token is made by the template only, whatever the file's merges say.
      if (classes[merge.result()] == static_cast<uint8_t>(TokenClass::control)) continue;
      merges_.Insert(merge.left(), merge.right(), {rank, merge.result()});
    }
  }
  byte_ids_.fill(-1);
  ids_.reserve(classes.size());
  const bool bytes_are_units = tokenizer.kind() == TokenizerKind::byte_level_bpe;
  for (uint32_t id = 0; id < classes.size(); ++id) {
    const auto token_class = static_cast<TokenClass>(classes[id]);
    const std::string_view bytes = TokenBytes(tokenizer, id);
    if (token_class == TokenClass::normal) {
      ids_.try_emplace(bytes, id);
      if (bytes_are_units && bytes.size() == 1) {
        byte_ids_[static_cast<unsigned char>(bytes[0])] = static_cast<int32_t>(id);
      }
    } else if (token_class == TokenClass::byte && !bytes_are_units) {
      byte_ids_[static_cast<unsigned char>(bytes[0])] = static_cast<int32_t>(id);
    }
  }
}

int32_t BpeModel::Find(std::string_view text) const {
  const auto it = ids_.find(text);
  return it == ids_.end() ? -1 : static_cast<int32_t>(it->second);
}

void BpeModel::SplitIntoUnits(std::string_view word, std::vector<Unit>* units) const {
  const auto add = [&](int32_t id, size_t begin, size_t length) {
    const auto at = static_cast<int32_t>(units->size());
    if (at > 0) units->back().next = at;
    units->push_back({static_cast<uint32_t>(id), static_cast<uint32_t>(begin),
                      static_cast<uint32_t>(length), at - 1, -1});
  };
  const int32_t unknown = tokenizer_.unknown_id();
  const bool bytes_are_units = tokenizer_.kind() == TokenizerKind::byte_level_bpe;
  size_t unknown_end = std::string_view::npos;
  for (size_t at = 0, length = 0; at < word.size(); at += length) {
    length = bytes_are_units ? 1 : CharLength(word[at]);
    const std::string_view unit = word.substr(at, length);
    const int32_t id =
        bytes_are_units ? byte_ids_[static_cast<unsigned char>(unit[0])] : Find(unit);
    if (id >= 0) {
      add(id, at, length);
      continue;
    }
    if (tokenizer_.byte_fallback() && !bytes_are_units &&
        std::all_of(unit.begin(), unit.end(),
                    [&](char c) { return byte_ids_[static_cast<unsigned char>(c)] >= 0; })) {
      for (size_t i = 0; i < length; ++i)
        add(byte_ids_[static_cast<unsigned char>(unit[i])], at + i, 1);
      continue;
    }
    if (unknown < 0) continue;
    if (tokenizer_.fuse_unknown() && unknown_end == at) {
      units->back().length += static_cast<uint32_t>(length);
    } else {
      add(unknown, at, length);
    }
    unknown_end = at + length;
  }
}

bool BpeModel::Join(std::string_view word, const Unit& left, const Unit& right,
                    Candidate* out) const {
  if (tokenizer_.kind() != TokenizerKind::sentencepiece_bpe) {
    const MergeTable::Merge* merge = merges_.Find(left.id, right.id);
    if (merge == nullptr) return false;
    out->key = merge->rank;
    out->id = merge->result;
    return true;
  }
  const int32_t id = Find(word.substr(left.begin, right.begin + right.length - left.begin));
  if (id < 0) return false;
  out->key = ScoreKey(tokenizer_.token_scores()->Get(static_cast<uint32_t>(id)));
  out->id = static_cast<uint32_t>(id);
  return true;
}

void BpeModel::MergeAll(std::string_view word, std::vector<Unit>* units) const {
  std::vector<Candidate> heap;
  const auto consider = [&](int32_t position) {
    const Unit& left = (*units)[position];
    if (left.next < 0) return false;
    Candidate candidate{};
    if (!Join(word, left, (*units)[left.next], &candidate)) return false;
    candidate.position = static_cast<uint32_t>(position);
    heap.push_back(candidate);
    return true;
  };
  for (size_t i = 0; i + 1 < units->size(); ++i) consider(static_cast<int32_t>(i));
  std::make_heap(heap.begin(), heap.end(), Later{});
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), Later{});
    const Candidate top = heap.back();
    heap.pop_back();
    Unit& left = (*units)[top.position];
    if (left.length == 0 || left.next < 0) continue;
    Unit& right = (*units)[left.next];
    // One of the two may have been merged since; what stands here now must still give the same
    // token.
    Candidate now{};
    if (!Join(word, left, right, &now) || now.id != top.id) continue;
    left.id = top.id;
    left.length = right.begin + right.length - left.begin;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) (*units)[left.next].previous = static_cast<int32_t>(top.position);
    if (left.previous >= 0 && consider(left.previous)) {
      std::push_heap(heap.begin(), heap.end(), Later{});
    }
    if (consider(static_cast<int32_t>(top.position))) {
      std::push_heap(heap.begin(), heap.end(), Later{});
    }
  }
}

void BpeModel::Encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (tokenizer_.ignore_merges()) {
    if (const int32_t id = Find(word); id >= 0) {
      ids->push_back(id);
      return;
    }
  }
  std::vector<Unit> units;
  units.reserve(word.size());
  SplitIntoUnits(word, &units);
  if (units.size() > 1) MergeAll(word, &units);
  for (const Unit& unit : units) {
    if (unit.length != 0) ids->push_back(static_cast<int32_t>(unit.id));
  }
}

}  // namespace fathom::text
