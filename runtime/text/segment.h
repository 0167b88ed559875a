// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A stretch of text with its origin: what a chat template renders to and what the tokenizer
// encodes.
#ifndef FATHOM_RUNTIME_TEXT_SEGMENT_H_
#define FATHOM_RUNTIME_TEXT_SEGMENT_H_

#include <string>

namespace fathom::text {

// `control` text was written by the template's author and may hold control tokens ("<|im_end|>").
// Other text came from a user, a tool or a document: a control token spelled in it stays the
// letters it is spelled with.
struct TextSegment {
  std::string text;
  bool control = false;
  bool operator==(const TextSegment&) const = default;
};

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_SEGMENT_H_
