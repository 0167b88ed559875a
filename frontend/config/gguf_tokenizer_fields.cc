// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One key after the other, typed, with the file and the key in every error.
#include "frontend/config/gguf_tokenizer_fields.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

std::vector<std::string> Copies(const std::vector<std::string_view>& views) {
  return std::vector<std::string>(views.begin(), views.end());
}

absl::Status ReadId(const CheckpointMetadata& metadata, const char* key,
                    std::optional<uint32_t>* id) {
  if (!metadata.Has(key)) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(const int64_t value, metadata.Int(key));
  constexpr int64_t kNone = std::numeric_limits<uint32_t>::max();
  if (value == -1 || value == kNone) return absl::OkStatus();
  if (value < 0 || value > kNone) {
    return InputError(absl::StrCat(metadata.where(), ": key ", key), "token id",
                      absl::StrCat("0 to ", kNone - 1), value);
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

absl::Status ReadText(const CheckpointMetadata& metadata, const std::string& key,
                      std::string* text) {
  if (!metadata.Has(key)) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(const std::string_view view, metadata.String(key));
  *text = std::string(view);
  return absl::OkStatus();
}

absl::Status ReadLists(const CheckpointMetadata& metadata, tokenizer::GgufTokenizerFields* fields) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string_view> tokens,
                          metadata.Strings("tokenizer.ggml.tokens"));
  fields->tokens = Copies(tokens);
  if (metadata.Has("tokenizer.ggml.scores")) {
    FATHOM_ASSIGN_OR_RETURN(fields->scores, metadata.Floats("tokenizer.ggml.scores"));
  }
  if (metadata.Has("tokenizer.ggml.token_type")) {
    FATHOM_ASSIGN_OR_RETURN(const std::vector<int64_t> types,
                            metadata.Ints("tokenizer.ggml.token_type"));
    for (const int64_t type : types) {
      if (type < 0 || type > 255) {
        return InputError(absl::StrCat(metadata.where(), ": key tokenizer.ggml.token_type"),
                          "token type", "a small number", type);
      }
      fields->token_types.push_back(static_cast<int32_t>(type));
    }
  }
  if (metadata.Has("tokenizer.ggml.merges")) {
    FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string_view> merges,
                            metadata.Strings("tokenizer.ggml.merges"));
    fields->merges = Copies(merges);
  }
  return absl::OkStatus();
}

absl::Status ReadTemplates(const CheckpointMetadata& metadata,
                           tokenizer::GgufTokenizerFields* fields) {
  FATHOM_RETURN_IF_ERROR(ReadText(metadata, "tokenizer.chat_template", &fields->chat_template));
  if (!metadata.Has("tokenizer.chat_templates")) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string_view> names,
                          metadata.Strings("tokenizer.chat_templates"));
  for (const std::string_view name : names) {
    const std::string key = "tokenizer.chat_template." + std::string(name);
    FATHOM_ASSIGN_OR_RETURN(const std::string_view source, metadata.String(key));
    fields->named_templates.push_back({std::string(name), std::string(source)});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<tokenizer::GgufTokenizerFields> ReadGgufTokenizer(const Checkpoint& gguf) {
  if (gguf.kind() != CheckpointKind::kGguf) {
    return InputError(gguf.name(), "kind of checkpoint", "a GGUF file", "another kind");
  }
  const CheckpointMetadata& metadata = gguf.metadata();
  tokenizer::GgufTokenizerFields fields;
  fields.file = gguf.name();
  FATHOM_ASSIGN_OR_RETURN(const std::string_view model, metadata.String("tokenizer.ggml.model"));
  fields.model = std::string(model);
  FATHOM_RETURN_IF_ERROR(ReadText(metadata, "tokenizer.ggml.pre", &fields.pre));
  FATHOM_RETURN_IF_ERROR(ReadLists(metadata, &fields));
  FATHOM_RETURN_IF_ERROR(ReadTemplates(metadata, &fields));
  struct Id {
    const char* key;
    std::optional<uint32_t>* id;
  };
  for (const Id& entry : {Id{"tokenizer.ggml.bos_token_id", &fields.bos_id},
                          Id{"tokenizer.ggml.eos_token_id", &fields.eos_id},
                          Id{"tokenizer.ggml.eot_token_id", &fields.eot_id},
                          Id{"tokenizer.ggml.eom_token_id", &fields.eom_id},
                          Id{"tokenizer.ggml.unknown_token_id", &fields.unknown_id},
                          Id{"tokenizer.ggml.padding_token_id", &fields.pad_id}}) {
    FATHOM_RETURN_IF_ERROR(ReadId(metadata, entry.key, entry.id));
  }
  FATHOM_RETURN_IF_ERROR(ReadFlag(metadata, "tokenizer.ggml.add_bos_token", &fields.add_bos));
  FATHOM_RETURN_IF_ERROR(ReadFlag(metadata, "tokenizer.ggml.add_eos_token", &fields.add_eos));
  FATHOM_RETURN_IF_ERROR(
      ReadFlag(metadata, "tokenizer.ggml.add_space_prefix", &fields.add_space_prefix));
  return fields;
}

}  // namespace fathom
