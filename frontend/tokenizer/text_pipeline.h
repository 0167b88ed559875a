// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parts of tokenizer.json around the model: normalizer, pre_tokenizer, decoder, post_processor.
#ifndef FATHOM_FRONTEND_TOKENIZER_TEXT_PIPELINE_H_
#define FATHOM_FRONTEND_TOKENIZER_TEXT_PIPELINE_H_

#include <string_view>

#include "absl/status/status.h"
#include "frontend/tokenizer/json_file.h"
#include "frontend/tokenizer/tokenizer_def.h"

namespace fathom::tokenizer {

// Each translates one member of tokenizer.json into the definition. Unimplemented names a step of a
// kind that has no counterpart (WordPiece's, Unigram's), InvalidArgument a malformed one.
absl::Status ReadNormalizer(const Node& node, TokenizerDef* def);

// Sets *byte_level when a ByteLevel step ends the list: the model's units are bytes then.
absl::Status ReadPreTokenizer(const Node& node, TokenizerDef* def, bool* byte_level);

// `def->kind` is known. Sets *byte_fallback when byte tokens decode to bytes.
absl::Status ReadDecoder(const Node& node, TokenizerDef* def, bool* byte_fallback);

// Fills prefix_ids and suffix_ids from the template for one text; the vocabulary is complete.
absl::Status ReadPostProcessor(const Node& node, TokenizerDef* def);

// GPT-2's split pattern, which a ByteLevel step with use_regex stands for.
std::string_view Gpt2Pattern();
// A step that cuts at `pattern` (Oniguruma) and keeps matches as pieces of their own.
absl::Status AddSplit(std::string_view pattern, std::string_view where, TokenizerDef* def);

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_TEXT_PIPELINE_H_
