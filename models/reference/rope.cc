// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Angles are float64 throughout: float32 loses 2e-4 rad at position 4000 already.
#include "models/reference/rope.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace fathom::reference {
namespace {

double YarnFrequency(const RopeConfig& rope, const YarnRange& range, double pair, double base) {
  const double ramp = std::clamp((pair - range.low) / (range.high - range.low), 0.0, 1.0);
  return base / rope.factor * ramp + base * (1.0 - ramp);
}

// Long wavelengths are divided by factor, short ones kept, those between blended by how many times
// they turn over the original length.
double Llama3Frequency(const RopeConfig& rope, double base) {
  const double turns = rope.original_max_position_embeddings * base / (2.0 * std::numbers::pi);
  if (turns < rope.low_freq_factor) return base / rope.factor;
  if (turns > rope.high_freq_factor) return base;
  const double smooth =
      (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - smooth) * base / rope.factor + smooth * base;
}

}  // namespace

YarnRange YarnCorrectionRange(const RopeConfig& rope, int64_t dim) {
  const auto pair_of = [&](double rotations) {
    const double length = rope.original_max_position_embeddings;
    return static_cast<double>(dim) * std::log(length / (rotations * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(rope.theta));
  };
  YarnRange range;
  range.low = std::max(std::floor(pair_of(rope.beta_fast)), 0.0);
  range.high = std::min(std::ceil(pair_of(rope.beta_slow)), static_cast<double>(dim - 1));
  if (range.low == range.high) range.high += 0.001;  // no division by zero
  return range;
}

std::vector<double> RopeFrequencies(const RopeConfig& rope, int64_t dim) {
  std::vector<double> frequencies(dim / 2);
  const YarnRange range = YarnCorrectionRange(rope, dim);
  for (int64_t j = 0; j < dim / 2; ++j) {
    const double base = std::pow(rope.theta, -2.0 * static_cast<double>(j) / dim);
    switch (rope.scaling) {
      case RopeScaling::kNone:
        frequencies[j] = base;
        break;
      case RopeScaling::kYarn:
        frequencies[j] = YarnFrequency(rope, range, static_cast<double>(j), base);
        break;
      case RopeScaling::kLlama3:
        frequencies[j] = Llama3Frequency(rope, base);
        break;
    }
  }
  return frequencies;
}

double YarnMscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double RopeMultiplier(const RopeConfig& rope) {
  if (rope.scaling != RopeScaling::kYarn) return 1.0;
  if (rope.mscale != 0.0 && rope.mscale_all_dim != 0.0) {
    return YarnMscale(rope.factor, rope.mscale) / YarnMscale(rope.factor, rope.mscale_all_dim);
  }
  return YarnMscale(rope.factor, 1.0);
}

double SoftmaxScale(const ModelConfig& config) {
  if (!IsLatent(config)) return 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  const auto size = static_cast<double>(config.qk_nope_head_dim + config.qk_rope_head_dim);
  double scale = 1.0 / std::sqrt(size);
  if (config.rope.scaling == RopeScaling::kYarn && config.rope.mscale_all_dim != 0.0) {
    const double mscale = YarnMscale(config.rope.factor, config.rope.mscale_all_dim);
    scale *= mscale * mscale;  // once for the query, once for the key
  }
  return scale;
}

void ApplyRope(const std::vector<double>& frequencies, double multiplier, int64_t position,
               bool interleaved, float* x) {
  const size_t pairs = frequencies.size();
  for (size_t j = 0; j < pairs; ++j) {
    const double angle = static_cast<double>(position) * frequencies[j];
    const double cosine = std::cos(angle) * multiplier;
    const double sine = std::sin(angle) * multiplier;
    float& first = interleaved ? x[2 * j] : x[j];
    float& second = interleaved ? x[2 * j + 1] : x[j + pairs];
    const double a = first;
    const double b = second;
    first = static_cast<float>(a * cosine - b * sine);
    second = static_cast<float>(b * cosine + a * sine);
  }
}

}  // namespace fathom::reference
