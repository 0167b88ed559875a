// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a Tokenizer holds: the verified segment, its steps, and the tables that the first Encode
// builds.
#ifndef FATHOM_RUNTIME_TEXT_TOKENIZER_STATE_H_
#define FATHOM_RUNTIME_TEXT_TOKENIZER_STATE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/text/added_tokens.h"
#include "runtime/text/bpe.h"
#include "runtime/text/strings.h"
#include "runtime/text/text_steps.h"
#include "runtime/text/tokenizer.h"

namespace fathom::text {

// Built once, then only read.
struct EncoderTables {
  explicit EncoderTables(const schema::Tokenizer& tokenizer) : model(tokenizer) {}
  BpeModel model;
  AddedTokenMatcher raw;         // matched before the normalizer
  AddedTokenMatcher normalized;  // matched after it, in normalized spelling
  // Control tokens of `normalized` as they are spelled before the normalizer; see EncodePlain.
  AddedTokenMatcher normalized_control;
};

struct Tokenizer::State {
  std::vector<uint64_t> aligned_copy;  // only of a segment that is not aligned to 8 bytes
  const schema::Tokenizer* root = nullptr;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::vector<int32_t> eos_ids;
  absl::flat_hash_map<std::string_view, int32_t, StringHash> added_ids;
  std::vector<bool> special;  // (vocab_size)

  std::once_flag tables_once;
  absl::Status tables_status;
  std::unique_ptr<EncoderTables> tables;

  // Words repeat: most of a text is found here. Emptied when full.
  static constexpr size_t kMaxCachedWords = 1 << 15;
  static constexpr size_t kMaxCachedWordBytes = 48;
  std::mutex cache_mutex;
  absl::flat_hash_map<std::string, std::vector<int32_t>, StringHash, std::equal_to<>> cache;

  absl::Status BuildTables();
  void EncodeWord(std::string_view word, std::vector<int32_t>* ids);
};

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_TOKENIZER_STATE_H_
