// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which experts a token goes to, and with what weights.
#ifndef FATHOM_MODELS_REFERENCE_ROUTING_H_
#define FATHOM_MODELS_REFERENCE_ROUTING_H_

#include <cstdint>
#include <vector>

#include "models/reference/model_config.h"

namespace fathom::reference {

struct Routing {
  std::vector<int64_t> experts;  // (num_experts_per_tok), best selection score first
  std::vector<float> weights;    // (num_experts_per_tok), what each expert's output is scaled by
};

// logits: (num_experts), the router's product with the normed hidden vector.
// correction_bias: (num_experts), e_score_correction_bias; null unless topk_method is noaux_tc.
// Equal scores go to the lower index (published code leaves ties open).
//
// Worked example, noaux_tc with 8 experts in 4 groups of 2, topk_group 2, top 3, scaling 2.5:
//   logits         2     -1    0.5   0.3   -2     1.5    0    -0.5
//   s = sigmoid    .881  .269  .622  .574  .119   .818   .5    .378
//   b = s + bias   .881  .269  .922  .574  -.781  -.082  .6    .378   bias 0 0 .3 0 -.9 -.9 .1 0
//   group score    1.150       1.497       -0.863        0.978        sum of the two largest b
//   groups 1 and 0 stay; the largest b in them: experts 2, 0, 3
//   weights from s, without bias: s / (.622 + .881 + .574) * 2.5 = 0.749, 1.060, 0.691
Routing Route(const ModelConfig& config, const float* logits, const float* correction_bias);

}  // namespace fathom::reference

#endif  // FATHOM_MODELS_REFERENCE_ROUTING_H_
