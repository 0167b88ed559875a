// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A checkpoint folder's tokenizer files, each with what it alone knows.
#include "frontend/tokenizer/read_tokenizer_json.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "frontend/tokenizer/json_file.h"
#include "frontend/tokenizer/text_pipeline.h"
#include "frontend/tokenizer/vocabulary.h"
#include "runtime/base/status.h"

namespace fathom::tokenizer {
namespace {

using schema::TokenizerKind;

// A JSON file of the folder; null when it is not there.
absl::StatusOr<Json> ReadOptionalJson(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadTextFile(path));
  if (!text) return Json();
  return ParseJson(*text, path);
}

absl::Status ReadModel(const Node& model, VocabularyBuilder* vocabulary) {
  FATHOM_RETURN_IF_ERROR(model.ExpectObject());
  FATHOM_ASSIGN_OR_RETURN(const std::string type, model["type"].String("BPE"));
  if (type != "BPE")
    return UnsupportedError(model["type"].where(), "model " + type + " is not supported");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    FATHOM_ASSIGN_OR_RETURN(const std::string text, model[affix].String(""));
    if (!text.empty()) return UnsupportedError(model[affix].where(), "is not supported: " + text);
  }
  const Node vocab = model["vocab"];
  FATHOM_RETURN_IF_ERROR(vocab.ExpectObject());
  for (const auto& [spelling, id] : vocab.json().items()) {
    FATHOM_ASSIGN_OR_RETURN(const uint32_t number,
                            Node(id, vocab.where() + "." + spelling).RequiredId());
    FATHOM_RETURN_IF_ERROR(vocabulary->AddToken(number, spelling));
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const Node& merges, VocabularyBuilder* vocabulary) {
  FATHOM_RETURN_IF_ERROR(merges.ExpectArray());
  for (size_t i = 0; i < merges.json().size(); ++i) {
    const Json& merge = merges.json()[i];
    std::string left, right;
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space == 0 || space == std::string::npos || space + 1 == text.size() ||
          text.find(' ', space + 1) != std::string::npos) {
        return merges.At(i).TypeError("two tokens with a space between");
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      left = merge[0].get<std::string>();
      right = merge[1].get<std::string>();
    } else {
      return merges.At(i).TypeError("two tokens");
    }
    FATHOM_RETURN_IF_ERROR(vocabulary->AddMerge(left, right, i));
  }
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const Node& list, VocabularyBuilder* vocabulary) {
  if (list.IsNull()) return absl::OkStatus();
  FATHOM_RETURN_IF_ERROR(list.ExpectArray());
  for (size_t i = 0; i < list.json().size(); ++i) {
    const Node node = list.At(i);
    FATHOM_RETURN_IF_ERROR(node.ExpectObject());
    TokenizerDef::Added added;
    FATHOM_ASSIGN_OR_RETURN(added.id, node["id"].RequiredId());
    FATHOM_ASSIGN_OR_RETURN(added.content, node["content"].RequiredString());
    FATHOM_ASSIGN_OR_RETURN(added.special, node["special"].Bool(false));
    FATHOM_ASSIGN_OR_RETURN(added.left_strip, node["lstrip"].Bool(false));
    FATHOM_ASSIGN_OR_RETURN(added.right_strip, node["rstrip"].Bool(false));
    FATHOM_ASSIGN_OR_RETURN(added.single_word, node["single_word"].Bool(false));
    FATHOM_ASSIGN_OR_RETURN(added.normalized, node["normalized"].Bool(!added.special));
    added.control = added.special || LooksLikeControl(added.content);
    FATHOM_RETURN_IF_ERROR(vocabulary->AddAdded(std::move(added)));
  }
  return absl::OkStatus();
}

// "bos_token": "<s>" or {"content": "<s>", ...}; none when absent or null.
absl::StatusOr<std::optional<std::string>> TokenContent(const Node& node) {
  if (node.IsNull()) return std::optional<std::string>();
  FATHOM_ASSIGN_OR_RETURN(std::string content, node.json().is_object()
                                                   ? node["content"].RequiredString()
                                                   : node.RequiredString());
  return std::optional<std::string>(std::move(content));
}

class SpecialTokens {
 public:
  SpecialTokens(const Node& config, const Node& map, const VocabularyBuilder& vocabulary)
      : config_(config), map_(map), vocabulary_(vocabulary) {}

