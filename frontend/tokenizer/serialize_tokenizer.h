// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes a tokenizer in the compiled form that the runtime maps.
#ifndef FATHOM_FRONTEND_TOKENIZER_SERIALIZE_TOKENIZER_H_
#define FATHOM_FRONTEND_TOKENIZER_SERIALIZE_TOKENIZER_H_

#include <cstdint>
#include <vector>

#include "frontend/tokenizer/tokenizer_def.h"

namespace fathom::tokenizer {

// The payload of the artifact's tokenizer segment. Equal definitions give equal bytes.
std::vector<uint8_t> SerializeTokenizer(const TokenizerDef& def);

}  // namespace fathom::tokenizer

#endif  // FATHOM_FRONTEND_TOKENIZER_SERIALIZE_TOKENIZER_H_
