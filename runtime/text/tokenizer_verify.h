// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The checks that a tokenizer segment passes before anything reads it.
#ifndef FATHOM_RUNTIME_TEXT_TOKENIZER_VERIFY_H_
#define FATHOM_RUNTIME_TEXT_TOKENIZER_VERIFY_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/schema/tokenizer_generated.h"

namespace fathom::text {

inline constexpr uint32_t kMaxTokens = 1u << 22;
inline constexpr uint32_t kMaxAddedTokenBytes = 1024;

// The root of `segment` after the FlatBuffers verifier and our own: every id below the vocabulary's
// size, token ends ascending and summing up, lengths of merges right, enums known, scores numbers,
// texts UTF-8. Patterns are checked where they are compiled. `segment` must be aligned to 8 bytes.
absl::StatusOr<const schema::Tokenizer*> VerifyTokenizer(absl::Span<const uint8_t> segment);

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_TOKENIZER_VERIFY_H_
