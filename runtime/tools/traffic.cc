// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Adding up what the decode entry point reads.
#include "runtime/tools/traffic.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "runtime/base/status.h"
#include "runtime/exec/expressions.h"

namespace fathom::tools {
namespace {

// The share of `tensor` that one dispatch for one token reads. A kernel's name begins with its
// family (docs/spec/kernels.md).
double ReadShare(const std::string& kernel, const schema::Tensor& tensor, int64_t grid_y) {
  const uint64_t leading = std::max<uint64_t>(tensor.shape()->Get(0), 1);
  if (absl::StartsWith(kernel, "experts")) {
    return std::min(
        1.0, static_cast<double>(std::max<int64_t>(grid_y, 0)) / static_cast<double>(leading));
  }
  if (absl::StartsWith(kernel, "embed")) return 1.0 / static_cast<double>(leading);
  if (absl::StartsWith(kernel, "rope") || absl::StartsWith(kernel, "latent_append") ||
      absl::StartsWith(kernel, "kv_append")) {
    return 0;
  }
  return 1;
}

}  // namespace

absl::StatusOr<TokenTraffic> DecodeTraffic(const Program& program) {
  const schema::EntryPoint* entry = program.FindEntry("decode");
  if (entry == nullptr) entry = program.FindEntry("prefill");
  if (entry == nullptr) return InputError(program.artifact().path(), "no entry point decode");
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int64_t> values, Evaluate(*entry->exprs(), {}));
  TokenTraffic traffic;
  double bytes = 0;
  for (const schema::Command* command : *entry->commands()) {
    if (command->kind() != schema::CommandKind::dispatch) continue;
    const std::string kernel = program.header().kernels()->Get(command->kernel())->name()->str();
    for (const schema::Binding* binding : *command->bindings()) {
      if (binding->tensor() < 0) continue;
      const schema::Tensor& tensor = *program.artifact().header().tensors()->Get(binding->tensor());
      bytes += static_cast<double>(binding->length()) *
               ReadShare(kernel, tensor, values[command->grid()->Get(1)]);
    }
  }
  traffic.weight_bytes = static_cast<uint64_t>(bytes);
  const schema::KvCache& kv = *program.header().kv();
  traffic.cache_bytes_per_token = uint64_t{kv.layers()} * kv.row_bytes();
  return traffic;
}

}  // namespace fathom::tools
