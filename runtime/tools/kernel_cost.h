// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What one dispatch of a kernel must move and compute: the roofline model of docs/spec/kernels.md.
#ifndef FATHOM_RUNTIME_TOOLS_KERNEL_COST_H_
#define FATHOM_RUNTIME_TOOLS_KERNEL_COST_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace fathom::tools {

// One call: `sequences` sequences with `tokens` new tokens each, behind `depth` older ones.
struct CallWork {
  int64_t sequences = 1;
  int64_t tokens = 1;
  int64_t depth = 0;

  int64_t all_tokens() const { return sequences * tokens; }  // T
  // Pairs of a token and a cache row that it sees: rows 0 .. p for the token at position p, of
  // which a window (0: none) keeps the last.
  double Visible(int64_t window) const;
  // Cache rows that at least one token sees.
  double Rows(int64_t window) const;
};

// The arithmetic that a product is made with.
enum class Unit { kInt8, kBf16, kF32 };
const char* UnitName(Unit unit);

struct KernelCost {
  double weight_bytes = 0;  // parameters
  double cache_bytes = 0;   // key-value cache
  double other_bytes = 0;   // activations, routing
  double ops = 0;           // a multiply-add counts two, any other operation one
  Unit unit = Unit::kF32;
  bool known = true;  // false: a family without a model here; only its weights are counted

  double bytes() const { return weight_bytes + cache_bytes + other_bytes; }
};

// A kernel as its artifact describes it.
struct KernelUse {
  std::string name = {};    // for errors
  std::string family = {};  // "linear"
  // Bytes bound of each tensor, in order of the bindings.
  std::vector<double> tensors = {};
  double share = 1;  // of what these tensors have, the others being bound elsewhere
  // Rows of the activations of a product: its first push constant. Other kernels work on T rows.
  int64_t rows = 1;
  int64_t logit_rows = 1;   // R
  int64_t shared_experts = 0;  // that every token takes, of a grouped product's experts
  bool expands_latent = true;  // latent_attention_expanded makes keys and values (CPUs do)
};

// Every byte that a kernel reads or writes counts once, as if it came from memory. Of grouped
// products, the experts that T tokens are expected to hit when each picks its own at random with
// equal chances. Errors: a field of `config` that the family needs is missing or out of range.
absl::StatusOr<KernelCost> CostOf(const KernelUse& use, const nlohmann::json& config,
                                  const CallWork& work);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_KERNEL_COST_H_
