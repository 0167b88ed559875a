// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rotary position embedding in float64: frequencies, scales, cosines and sines.
#ifndef FATHOM_FRONTEND_CONFIG_ROPE_TABLE_H_
#define FATHOM_FRONTEND_CONFIG_ROPE_TABLE_H_

#include <cstdint>
#include <vector>

#include "frontend/config/model_config.h"

namespace fathom {

// With d = rotary_dim, pair j of a head at position p turns by the angle p *
// inverse_frequencies[j].
//
//   default  f_j = theta^(-2j/d)
//   linear   f_j / factor
//   llama3   with wavelength w = 2 pi / f_j and context L: f_j where w < L / high_freq_factor,
//            f_j / factor where w > L / low_freq_factor, in between f_j ((1-s) / factor + s) with
//            s = (L/w - low) / (high - low)
//   yarn     f_j / factor * r_j + f_j (1 - r_j), where the ramp r_j rises from 0 to 1 between the
//            dimensions that turn beta_fast and beta_slow times over the original context
//
// Example, DeepSeek-V3 (d 64, theta 1e4, factor 40, context 4096): the ramp runs from j = 10 to 23;
// f_0 = 1, f_16 = 5.5e-3 (1e-2 before), f_31 = 3.33e-6. Its softmax scale is 192^-0.5 m^2 with
// m = 0.1 ln 40 + 1, which is 0.1352337788608801.
struct RopeTable {
  int64_t rotary_dim = 0;
  std::vector<double> inverse_frequencies;  // (rotary_dim / 2)
  // Every cosine and sine is multiplied by it: 1 unless yarn says otherwise.
  double cos_sin_scale = 1.0;
  // What q.k is multiplied by before the softmax: (width of a q/k head)^-0.5, times m^2 where
  // yarn carries mscale_all_dim and attention is latent.
  double softmax_scale = 1.0;
  // The pairs are (x[2j], x[2j+1]), not (x[j], x[j + d/2]).
  bool interleaved = false;
  // yarn: where the ramp begins and ends, in pairs.
  double yarn_low = 0.0;
  double yarn_high = 0.0;

  // cos and sin of position `position`, (rotary_dim / 2) each, cos_sin_scale applied; angles in
  // float64, rounded once.
  void CosSin(int64_t position, float* cosines, float* sines) const;
};

// `config` must have passed ValidateConfig.
RopeTable MakeRopeTable(const ModelConfig& config);

// 0.1 * mscale * ln(factor) + 1, and 1 for a factor of at most 1.
double YarnMscale(double factor, double mscale);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_CONFIG_ROPE_TABLE_H_
