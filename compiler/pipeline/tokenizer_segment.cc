// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds the tokenizer of a checkpoint.
#include "compiler/pipeline/tokenizer_segment.h"

#include <filesystem>
#include <utility>

#include "frontend/config/gguf_tokenizer_fields.h"
#include "frontend/tokenizer/gguf_tokenizer.h"
#include "frontend/tokenizer/read_tokenizer_json.h"
#include "frontend/tokenizer/serialize_tokenizer.h"
#include "frontend/tokenizer/tokenizer_def.h"
#include "runtime/base/status.h"

namespace fathom {

absl::StatusOr<std::vector<uint8_t>> TokenizerSegment(const OpenedModel& model, const std::string& path) {
  if (model.gguf) {
    FATHOM_ASSIGN_OR_RETURN(const tokenizer::GgufTokenizerFields fields, ReadGgufTokenizer(*model.gguf));
    FATHOM_ASSIGN_OR_RETURN(const tokenizer::TokenizerDef def, tokenizer::TokenizerFromGguf(fields));
    return tokenizer::SerializeTokenizer(def);
  }
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path dir = fs::is_directory(path, ignored) ? fs::path(path) : fs::path(path).parent_path();
  if (!fs::exists(dir / "tokenizer.json", ignored)) return std::vector<uint8_t>();
  FATHOM_ASSIGN_OR_RETURN(const tokenizer::TokenizerDef def, tokenizer::ReadTokenizerJson(dir.string()));
  return tokenizer::SerializeTokenizer(def);
}

}  // namespace fathom
