// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// config.json and safetensors to ModelConfig and float32 tensors.
#include "tests/oracle/checkpoint.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace fathom::oracle {
namespace {

using nlohmann::json;
using reference::Family;
using reference::ModelConfig;
using reference::RopeScaling;
using reference::TopkMethod;

constexpr int64_t kFp8Block = 128;
constexpr std::string_view kScaleSuffix = "_scale_inv";

// The value of a field that may be absent or null.
template <typename T>
T Get(const json& object, const char* field, T fallback) {
  const auto found = object.find(field);
  return found == object.end() || found->is_null() ? fallback : found->get<T>();
}

Family FamilyOf(const std::string& model_type) {
  static const std::map<std::string, Family> kFamilies = {{"deepseek_v2", Family::kDeepseekV2},
                                                          {"deepseek_v3", Family::kDeepseekV3},
                                                          {"llama", Family::kLlama},
                                                          {"qwen2", Family::kQwen2},
                                                          {"qwen3", Family::kQwen3},
                                                          {"qwen3_moe", Family::kQwen3Moe},
                                                          {"mixtral", Family::kMixtral},
                                                          {"olmoe", Family::kOlmoe}};
  const auto found = kFamilies.find(model_type);
  if (found == kFamilies.end()) throw std::runtime_error("model_type " + model_type);
  return found->second;
}

void ReadRope(const json& j, reference::RopeConfig* rope) {
  rope->theta = Get(j, "rope_theta", 10000.0);
  const json scaling = Get(j, "rope_scaling", json::object());
  if (scaling.empty()) return;
  const std::string type =
      Get<std::string>(scaling, "rope_type", Get<std::string>(scaling, "type", ""));
  if (type == "yarn") {
    rope->scaling = RopeScaling::kYarn;
  } else if (type == "llama3") {
    rope->scaling = RopeScaling::kLlama3;
  } else {
    throw std::runtime_error("rope_scaling type " + type);
  }
  rope->factor = scaling.at("factor").get<double>();
  rope->original_max_position_embeddings =
      scaling.at("original_max_position_embeddings").get<double>();
  rope->beta_fast = Get(scaling, "beta_fast", rope->beta_fast);
  rope->beta_slow = Get(scaling, "beta_slow", rope->beta_slow);
  rope->mscale = Get(scaling, "mscale", 0.0);
  rope->mscale_all_dim = Get(scaling, "mscale_all_dim", 0.0);
  rope->low_freq_factor = Get(scaling, "low_freq_factor", rope->low_freq_factor);
  rope->high_freq_factor = Get(scaling, "high_freq_factor", rope->high_freq_factor);
}

void ReadExperts(const json& j, ModelConfig* c) {
  c->num_experts = Get<int64_t>(j, "n_routed_experts", 0);
  c->num_experts = Get(j, "num_experts", Get(j, "num_local_experts", c->num_experts));
  if (c->num_experts == 0) return;
  c->num_experts_per_tok = j.at("num_experts_per_tok").get<int64_t>();
  c->moe_intermediate_size = Get(j, "moe_intermediate_size", c->intermediate_size);
  c->n_shared_experts = Get<int64_t>(j, "n_shared_experts", 0);
  c->first_k_dense_replace = Get<int64_t>(j, "first_k_dense_replace", 0);
  c->moe_layer_freq = Get<int64_t>(j, "moe_layer_freq", 1);
  c->n_group = Get<int64_t>(j, "n_group", 1);
  c->topk_group = Get<int64_t>(j, "topk_group", 1);
  c->norm_topk_prob = Get(j, "norm_topk_prob", false);
  c->routed_scaling_factor = Get(j, "routed_scaling_factor", 1.0);
  const std::string method = Get<std::string>(j, "topk_method", "greedy");
  if (c->family == Family::kDeepseekV3) {
    c->topk_method = TopkMethod::kNoauxTc;
  } else if (method == "group_limited_greedy") {
    c->topk_method = TopkMethod::kGroupLimitedGreedy;
  }
  // V2 never renormalises and Mixtral always does, whatever their configs say.
  if (c->family == Family::kDeepseekV2) c->norm_topk_prob = false;
  if (c->family == Family::kMixtral) c->norm_topk_prob = true;
}

float FromHalf(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const double mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024.0 + mantissa, exponent - 25);
  return static_cast<float>(bits & 0x8000 ? -magnitude : magnitude);
}

// E4M3 without infinities: bias 7, 0x7f and 0xff are NaN, largest 448.
float FromE4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const double mantissa = bits & 7;
  if ((bits & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8.0 + mantissa, exponent - 10);
  return static_cast<float>(bits & 0x80 ? -magnitude : magnitude);
}

