// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of names, and the view that undoes what a GGUF conversion does to some tensors.
#include "frontend/config/gguf_names.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "frontend/config/expected_tensors.h"
#include "frontend/weights/json.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

struct NamePair {
  const char* published;
  const char* gguf;
};

constexpr NamePair kModelNames[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

// Inside a layer, without ".weight" and ".bias".
constexpr NamePair kLayerNames[] = {
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"self_attn.kv_b_proj", "attn_kv_b"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
};

constexpr NamePair kExpertNames[] = {
    {"gate_proj", "ffn_gate"}, {"up_proj", "ffn_up"}, {"down_proj", "ffn_down"},
    {"w1", "ffn_gate"},        {"w3", "ffn_up"},      {"w2", "ffn_down"},
};

// A published name taken apart: "model.layers.3.mlp.experts.17.up_proj.weight" is layer 3, module
// "mlp.experts.17.up_proj", expert 17, part "up_proj", kind "weight".
struct ParsedName {
  int64_t layer = -1;
  std::string module;
  int64_t expert = -1;
  std::string part;
  std::string kind;
};

std::optional<ParsedName> ParseName(const std::string& published) {
  constexpr std::string_view kPrefix = "model.layers.";
  const size_t kind = published.rfind('.');
  if (!published.starts_with(kPrefix) || kind == published.npos) return std::nullopt;
  const size_t dot = published.find('.', kPrefix.size());
  if (dot == published.npos || dot >= kind) return std::nullopt;
  ParsedName name;
  if (!absl::SimpleAtoi(published.substr(kPrefix.size(), dot - kPrefix.size()), &name.layer)) {
    return std::nullopt;
  }
  name.module = published.substr(dot + 1, kind - dot - 1);
  name.kind = published.substr(kind + 1);
  constexpr std::string_view kExperts = ".experts.";
  const size_t experts = name.module.find(kExperts);
  if (experts != std::string::npos) {
    const std::string rest = name.module.substr(experts + kExperts.size());
    const size_t end = rest.find('.');
    if (end == rest.npos || !absl::SimpleAtoi(rest.substr(0, end), &name.expert)) {
      return std::nullopt;
    }
    name.part = rest.substr(end + 1);
  }
  return name;
}

// How a published tensor is made of the file's.
struct Source {
  enum class Kind { kDirect, kPermutedHeads, kSplitKv } kind = Kind::kDirect;
  const TensorInfo* first = nullptr;   // the tensor, the stack, or attn_k_b
  const TensorInfo* second = nullptr;  // attn_v_b
};

class GgufView : public Checkpoint {
 public:
  GgufView(std::unique_ptr<Checkpoint> gguf, const ModelConfig& config)
      : Checkpoint(CheckpointKind::kGguf, gguf->name()), base_(std::move(gguf)), c_(config) {
    files_.assign(base_->files().begin(), base_->files().end());
    metadata_ = base_->metadata();
  }

  absl::Status Build(std::vector<std::string>* notes) {
    std::vector<TensorInfo> tensors;
    for (const TensorSpec& spec : ExpectedTensors(c_)) {
      FATHOM_ASSIGN_OR_RETURN(TensorInfo info, Resolve(spec));
      tensors.push_back(std::move(info));
    }
    FATHOM_RETURN_IF_ERROR(CheckExtras(notes));
    return SetTensors(std::move(tensors));
  }

  absl::Span<const uint8_t> data(const TensorInfo& tensor) const override {
    return tensor.verbatim ? base_->data(tensor) : absl::Span<const uint8_t>();
  }
  void WillNeed(const TensorInfo& tensor) const override {
    ForEachPart(tensor, [this](const TensorInfo& part) { base_->WillNeed(part); });
  }
  void DropPages(const TensorInfo& tensor) const override {
    ForEachPart(tensor, [this](const TensorInfo& part) { base_->DropPages(part); });
  }

 protected:
  absl::Status DoReadRows(const TensorInfo& tensor, uint64_t row_begin, uint64_t row_end,
                          float* out) const override {
    // A verbatim tensor, slices included, is a run of bytes: its own description reads it.
    if (tensor.verbatim) return base_->ReadRows(tensor, row_begin, row_end, out);
    const Source& source = sources_.at(tensor.name);
    if (source.kind == Source::Kind::kSplitKv) {
      return ReadSplitKv(source, row_begin, row_end, out);
    }
    // In head h of width d the file's row 2j + s is the published row s * d/2 + j. A bias is
    // permuted the same way, element by element.
    const uint64_t d = static_cast<uint64_t>(c_.head_dim);
    const uint64_t columns = tensor.columns();
    if (tensor.shape.size() == 1) {
      std::vector<float> stored(columns);
      FATHOM_RETURN_IF_ERROR(base_->ReadRows(*source.first, 0, 1, stored.data()));
      for (uint64_t i = 0; i < columns; ++i) out[i] = stored[StoredRow(i, d)];
      return absl::OkStatus();
    }
    for (uint64_t row = row_begin; row < row_end; ++row, out += columns) {
      const uint64_t stored = StoredRow(row, d);
      FATHOM_RETURN_IF_ERROR(base_->ReadRows(*source.first, stored, stored + 1, out));
    }
    return absl::OkStatus();
  }

 private:
  static uint64_t StoredRow(uint64_t row, uint64_t d) {
    const uint64_t in_head = row % d;
    return row - in_head + 2 * (in_head % (d / 2)) + in_head / (d / 2);
  }

  template <typename F>
  void ForEachPart(const TensorInfo& tensor, F f) const {
    if (tensor.verbatim) return f(tensor);
    const Source& source = sources_.at(tensor.name);
    f(*source.first);
    if (source.second != nullptr) f(*source.second);
  }

  absl::Status Mismatch(const TensorInfo& found, const TensorSpec& spec,
                        const std::vector<uint64_t>& expected) const {
    return InputError(absl::StrCat(name(), ": tensor ", Quoted(found.name)),
                      absl::StrCat("shape (for ", spec.name, ")"), ShapeString(expected),
                      ShapeString(found.shape));
  }

  // A tensor of a layer that nothing reads would make results wrong; other extras are noted.
  absl::Status CheckExtras(std::vector<std::string>* notes) const {
    uint64_t behind = 0;
    for (const TensorInfo& tensor : base_->tensors()) {
      if (used_.contains(&tensor) || tensor.name == "rope_freqs.weight") continue;
      constexpr std::string_view kBlock = "blk.";
      int64_t layer = -1;
      if (!tensor.name.starts_with(kBlock) ||
          !absl::SimpleAtoi(tensor.name.substr(4, tensor.name.find('.', 4) - 4), &layer)) {
        if (notes != nullptr) {
          notes->push_back(absl::StrCat("tensor ", Quoted(tensor.name), " is not used"));
        }
      } else if (layer >= c_.num_hidden_layers && c_.num_nextn_predict_layers > 0) {
        ++behind;
      } else if (!IsRedundant(tensor.name)) {
        return UnsupportedError(absl::StrCat(name(), ": tensor ", Quoted(tensor.name)),
                                absl::StrCat("architecture ", ModelTypeName(c_.model_type),
                                             " does not use it, so results would be wrong"));
      }
    }
    if (behind > 0 && notes != nullptr) {
      notes->push_back(absl::StrCat("multi-token prediction: ", behind, " tensors behind layer ",
                                    c_.num_hidden_layers - 1, " are left out"));
    }
    return absl::OkStatus();
  }

  // Some files carry kv_b in both forms, or a table of rotary angles.
  static bool IsRedundant(const std::string& name) {
    for (const char* part : {".attn_kv_b.", ".attn_k_b.", ".attn_v_b.", ".attn_rot_embd."}) {
      if (name.find(part) != name.npos) return true;
    }
    return false;
  }

  absl::StatusOr<TensorInfo> Resolve(const TensorSpec& spec) {
    const std::vector<std::string> candidates = GgufTensorNames(spec.name);
    for (const std::string& candidate : candidates) {
      const TensorInfo* found = base_->Find(candidate);
      if (found == nullptr) continue;
      used_.insert(found);
      return Describe(spec, *found);
    }
    if (spec.name.ends_with("self_attn.kv_b_proj.weight")) {
      const std::string block = candidates[0].substr(0, candidates[0].find("attn_kv_b"));
      const TensorInfo* keys = base_->Find(block + "attn_k_b.weight");
      const TensorInfo* values = base_->Find(block + "attn_v_b.weight");
      if (keys != nullptr && values != nullptr) return DescribeSplitKv(spec, *keys, *values);
    }
    return InputError(name(), absl::StrCat("tensor ", Quoted(spec.name)),
                      absl::StrCat(absl::StrJoin(candidates, " or "), " ", ShapeString(spec.shape)),
                      "no such tensor");
  }

  absl::StatusOr<TensorInfo> Describe(const TensorSpec& spec, const TensorInfo& found) {
    TensorInfo info = found;
    info.name = spec.name;
    info.shape = spec.shape;
    const std::optional<ParsedName> parsed = ParseName(spec.name);
    if (parsed && parsed->expert >= 0 && found.shape.size() == 3) {
      std::vector<uint64_t> stack = {static_cast<uint64_t>(c_.n_routed_experts)};
      stack.insert(stack.end(), spec.shape.begin(), spec.shape.end());
      if (found.shape != stack) return Mismatch(found, spec, stack);
      info.bytes = found.bytes / stack[0];
      info.offset += info.bytes * static_cast<uint64_t>(parsed->expert);
      return info;
    }
    if (found.shape != spec.shape) return Mismatch(found, spec, spec.shape);
    const bool llama = c_.model_type == ModelType::kLlama || c_.model_type == ModelType::kMixtral;
    if (llama && parsed &&
        (parsed->module == "self_attn.q_proj" || parsed->module == "self_attn.k_proj")) {
      info.verbatim = false;
      sources_[spec.name] = {.kind = Source::Kind::kPermutedHeads, .first = &found};
    }
    return info;
  }

  absl::StatusOr<TensorInfo> DescribeSplitKv(const TensorSpec& spec, const TensorInfo& keys,
                                             const TensorInfo& values) {
    const uint64_t heads = static_cast<uint64_t>(c_.num_attention_heads);
    const uint64_t rank = static_cast<uint64_t>(c_.kv_lora_rank);
    const std::vector<uint64_t> key_shape = {heads, rank,
                                             static_cast<uint64_t>(c_.qk_nope_head_dim)};
    const std::vector<uint64_t> value_shape = {heads, static_cast<uint64_t>(c_.v_head_dim), rank};
    if (keys.shape != key_shape) return Mismatch(keys, spec, key_shape);
    if (values.shape != value_shape) return Mismatch(values, spec, value_shape);
    TensorInfo info = keys;
    info.name = spec.name;
    info.shape = spec.shape;
    info.bytes = keys.bytes + values.bytes;
    info.verbatim = false;
    sources_[spec.name] = {.kind = Source::Kind::kSplitKv, .first = &keys, .second = &values};
    return info;
  }

  // Rows of a head: its qk_nope_head_dim columns of attn_k_b, then its rows of attn_v_b.
  absl::Status ReadSplitKv(const Source& source, uint64_t row_begin, uint64_t row_end,
                           float* out) const {
    const uint64_t nope = static_cast<uint64_t>(c_.qk_nope_head_dim);
    const uint64_t width = static_cast<uint64_t>(c_.v_head_dim);
    const uint64_t rank = static_cast<uint64_t>(c_.kv_lora_rank);
    std::vector<float> keys;  // (kv_lora_rank, qk_nope_head_dim) of one head
    uint64_t loaded = ~uint64_t{0};
    for (uint64_t row = row_begin; row < row_end; ++row, out += rank) {
      const uint64_t head = row / (nope + width);
      const uint64_t in_head = row % (nope + width);
      if (in_head >= nope) {
        const uint64_t value = head * width + in_head - nope;
        FATHOM_RETURN_IF_ERROR(base_->ReadRows(*source.second, value, value + 1, out));
        continue;
      }
      if (head != loaded) {
        keys.resize(rank * nope);
        FATHOM_RETURN_IF_ERROR(
            base_->ReadRows(*source.first, head * rank, (head + 1) * rank, keys.data()));
        loaded = head;
      }
      for (uint64_t i = 0; i < rank; ++i) out[i] = keys[i * nope + in_head];
    }
    return absl::OkStatus();
  }

  std::unique_ptr<Checkpoint> base_;
  ModelConfig c_;
  std::unordered_map<std::string, Source> sources_;  // of tensors that are not verbatim
  std::unordered_set<const TensorInfo*> used_;       // of base_
};

}  // namespace

