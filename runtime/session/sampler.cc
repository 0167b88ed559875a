// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Filters, softmax in float64, and the random numbers.
#include "runtime/session/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/status.h"

namespace fathom {
namespace {

uint64_t RotateLeft(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

}  // namespace

// xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64 so that any seed gives a good
// state.
Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15u;
    uint64_t z = seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    word = z ^ z >> 31;
  }
}

uint64_t Random::Next() {
  const uint64_t result = RotateLeft(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = RotateLeft(state_[3], 45);
  return result;
}

double Random::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

absl::Status CheckSamplerOptions(const SamplerOptions& options) {
  // Written so that NaN fails.
  if (!(options.temperature >= 0 && options.temperature <= 100)) {
    return InputError("temperature", "out of range", "0 to 100", options.temperature);
  }
  if (options.top_k < 0) return InputError("top-k", "out of range", "at least 0", options.top_k);
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return InputError("top-p", "out of range", "above 0, at most 1", options.top_p);
  }
  if (!(options.min_p >= 0 && options.min_p <= 1)) {
    return InputError("min-p", "out of range", "0 to 1", options.min_p);
  }
  return absl::OkStatus();
}

absl::StatusOr<Sampler> Sampler::Create(const SamplerOptions& options) {
  FATHOM_RETURN_IF_ERROR(CheckSamplerOptions(options));
  return Sampler(options);
}

absl::StatusOr<int32_t> Sampler::Sample(absl::Span<const float> logits,
                                        absl::Span<const int32_t> banned) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const auto is_banned = [&](int32_t id) {
    return std::find(banned.begin(), banned.end(), id) != banned.end();
  };
  if (options_.temperature == 0) {
    int32_t best = -1;
    float best_logit = kNever;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] > best_logit && !is_banned(static_cast<int32_t>(i))) {
        best_logit = logits[i];
        best = static_cast<int32_t>(i);
      }
    }
    if (best < 0) return absl::InternalError("the model gave no finite logit");
    return best;
  }
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    const int32_t id = static_cast<int32_t>(i);
    if (logits[i] > kNever && !is_banned(id)) candidates_.push_back({logits[i], id, 0});
  }
  if (candidates_.empty()) return absl::InternalError("the model gave no finite logit");
  KeepTopK();
  KeepTopP();
  KeepMinP();
  double highest = kNever;
  for (const Candidate& candidate : candidates_)
    highest = std::max<double>(highest, candidate.logit);
  double total = 0;
  for (Candidate& candidate : candidates_) {
    // +inf - +inf would be NaN; a logit of +inf means certainty.
    const double distance = candidate.logit == highest ? 0 : candidate.logit - highest;
    candidate.weight = std::exp(distance / options_.temperature);
    total += candidate.weight;
  }
  double draw = random_.Uniform() * total;
  for (const Candidate& candidate : candidates_) {
    draw -= candidate.weight;
    if (draw < 0) return candidate.id;
  }
  return candidates_.back().id;  // rounding left a trace of `draw`
}

void Sampler::KeepTopK() {
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const size_t k = options_.top_k == 0 ? candidates_.size() : static_cast<size_t>(options_.top_k);
  // Sorted only where the next filter or the draw's repeatability needs it.
  if (k < candidates_.size()) {
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(k),
                      candidates_.end(), likelier);
    candidates_.resize(k);
  } else if (options_.top_p < 1) {
    std::sort(candidates_.begin(), candidates_.end(), likelier);
  }
}

void Sampler::KeepTopP() {
  if (options_.top_p >= 1) return;
  double total = 0;
  for (Candidate& candidate : candidates_) {
    const double distance = candidate.logit == candidates_[0].logit
                                ? 0
                                : double{candidate.logit} - candidates_[0].logit;
    candidate.weight = std::exp(distance);
    total += candidate.weight;
  }
  double sum = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    sum += candidates_[i].weight;
    if (sum >= options_.top_p * total) {
      candidates_.resize(i + 1);
      return;
    }
  }
}

void Sampler::KeepMinP() {
  if (options_.min_p <= 0) return;
  float highest = candidates_[0].logit;
  for (const Candidate& candidate : candidates_) highest = std::max(highest, candidate.logit);
  const double lowest = double{highest} + std::log(double{options_.min_p});
  candidates_.erase(
      std::remove_if(candidates_.begin(), candidates_.end(),
                     [&](const Candidate& candidate) { return candidate.logit < lowest; }),
      candidates_.end());
}

}  // namespace fathom