template <typename Stored, typename Convert>
std::vector<float> Decode(const char* data, int64_t count, Convert convert) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, data + i * sizeof(Stored), sizeof(Stored));
    values[i] = convert(stored);
  }
  return values;
}

std::vector<float> DecodeAs(const std::string& dtype, const char* data, int64_t count) {
  if (dtype == "F32") return Decode<float>(data, count, [](float value) { return value; });
  if (dtype == "F16") return Decode<uint16_t>(data, count, FromHalf);
  if (dtype == "F8_E4M3") return Decode<uint8_t>(data, count, FromE4m3);
  if (dtype == "BF16") {
    return Decode<uint16_t>(data, count, [](uint16_t bits) {
      return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
    });
  }
  throw std::runtime_error("dtype " + dtype);
}

void ReadSafetensors(const std::filesystem::path& path, std::map<std::string, Tensor>* tensors) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  uint64_t header_size = 0;
  if (bytes.size() < sizeof(header_size)) throw std::runtime_error(path.string() + " is too short");
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  const json header = json::parse(bytes.substr(sizeof(header_size), header_size));
  const char* data = bytes.data() + sizeof(header_size) + header_size;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    Tensor tensor;
    tensor.shape = entry.at("shape").get<std::vector<int64_t>>();
    int64_t count = 1;
    for (const int64_t size : tensor.shape) count *= size;
    const auto begin = entry.at("data_offsets").at(0).get<int64_t>();
    tensor.values = DecodeAs(entry.at("dtype").get<std::string>(), data + begin, count);
    tensors->emplace(name, std::move(tensor));
  }
}

// W[i][j] = fp8[i][j] * scale[i / 128][j / 128]; the last block of a row or column may be partial.
void ApplyBlockScales(std::map<std::string, Tensor>* tensors) {
  for (auto it = tensors->begin(); it != tensors->end();) {
    if (!it->first.ends_with(kScaleSuffix)) {
      ++it;
      continue;
    }
    const Tensor& scales = it->second;
    Tensor& weight = tensors->at(it->first.substr(0, it->first.size() - kScaleSuffix.size()));
    const int64_t rows = weight.shape.at(0), columns = weight.shape.at(1);
    const int64_t scale_columns = (columns + kFp8Block - 1) / kFp8Block;
    if (scales.shape.at(1) != scale_columns) throw std::runtime_error(it->first + ": shape");
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        weight.values[i * columns + j] *=
            scales.values[i / kFp8Block * scale_columns + j / kFp8Block];
      }
    }
    it = tensors->erase(it);
  }
}

}  // namespace

reference::WeightLookup Checkpoint::Lookup() const {
  return [this](const std::string& name) -> const float* {
    const auto found = tensors.find(name);
    return found == tensors.end() ? nullptr : found->second.values.data();
  };
}

ModelConfig ReadConfig(const std::filesystem::path& config_json) {
  std::ifstream file(config_json);
  const json j = json::parse(file);
  ModelConfig c;
  c.family = FamilyOf(j.at("model_type").get<std::string>());
  c.vocab_size = j.at("vocab_size").get<int64_t>();
  c.hidden_size = j.at("hidden_size").get<int64_t>();
  c.num_hidden_layers = j.at("num_hidden_layers").get<int64_t>();
  c.num_attention_heads = j.at("num_attention_heads").get<int64_t>();
  c.num_key_value_heads = Get(j, "num_key_value_heads", c.num_attention_heads);
  c.head_dim = Get(j, "head_dim", c.hidden_size / c.num_attention_heads);
  c.rms_norm_eps = j.at("rms_norm_eps").get<double>();
  c.tie_word_embeddings = Get(j, "tie_word_embeddings", false);
  c.intermediate_size = j.at("intermediate_size").get<int64_t>();
  if (reference::IsLatent(c)) {
    c.q_lora_rank = Get<int64_t>(j, "q_lora_rank", 0);
    c.kv_lora_rank = j.at("kv_lora_rank").get<int64_t>();
    c.qk_nope_head_dim = j.at("qk_nope_head_dim").get<int64_t>();
    c.qk_rope_head_dim = j.at("qk_rope_head_dim").get<int64_t>();
    c.v_head_dim = j.at("v_head_dim").get<int64_t>();
    c.rope_interleave = Get(j, "rope_interleave", true);
  }
  ReadRope(j, &c.rope);
  ReadExperts(j, &c);
  return c;
}

Checkpoint ReadCheckpoint(const std::filesystem::path& folder) {
  Checkpoint checkpoint;
  checkpoint.config = ReadConfig(folder / "config.json");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") {
      ReadSafetensors(entry.path(), &checkpoint.tensors);
    }
  }
  ApplyBlockScales(&checkpoint.tensors);
  return checkpoint;
}

}  // namespace fathom::oracle
