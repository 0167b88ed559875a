// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The four rotary scalings that published configs use.
#include "frontend/config/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fathom {
namespace {

// The pair index whose frequency completes `rotations` turns over the original context.
double PairOfRotations(double rotations, double dim, double theta, double context) {
  return dim * std::log(context / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
}

void ApplyLlama3(const RopeScaling& rope, std::vector<double>* frequencies) {
  const double context = static_cast<double>(rope.original_max_position_embeddings);
  for (double& f : *frequencies) {
    const double wavelength = 2 * std::numbers::pi / f;
    if (wavelength < context / rope.high_freq_factor) continue;
    if (wavelength > context / rope.low_freq_factor) {
      f /= rope.factor;
    } else {
      const double smooth = (context / wavelength - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
      f = (1 - smooth) * f / rope.factor + smooth * f;
    }
  }
}

void ApplyYarn(const ModelConfig& config, RopeTable* table) {
  const RopeScaling& rope = config.rope;
  const double dim = static_cast<double>(table->rotary_dim);
  const double context = static_cast<double>(rope.original_max_position_embeddings);
  double low = PairOfRotations(rope.beta_fast, dim, config.rope_theta, context);
  double high = PairOfRotations(rope.beta_slow, dim, config.rope_theta, context);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;  // keeps the ramp's slope finite
  table->yarn_low = low;
  table->yarn_high = high;
  for (size_t j = 0; j < table->inverse_frequencies.size(); ++j) {
    const double ramp = std::clamp((static_cast<double>(j) - low) / (high - low), 0.0, 1.0);
    double& f = table->inverse_frequencies[j];
    f = f / rope.factor * ramp + f * (1 - ramp);
  }
  if (rope.attention_factor) {
    table->cos_sin_scale = *rope.attention_factor;
  } else if (rope.mscale != 0 && rope.mscale_all_dim != 0) {
    table->cos_sin_scale =
        YarnMscale(rope.factor, rope.mscale) / YarnMscale(rope.factor, rope.mscale_all_dim);
  } else {
    table->cos_sin_scale = YarnMscale(rope.factor, 1.0);
  }
  if (config.is_latent() && rope.mscale_all_dim != 0) {
    const double m = YarnMscale(rope.factor, rope.mscale_all_dim);
    table->softmax_scale *= m * m;
  }
}

}  // namespace

double YarnMscale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

RopeTable MakeRopeTable(const ModelConfig& config) {
  RopeTable table;
  table.rotary_dim = config.rotary_dim();
  table.interleaved = config.rope_interleave;
  const int64_t head =
      config.is_latent() ? config.qk_nope_head_dim + config.qk_rope_head_dim : config.head_dim;
  table.softmax_scale = 1.0 / std::sqrt(static_cast<double>(head));
  for (int64_t j = 0; j < table.rotary_dim / 2; ++j) {
    table.inverse_frequencies.push_back(
        std::pow(config.rope_theta, -2.0 * static_cast<double>(j) / table.rotary_dim));
  }
  switch (config.rope.type) {
    case RopeType::kDefault:
      break;
    case RopeType::kLinear:
      for (double& f : table.inverse_frequencies) f /= config.rope.factor;
      break;
    case RopeType::kLlama3:
      ApplyLlama3(config.rope, &table.inverse_frequencies);
      break;
    case RopeType::kYarn:
      ApplyYarn(config, &table);
      break;
  }
  for (size_t j = 0; j < config.rope_freq_factors.size(); ++j) {
    table.inverse_frequencies[j] /= config.rope_freq_factors[j];
  }
  return table;
}

void RopeTable::CosSin(int64_t position, float* cosines, float* sines) const {
  for (size_t j = 0; j < inverse_frequencies.size(); ++j) {
    const double angle = static_cast<double>(position) * inverse_frequencies[j];
    cosines[j] = static_cast<float>(std::cos(angle) * cos_sin_scale);
    sines[j] = static_cast<float>(std::sin(angle) * cos_sin_scale);
  }
}

}  // namespace fathom
