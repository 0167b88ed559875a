// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Chooses a token from logits, repeatably.
#ifndef FATHOM_RUNTIME_SESSION_SAMPLER_H_
#define FATHOM_RUNTIME_SESSION_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fathom {

// 64 random bits at a time from a state of 256 bits; the same seed gives the same numbers on every
// machine.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t Next();
  // Uniform in [0, 1), 53 bits.
  double Uniform();

 private:
  uint64_t state_[4];
};

// The filters apply in this order, then the temperature, then one draw.
struct SamplerOptions {
  float temperature = 0.8f;  // 0: the most likely token; no draw
  int32_t top_k = 40;        // keep the k most likely; 0: all
  float top_p = 0.95f;       // keep the fewest whose probabilities reach p; 1: all
  float min_p = 0.05f;       // drop what is less likely than min_p times the most likely; 0: none
  uint64_t seed = 0;
};

// InvalidArgument names the option and its range (NaN is never in range).
absl::Status CheckSamplerOptions(const SamplerOptions& options);

// Not thread-safe: each draw advances the random numbers.
class Sampler {
 public:
  static absl::StatusOr<Sampler> Create(const SamplerOptions& options);

  // A token id in [0, logits.size()). Ties go to the lower id. NaN counts as minus infinity; when
  // no logit is finite the result is an InternalError. `banned` ids are never chosen.
  absl::StatusOr<int32_t> Sample(absl::Span<const float> logits,
                                 absl::Span<const int32_t> banned = {});

 private:
  struct Candidate {
    float logit;
    int32_t id;
    double weight;
  };

  explicit Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}
  void KeepTopK();
  void KeepTopP();
  void KeepMinP();

  SamplerOptions options_;
  Random random_;
  std::vector<Candidate> candidates_;  // kept between calls for its memory
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_SESSION_SAMPLER_H_
