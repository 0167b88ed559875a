// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Copies the tokenizer's keys out of a GGUF file and checks that they fit together.
#include "frontend/weights/gguf_tokenizer.h"

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

std::vector<std::string> Copies(const std::vector<std::string_view>& views) {
  return std::vector<std::string>(views.begin(), views.end());
}

absl::Status CheckCount(const CheckpointMetadata& metadata, const char* key, size_t found,
                        size_t tokens) {
  if (found == tokens) return absl::OkStatus();
  return InputError(absl::StrCat(metadata.where(), ": key ", key), "array length",
                    absl::StrCat(tokens, " (as many as tokenizer.ggml.tokens)"), found);
}

absl::Status ReadId(const CheckpointMetadata& metadata, const char* key, size_t tokens,
                    std::optional<uint32_t>* id) {
  if (!metadata.Has(key)) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(const int64_t value, metadata.Int(key));
  if (value == -1 || value == 0xffffffff) return absl::OkStatus();  // "none" in some files
  if (value < 0 || static_cast<uint64_t>(value) >= tokens) {
    return InputError(absl::StrCat(metadata.where(), ": key ", key), "token id",
                      absl::StrCat("0 to ", tokens - 1), value);
  }
  *id = static_cast<uint32_t>(value);
  return absl::OkStatus();
}

absl::Status ReadFlag(const CheckpointMetadata& metadata, const char* key,
                      std::optional<bool>* flag) {
  if (!metadata.Has(key)) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(*flag, metadata.Bool(key));
  return absl::OkStatus();
}

absl::Status ReadText(const CheckpointMetadata& metadata, const char* key, std::string* text) {
  if (!metadata.Has(key)) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(const std::string_view view, metadata.String(key));
  *text = std::string(view);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufTokenizer> ReadGgufTokenizer(const Checkpoint& checkpoint) {
  if (checkpoint.kind() != CheckpointKind::kGguf) {
    return InputError(checkpoint.name(), "kind of checkpoint", "a GGUF file", "another kind");
  }
  const CheckpointMetadata& metadata = checkpoint.metadata();
  GgufTokenizer fields;
  FATHOM_ASSIGN_OR_RETURN(const std::string_view model, metadata.String("tokenizer.ggml.model"));
  fields.model = std::string(model);
  FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string_view> tokens,
                          metadata.Strings("tokenizer.ggml.tokens"));
  const size_t count = tokens.size();
  if (count == 0 || count > uint64_t{1} << 31) {
    return InputError(absl::StrCat(metadata.where(), ": key tokenizer.ggml.tokens"),
                      "array length", "1 to 2^31", count);
  }
  fields.tokens = Copies(tokens);
  FATHOM_RETURN_IF_ERROR(ReadText(metadata, "tokenizer.ggml.pre", &fields.pre));
  FATHOM_RETURN_IF_ERROR(ReadText(metadata, "tokenizer.chat_template", &fields.chat_template));
  if (metadata.Has("tokenizer.ggml.scores")) {
    FATHOM_ASSIGN_OR_RETURN(fields.scores, metadata.Floats("tokenizer.ggml.scores"));
    FATHOM_RETURN_IF_ERROR(
        CheckCount(metadata, "tokenizer.ggml.scores", fields.scores.size(), count));
  }
  if (metadata.Has("tokenizer.ggml.token_type")) {
    FATHOM_ASSIGN_OR_RETURN(const std::vector<int64_t> types,
                            metadata.Ints("tokenizer.ggml.token_type"));
    FATHOM_RETURN_IF_ERROR(CheckCount(metadata, "tokenizer.ggml.token_type", types.size(), count));
    for (const int64_t type : types) {
      if (type < 0 || type > 6) {
        return InputError(absl::StrCat(metadata.where(), ": key tokenizer.ggml.token_type"),
                          "token type", "0 to 6", type);
      }
      fields.token_types.push_back(static_cast<int32_t>(type));
    }
  }
  if (metadata.Has("tokenizer.ggml.merges")) {
    FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string_view> merges,
                            metadata.Strings("tokenizer.ggml.merges"));
    fields.merges = Copies(merges);
  }
  struct Id {
    const char* key;
    std::optional<uint32_t>* id;
  };
  for (const Id& entry : {Id{"tokenizer.ggml.bos_token_id", &fields.bos_id},
                          Id{"tokenizer.ggml.eos_token_id", &fields.eos_id},
                          Id{"tokenizer.ggml.eot_token_id", &fields.eot_id},
                          Id{"tokenizer.ggml.unknown_token_id", &fields.unknown_id},
                          Id{"tokenizer.ggml.padding_token_id", &fields.padding_id}}) {
    FATHOM_RETURN_IF_ERROR(ReadId(metadata, entry.key, count, entry.id));
  }
  FATHOM_RETURN_IF_ERROR(ReadFlag(metadata, "tokenizer.ggml.add_bos_token", &fields.add_bos));
  FATHOM_RETURN_IF_ERROR(ReadFlag(metadata, "tokenizer.ggml.add_eos_token", &fields.add_eos));
  FATHOM_RETURN_IF_ERROR(
      ReadFlag(metadata, "tokenizer.ggml.add_space_prefix", &fields.add_space_prefix));
  return fields;
}

}  // namespace fathom
