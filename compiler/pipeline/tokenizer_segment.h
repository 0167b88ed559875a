// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tokenizer of a checkpoint as the bytes of an artifact's tokenizer segment.
#ifndef FATHOM_COMPILER_PIPELINE_TOKENIZER_SEGMENT_H_
#define FATHOM_COMPILER_PIPELINE_TOKENIZER_SEGMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/config/open_model.h"

namespace fathom {

// From the GGUF file's keys, or from tokenizer.json beside the weights; empty when there is neither.
// `path` is what the user named. Errors: the tokenizer is there but cannot be read.
absl::StatusOr<std::vector<uint8_t>> TokenizerSegment(const OpenedModel& model, const std::string& path);

}  // namespace fathom

#endif  // FATHOM_COMPILER_PIPELINE_TOKENIZER_SEGMENT_H_
