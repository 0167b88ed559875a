// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A formula per kernel family. Numbers are doubles: products of sizes may pass 2^63.
#include "runtime/tools/kernel_cost.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "runtime/base/status.h"

namespace fathom::tools {
namespace {

constexpr double kF32Bytes = 4;
constexpr int64_t kMaxField = int64_t{1} << 40;

// The bytes of one activation record of `k` values (docs/spec/encodings.md), fillings left out.
double RecordBytes(const std::string& act, double k) {
  if (act == "bf16") return 2 * k;
  if (act == "i8") return 1.25 * std::ceil(k / 64) * 64;  // values, a scale and a bias per 32
  return kF32Bytes * k;
}

Unit UnitOf(const std::string& form) {
  return form == "i8" ? Unit::kInt8 : form == "bf16" ? Unit::kBf16 : Unit::kF32;
}

// Reads a kernel's config; the first field that is not as it must be becomes the error.
class Config {
 public:
  Config(const KernelUse& use, const nlohmann::json& json) : use_(use), json_(json) {}

  double Number(const char* field) {
    if (!json_.contains(field)) return Fail(field, "an integer", "none");
    return Number(field, 0);
  }
  double Number(const char* field, int64_t missing) {
    if (!json_.contains(field)) return static_cast<double>(missing);
    const nlohmann::json& value = json_[field];
    if (!value.is_number_integer()) return Fail(field, "an integer", value.type_name());
    const int64_t number = value.get<int64_t>();
    if (number < 0 || number > kMaxField)
      return Fail(field, "an integer in [0, 2^40]", std::to_string(number));
    return static_cast<double>(number);
  }
  // A size, which is at least 1.
  double Size(const char* field) {
    const double number = Number(field);
    return number < 1 ? Fail(field, "at least 1", "0") : number;
  }
  std::string Text(const char* field, const char* missing) {
    if (!json_.contains(field)) return missing;
    const nlohmann::json& value = json_[field];
    if (value.is_string()) return value.get<std::string>();
    Fail(field, "a string", value.type_name());
    return missing;
  }
  bool Flag(const char* field) {
    if (!json_.contains(field)) return false;
    const nlohmann::json& value = json_[field];
    if (value.is_boolean()) return value.get<bool>();
    Fail(field, "true or false", value.type_name());
    return false;
  }
  // The bytes of `rows` rows of n values in the form that `field` names; 0 for "none".
  double FormBytes(const char* field, double rows, double n) {
    const std::string form = Text(field, "none");
    return form == "none" ? 0 : rows * RecordBytes(form, n);
  }
  bool Has(const char* field) { return Text(field, "none") != "none"; }
  double KvBytes() { return Text("kv", "bf16") == "f32" ? 4 : 2; }

  const absl::Status& status() const { return status_; }

 private:
  double Fail(const char* field, const char* expected, const std::string& found) {
    if (status_.ok()) {
      status_ = InputError("kernel '" + use_.name + "'", absl::StrCat("config: ", field), expected,
                           found);
    }
    return 1;
  }