  // The id of config["bos_token"] and the like, -1 when there is none.
  absl::StatusOr<int32_t> Id(const char* name) const {
    for (const Node* file : {&config_, &map_}) {
      const Node node = (*file)[name];
      FATHOM_ASSIGN_OR_RETURN(const std::optional<std::string> content, TokenContent(node));
      if (!content) continue;
      const int32_t id = vocabulary_.Find(*content);
      if (id < 0) return InputError(node.where(), "names a token that does not exist: " + *content);
      return id;
    }
    return -1;
  }

 private:
  const Node& config_;
  const Node& map_;
  const VocabularyBuilder& vocabulary_;
};

// The fast tokenizers of these classes ignore post_processor and build their own from two flags.
bool BuildsOwnTemplate(std::string_view tokenizer_class) {
  for (const std::string_view name : {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer"}) {
    if (tokenizer_class == name || tokenizer_class == std::string(name) + "Fast") return true;
  }
  return false;
}

absl::Status ApplyBosEosFlags(const Node& config, TokenizerDef* def) {
  FATHOM_ASSIGN_OR_RETURN(const std::string name, config["tokenizer_class"].String(""));
  if (!BuildsOwnTemplate(name)) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(const bool add_bos, config["add_bos_token"].Bool(true));
  FATHOM_ASSIGN_OR_RETURN(const bool add_eos, config["add_eos_token"].Bool(false));
  def->prefix_ids.clear();
  def->suffix_ids.clear();
  if (add_bos && def->bos_id >= 0) def->prefix_ids.push_back(static_cast<uint32_t>(def->bos_id));
  if (add_eos && !def->eos_ids.empty()) def->suffix_ids.push_back(def->eos_ids[0]);
  return absl::OkStatus();
}

// eos_token_id of generation_config.json or config.json: a number or a list.
absl::Status AddEosIds(const Node& node, TokenizerDef* def) {
  if (node.IsNull()) return absl::OkStatus();
  const size_t count = node.json().is_array() ? node.json().size() : 1;
  for (size_t i = 0; i < count; ++i) {
    const Node item = node.json().is_array() ? node.At(i) : node;
    FATHOM_ASSIGN_OR_RETURN(const uint32_t id, item.RequiredId());
    if (id >= def->tokens.size()) {
      return item.TypeError("an id below " + std::to_string(def->tokens.size()));
    }
    if (std::find(def->eos_ids.begin(), def->eos_ids.end(), id) == def->eos_ids.end()) {
      def->eos_ids.push_back(id);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTemplates(const std::string& dir, const Node& config, TokenizerDef* def) {
  std::map<std::string, std::string> found;
  const Node node = config["chat_template"];
  if (node.json().is_array()) {
    for (size_t i = 0; i < node.json().size(); ++i) {
      FATHOM_ASSIGN_OR_RETURN(std::string name, node.At(i)["name"].RequiredString());
      FATHOM_ASSIGN_OR_RETURN(found[name], node.At(i)["template"].RequiredString());
    }
  } else if (!node.IsNull()) {
    FATHOM_ASSIGN_OR_RETURN(found["default"], node.RequiredString());
  }
  // The newer layout: files of their own, which win.
  FATHOM_ASSIGN_OR_RETURN(const std::optional<std::string> file,
                          ReadTextFile(dir + "/chat_template.jinja"));
  if (file) found["default"] = *file;
  // Stepped by hand: the range-for of a directory throws.
  std::error_code error;
  std::filesystem::directory_iterator entry(dir + "/additional_chat_templates", error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::filesystem::path path = entry->path();
    if (path.extension() != ".jinja") continue;
    FATHOM_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadTextFile(path.string()));
    if (text) found[path.stem().string()] = *text;
  }
  if (const auto it = found.find("default"); it != found.end()) {
    def->chat_templates.push_back({it->first, it->second});
    found.erase(it);
  }
  for (auto& [name, source] : found) def->chat_templates.push_back({name, source});
  return absl::OkStatus();
}

absl::Status ReadConfigFiles(const std::string& dir, const VocabularyBuilder& vocabulary,
                             TokenizerDef* def) {
  const std::string config_path = dir + "/tokenizer_config.json";
  const std::string map_path = dir + "/special_tokens_map.json";
  FATHOM_ASSIGN_OR_RETURN(const Json config_json, ReadOptionalJson(config_path));
  FATHOM_ASSIGN_OR_RETURN(const Json map_json, ReadOptionalJson(map_path));
  const Node config(config_json, config_path), map(map_json, map_path);
  const SpecialTokens special(config, map, vocabulary);
  FATHOM_ASSIGN_OR_RETURN(def->bos_id, special.Id("bos_token"));
  FATHOM_ASSIGN_OR_RETURN(def->pad_id, special.Id("pad_token"));
  FATHOM_ASSIGN_OR_RETURN(const int32_t eos, special.Id("eos_token"));
  if (eos >= 0) def->eos_ids.push_back(static_cast<uint32_t>(eos));

  const std::string generation_path = dir + "/generation_config.json";
  const std::string model_path = dir + "/config.json";
  FATHOM_ASSIGN_OR_RETURN(const Json generation_json, ReadOptionalJson(generation_path));
  FATHOM_ASSIGN_OR_RETURN(const Json model_json, ReadOptionalJson(model_path));
  const Node generation(generation_json, generation_path), model(model_json, model_path);
  FATHOM_RETURN_IF_ERROR(AddEosIds(generation["eos_token_id"], def));
  if (def->eos_ids.empty()) FATHOM_RETURN_IF_ERROR(AddEosIds(model["eos_token_id"], def));
  FATHOM_RETURN_IF_ERROR(ApplyBosEosFlags(config, def));
  return ReadTemplates(dir, config, def);
}

}  // namespace

absl::StatusOr<TokenizerDef> ReadTokenizerJson(const std::string& dir) {
  const std::string path = dir + "/tokenizer.json";
  FATHOM_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadTextFile(path));
  if (!text) return absl::NotFoundError(path + ": no such file");
  FATHOM_ASSIGN_OR_RETURN(const Json json, ParseJson(*text, path));
  const Node root(json, path);
  FATHOM_RETURN_IF_ERROR(root.ExpectObject());

  TokenizerDef def;
  const Node model = root["model"];
  bool byte_level = false, decodes_bytes = false;
  FATHOM_RETURN_IF_ERROR(ReadNormalizer(root["normalizer"], &def));
  FATHOM_RETURN_IF_ERROR(ReadPreTokenizer(root["pre_tokenizer"], &def, &byte_level));
  def.kind = byte_level ? TokenizerKind::byte_level_bpe : TokenizerKind::character_bpe;
  FATHOM_RETURN_IF_ERROR(ReadDecoder(root["decoder"], &def, &decodes_bytes));
  FATHOM_ASSIGN_OR_RETURN(def.byte_fallback, model["byte_fallback"].Bool(false));
  FATHOM_ASSIGN_OR_RETURN(def.fuse_unknown, model["fuse_unk"].Bool(false));
  FATHOM_ASSIGN_OR_RETURN(def.ignore_merges, model["ignore_merges"].Bool(false));

  VocabularyBuilder vocabulary(&def, model.where());
  FATHOM_RETURN_IF_ERROR(ReadModel(model, &vocabulary));
  FATHOM_RETURN_IF_ERROR(ReadMerges(model["merges"], &vocabulary));
  if (!byte_level && (def.byte_fallback || decodes_bytes)) vocabulary.MarkByteTokens();
  FATHOM_ASSIGN_OR_RETURN(const std::string unknown, model["unk_token"].String(""));
  if (!unknown.empty()) {
    def.unknown_id = vocabulary.Find(unknown);
    if (def.unknown_id < 0) {
      return InputError(model["unk_token"].where(),
                        "names a token that does not exist: " + unknown);
    }
  }
  FATHOM_RETURN_IF_ERROR(ReadAddedTokens(root["added_tokens"], &vocabulary));
  if (def.tokens.empty()) return InputError(model["vocab"].where(), "has no tokens");
  FATHOM_RETURN_IF_ERROR(ReadPostProcessor(root["post_processor"], &def));
  FATHOM_RETURN_IF_ERROR(ReadConfigFiles(dir, vocabulary, &def));
  vocabulary.Finish();
  return def;
}

}  // namespace fathom::tokenizer