std::vector<std::string> GgufTensorNames(const std::string& published) {
  for (const NamePair& pair : kModelNames) {
    if (published == pair.published) return {pair.gguf};
  }
  const std::optional<ParsedName> name = ParseName(published);
  if (!name) return {};
  const std::string block = absl::StrCat("blk.", name->layer, ".");
  if (name->expert >= 0) {
    for (const NamePair& pair : kExpertNames) {
      if (name->part != pair.published) continue;
      return {absl::StrCat(block, pair.gguf, "_exps.", name->kind),
              absl::StrCat(block, pair.gguf, ".", name->expert, ".", name->kind)};
    }
    return {};
  }
  if (name->kind == "e_score_correction_bias") {
    return {block + "exp_probs_b.bias", block + "exp_probs_b"};
  }
  for (const NamePair& pair : kLayerNames) {
    if (name->module == pair.published) return {absl::StrCat(block, pair.gguf, ".", name->kind)};
  }
  return {};
}

absl::StatusOr<std::unique_ptr<Checkpoint>> WithPublishedNames(std::unique_ptr<Checkpoint> gguf,
                                                               const ModelConfig& config,
                                                               std::vector<std::string>* notes) {
  auto view = std::make_unique<GgufView>(std::move(gguf), config);
  FATHOM_RETURN_IF_ERROR(view->Build(notes));
  return view;
}

}  // namespace fathom