  const KernelUse& use_;
  const nlohmann::json& json_;
  absl::Status status_;
};

constexpr double kNormOps = 4;    // per value: square, sum, scale, gain
constexpr double kRotateOps = 3;  // two products and a sum

double Sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

KernelCost Linear(const KernelUse& use, Config& c) {
  const double n = c.Size("rows"), k = c.Size("cols"), batch = c.Number("batch", 1);
  const double rows = static_cast<double>(use.rows);
  const std::string act = c.Text("act", "f32"), epilogue = c.Text("epilogue", "store");
  const double splits = c.Number("splits", 0);
  KernelCost cost;
  cost.weight_bytes = Sum(use.tensors);
  // What is multiplied: records, or the sums of attention's splits, merged here.
  cost.other_bytes =
      rows * batch * (splits > 0 ? splits * kF32Bytes * (k + 16) : RecordBytes(act, k));
  cost.other_bytes += c.Has("out_act") ? c.FormBytes("out_act", rows, batch * n)
                                       : rows * batch * kF32Bytes * n;
  if (epilogue == "residual") cost.other_bytes += rows * batch * kF32Bytes * n;
  // Further outputs: records of heads' first columns, the norm of the input.
  if (c.Has("head_act"))
    cost.other_bytes += c.FormBytes("head_act", rows * c.Size("heads"), c.Size("head_cols"));
  cost.other_bytes += c.FormBytes("norm", rows, k);
  cost.ops = 2 * rows * batch * n * k * (epilogue == "swiglu" ? 2 : 1);
  cost.ops += rows * batch * splits * 2 * k + (c.Has("norm") ? rows * kNormOps * k : 0);
  cost.unit = UnitOf(act);
  return cost;
}

KernelCost Experts(const KernelUse& use, Config& c) {
  const double n = c.Size("rows"), k = c.Size("cols");
  const double all = c.Size("experts"), picked = c.Size("top_k");
  const double first = c.Number("first", 0), bank = c.Number("bank", static_cast<int64_t>(all));
  const double tokens = static_cast<double>(use.rows);
  const std::string act = c.Text("act", "f32");
  // A routed expert stays cold when no token picks it.
  const double shared = std::min({static_cast<double>(use.shared_experts), picked, all});
  const double routed = all - shared;
  const double chance = routed > 0 ? std::min(1.0, (picked - shared) / routed) : 0;
  // Of a bank: the shared experts are the last.
  const double own_shared = std::clamp(first + bank - routed, 0.0, std::min(shared, bank));
  const double own_routed = bank - own_shared;
  const double hit = own_shared + own_routed * (1 - std::pow(1 - chance, tokens));
  const double pairs = tokens * (own_shared + own_routed * chance);
  KernelCost cost;
  cost.weight_bytes = Sum(use.tensors) * hit / std::max(bank, 1.0);
  // A gathered row is read once, whatever number of experts want it.
  cost.other_bytes = (c.Flag("gather") ? std::min(tokens, pairs) : pairs) * RecordBytes(act, k) +
                     (c.Has("out_act") ? c.FormBytes("out_act", pairs, n) : pairs * kF32Bytes * n) +
                     4 * (2 * all + 2 + pairs);
  cost.ops = 2 * pairs * n * k * (c.Text("epilogue", "store") == "swiglu" ? 2 : 1);
  cost.unit = UnitOf(act);
  return cost;
}

KernelCost Norm(const KernelUse& use, Config& c, double tokens) {
  const double n = c.Size("n");
  const double rows =
      (c.Flag("gather") ? static_cast<double>(use.logit_rows) : tokens) * c.Number("rows_per_token", 1);
  KernelCost cost;
  cost.weight_bytes = Sum(use.tensors);
  cost.other_bytes = rows * kF32Bytes * n * (c.Flag("out_f32") ? 2 : 1) +
                     c.FormBytes("out_act", rows, n);
  cost.ops = rows * kNormOps * n;
  return cost;
}

// latent_append and kv_append: `width` values of a token become a cache row.
KernelCost Append(Config& c, double tokens, double width, double rotated, double normed) {
  KernelCost cost;
  cost.weight_bytes = kF32Bytes * normed;
  cost.cache_bytes = tokens * width * c.KvBytes();
  cost.other_bytes = tokens * kF32Bytes * (width + 2 * c.Number("dim", 0));  // and angles
  cost.ops = tokens * (kRotateOps * rotated + kNormOps * normed);
  if (c.Has("q_norm")) {  // the query's latent as well
    const double n = c.Size("q_n");
    cost.weight_bytes += kF32Bytes * n;
    cost.other_bytes += tokens * kF32Bytes * n + c.FormBytes("q_norm", tokens, n);
    cost.ops += tokens * kNormOps * n;
  }
  return cost;
}

// The absorbed form: a query meets latent rows, and the sum stays latent.
KernelCost LatentAttention(Config& c, const CallWork& work) {
  const double heads = c.Size("heads"), rank = c.Size("rank"), dim = c.Number("dim");
  const double tokens = static_cast<double>(work.all_tokens()), pairs = work.Visible(0);
  KernelCost cost;
  cost.cache_bytes = pairs * (rank + dim) * c.KvBytes();
  cost.other_bytes = tokens * heads * kF32Bytes *
                     ((rank + dim) + c.Number("splits", 1) * (rank + 16));
  cost.ops = pairs * heads * 2 * (2 * rank + dim);
  if (c.Flag("rotate")) cost.ops += tokens * heads * kRotateOps * dim;
  cost.unit = UnitOf(c.Text("kv", "bf16"));
  return cost;
}

KernelCost LatentAttentionExpanded(const KernelUse& use, Config& c, const CallWork& work) {
  const double heads = c.Size("heads"), rank = c.Size("rank"), dim = c.Number("dim");
  const double nope = c.Size("nope"), v = c.Size("v");
  const double tokens = static_cast<double>(work.all_tokens());
  const double pairs = work.Visible(0), rows = work.Rows(0);
  KernelCost cost;
  cost.weight_bytes = Sum(use.tensors);
  cost.cache_bytes = rows * (rank + dim) * c.KvBytes();
  cost.other_bytes = tokens * heads * kF32Bytes * (nope + dim + v);
  // Keys and values of every row, or queries and results of every token, through W_UK and W_UV.
  cost.ops = use.expands_latent
                 ? heads * 2 * (rows * rank * (nope + v) + pairs * (nope + dim + v))
                 : heads * 2 * (tokens * rank * (nope + v) + pairs * (2 * rank + dim));
  cost.unit = UnitOf(c.Text("kv", "bf16"));
  return cost;
}

// Grouped-query attention; `splits` 0: whole rows come out, not parts of sums.
KernelCost Attention(Config& c, const CallWork& work, bool prefill) {
  const double heads = c.Size("heads"), kv_heads = c.Size("kv_heads"), width = c.Size("head_dim");
  const int64_t window = static_cast<int64_t>(c.Number("window", 0));
  const double tokens = static_cast<double>(work.all_tokens()), pairs = work.Visible(window);
  KernelCost cost;
  cost.cache_bytes =
      (prefill ? work.Rows(window) : pairs) * 2 * kv_heads * width * c.KvBytes();
  const double out = prefill ? width : c.Number("splits", 1) * (width + 16);
  cost.other_bytes = tokens * heads * kF32Bytes * (width + out);
  cost.ops = pairs * heads * 4 * width;
  if (c.Flag("rotate")) cost.ops += tokens * heads * kRotateOps * c.Number("dim");
  cost.unit = UnitOf(c.Text("kv", "bf16"));
  return cost;
}

KernelCost AttentionCombine(Config& c, double tokens) {
  const double heads = c.Size("heads"), width = c.Size("width"), splits = c.Size("splits");
  const std::string act = c.Text("out_act", "none");
  KernelCost cost;
  cost.other_bytes =
      tokens * heads *
      (splits * kF32Bytes * (width + 16) + RecordBytes(act == "none" ? "f32" : act, width));
  cost.ops = tokens * heads * splits * 2 * width;
  return cost;
}

// Kernels that pass over rows of n values once: `arrays` of them move, `ops` operations per value.
KernelCost Elementwise(double rows, double n, double arrays, double ops) {
  KernelCost cost;
  cost.other_bytes = rows * n * arrays * kF32Bytes;
  cost.ops = rows * n * ops;
  return cost;
}

KernelCost Route(const KernelUse& use, Config& c, double tokens) {
  const double experts = c.Size("experts"), picked = c.Size("top_k") + c.Number("shared", 0);
  KernelCost cost = Elementwise(tokens, experts, 1, 2);
  cost.weight_bytes = Sum(use.tensors);
  cost.other_bytes += tokens * picked * 8;
  if (c.Flag("plan"))
    cost.other_bytes += 4 * (2 * (experts + c.Number("shared", 0)) + 2 + tokens * picked);
  return cost;
}

KernelCost CostOfFamily(const KernelUse& use, Config& c, const CallWork& work) {
  const double tokens = static_cast<double>(work.all_tokens());
  const std::string& family = use.family;
  if (family == "linear") return Linear(use, c);
  if (family == "experts") return Experts(use, c);
  if (family == "norm") return Norm(use, c, tokens);
  if (family == "latent_attention") return LatentAttention(c, work);
  if (family == "latent_attention_expanded") return LatentAttentionExpanded(use, c, work);
  if (family == "attention") return Attention(c, work, false);
  if (family == "attention_prefill") return Attention(c, work, true);
  if (family == "attention_combine") return AttentionCombine(c, tokens);
  if (family == "route") return Route(use, c, tokens);
  if (family == "add") return Elementwise(tokens, c.Size("n"), 3, 1);
  if (family == "swiglu") return Elementwise(tokens, c.Size("n"), 3, 5);
  if (family == "rope") return Elementwise(tokens * c.Size("heads"), c.Size("dim"), 2, kRotateOps);
  if (family == "combine") {
    const double picked = c.Size("top_k"), n = c.Size("n");
    KernelCost cost =
        Elementwise(tokens, n, picked + 2 + (c.Flag("shared") ? 1 : 0), 2 * picked);
    cost.weight_bytes = Sum(use.tensors);  // the gain of a norm behind it
    cost.other_bytes += c.FormBytes("norm", tokens, n);
    if (c.Has("norm")) cost.ops += tokens * kNormOps * n;
    return cost;
  }
  KernelCost cost;
  if (family == "embed") {
    // Of a part of the table, the tokens that it has.
    cost.weight_bytes = Sum(use.tensors) / c.Size("vocab") * tokens * use.share;
    cost.other_bytes = tokens * kF32Bytes * c.Size("hidden") * use.share;
  } else if (family == "encode") {
    const double n = c.Size("n"), rows = tokens * c.Number("groups", 1);
    cost.other_bytes = rows * (kF32Bytes * n + RecordBytes(c.Text("act", "i8"), n));
    cost.ops = rows * 3 * n;
  } else if (family == "latent_append") {
    const double rank = c.Size("rank"), dim = c.Number("dim");
    return Append(c, tokens, rank + dim, dim, rank);
  } else if (family == "kv_append") {
    const double heads = c.Size("kv_heads");
    return Append(c, tokens, 2 * heads * c.Size("head_dim"), heads * c.Number("dim", 0), 0);
  } else if (family == "route_plan") {
    cost.other_bytes = 4 * (2 * c.Size("experts") + 2 + 2 * tokens * c.Size("top_k"));
  } else {
    cost.weight_bytes = Sum(use.tensors);
    cost.known = false;
  }
  return cost;
}

}  // namespace

double CallWork::Visible(int64_t window) const {
  double sum = 0;
  if (window == 0) {
    sum = static_cast<double>(tokens) * static_cast<double>(depth) +
          static_cast<double>(tokens) * (static_cast<double>(tokens) + 1) / 2;
  } else {
    // The first tokens may see less than a window.
    const int64_t growing = std::clamp<int64_t>(window - depth, 0, tokens);
    sum = static_cast<double>(growing) * static_cast<double>(depth) +
          static_cast<double>(growing) * (static_cast<double>(growing) + 1) / 2 +
          static_cast<double>(tokens - growing) * static_cast<double>(window);
  }
  return static_cast<double>(sequences) * sum;
}

double CallWork::Rows(int64_t window) const {
  int64_t rows = depth + tokens;
  if (window != 0) rows = std::min(rows, tokens + window - 1);
  return static_cast<double>(sequences) * static_cast<double>(rows);
}

const char* UnitName(Unit unit) {
  switch (unit) {
    case Unit::kInt8:
      return "int8";
    case Unit::kBf16:
      return "bf16";
    case Unit::kF32:
      return "f32";
  }
  return "";
}

absl::StatusOr<KernelCost> CostOf(const KernelUse& use, const nlohmann::json& config,
                                  const CallWork& work) {
  if (!config.is_object()) {
    return InputError("kernel '" + use.name + "'", "config", "an object", config.type_name());
  }
  Config fields(use, config);
  const KernelCost cost = CostOfFamily(use, fields, work);
  FATHOM_RETURN_IF_ERROR(fields.status());
  return cost;
}

}  // namespace fathom::tools
