// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rotary position embedding: frequencies under YaRN and llama3 scaling, the softmax scale,
// rotation.
#ifndef FATHOM_MODELS_REFERENCE_ROPE_H_
#define FATHOM_MODELS_REFERENCE_ROPE_H_

#include <cstdint>
#include <vector>

#include "models/reference/model_config.h"

namespace fathom::reference {

// The pairs YaRN interpolates: below low a pair keeps its frequency, from high on it is divided by
// factor, between them it is blended. Worked example, DeepSeek-V3 (dim 64, theta 1e4, original
// length 4096, beta 32 and 1): a pair turns r times over the original length at
//   dim(r) = 64 ln(4096 / (2 pi r)) / (2 ln 1e4);  dim(32) = 10.47 -> low 10, dim(1) = 22.51 -> 23.
struct YarnRange {
  double low;
  double high;
};
YarnRange YarnCorrectionRange(const RopeConfig& rope, int64_t dim);

// (dim / 2) radians per position of each pair, after scaling.
std::vector<double> RopeFrequencies(const RopeConfig& rope, int64_t dim);

// 0.1 mscale ln(factor) + 1, the attention correction of YaRN; 1 when factor <= 1.
double YarnMscale(double factor, double mscale);

// What cos and sin are multiplied by. 1 for every published DeepSeek config.
double RopeMultiplier(const RopeConfig& rope);

// The factor on q.k before softmax: 1 / sqrt(head size), times YarnMscale squared for the latent
// families under YaRN with mscale_all_dim (V2-Lite: 0.1147213867929261, V3: 0.1352337788608801).
double SoftmaxScale(const ModelConfig& config);

// Rotates x (2 * frequencies.size()) in place by position: pair j is (x[2j], x[2j+1]) when
// interleaved, else (x[j], x[j + size/2]).
void ApplyRope(const std::vector<double>& frequencies, double multiplier, int64_t position,
               bool interleaved, float* x);

}  // namespace fathom::reference

#endif  // FATHOM_MODELS_REFERENCE_ROPE_H_
