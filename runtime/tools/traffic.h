// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How many bytes one decoded token must read: the roofline of a decode.
#ifndef FATHOM_RUNTIME_TOOLS_TRAFFIC_H_
#define FATHOM_RUNTIME_TOOLS_TRAFFIC_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/exec/program.h"

namespace fathom::tools {

struct TokenTraffic {
  uint64_t weight_bytes = 0;           // of one pass over one token
  uint64_t cache_bytes_per_token = 0;  // of each token in the context
};

// Follows the decode entry point at T = B = R = 1: every weight bound to a kernel counts once, of
// an experts tensor only the part that the active experts are, of an embedding only one row, of
// position tables nothing. A weight that two dispatches read (a tied embedding) counts for each.
absl::StatusOr<TokenTraffic> DecodeTraffic(const Program& program);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_TRAFFIC_H_
