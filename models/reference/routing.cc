// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Scores, group limit, top-k and weights of the router, in float64.
#include "models/reference/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace fathom::reference {
namespace {

constexpr double kExcluded = -std::numeric_limits<double>::infinity();

std::vector<double> Softmax(const float* logits, int64_t count) {
  const double largest = *std::max_element(logits, logits + count);
  std::vector<double> scores(count);
  double sum = 0.0;
  for (int64_t e = 0; e < count; ++e) sum += scores[e] = std::exp(logits[e] - largest);
  for (double& score : scores) score /= sum;
  return scores;
}

std::vector<double> Sigmoid(const float* logits, int64_t count) {
  std::vector<double> scores(count);
  for (int64_t e = 0; e < count; ++e) {
    scores[e] = 1.0 / (1.0 + std::exp(-static_cast<double>(logits[e])));
  }
  return scores;
}

// The indices of the count largest scores, largest first, ties by index.
std::vector<int64_t> TopIndices(const std::vector<double>& scores, int64_t count) {
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  order.resize(count);
  return order;
}

// Excludes every expert outside the topk_group best groups. V2 scores a group by its best expert,
// V3 by the sum of its best two.
void LimitToGroups(const ModelConfig& config, std::vector<double>* choice) {
  const int64_t size = config.num_experts / config.n_group;
  std::vector<double> group_scores(config.n_group);
  for (int64_t g = 0; g < config.n_group; ++g) {
    std::vector<double> members(choice->begin() + g * size, choice->begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    group_scores[g] = members[0];
    if (config.topk_method == TopkMethod::kNoauxTc && size > 1) group_scores[g] += members[1];
  }
  std::vector<bool> kept(config.n_group, false);
  for (const int64_t g : TopIndices(group_scores, config.topk_group)) kept[g] = true;
  for (int64_t e = 0; e < config.num_experts; ++e) {
    if (!kept[e / size]) (*choice)[e] = kExcluded;
  }
}

}  // namespace

Routing Route(const ModelConfig& config, const float* logits, const float* correction_bias) {
  const bool noaux = config.topk_method == TopkMethod::kNoauxTc;
  const std::vector<double> scores =  // (num_experts)
      noaux ? Sigmoid(logits, config.num_experts) : Softmax(logits, config.num_experts);
  std::vector<double> choice = scores;  // (num_experts), what selection looks at
  if (noaux) {
    for (int64_t e = 0; e < config.num_experts; ++e) choice[e] += correction_bias[e];
  }
  if (config.topk_method != TopkMethod::kGreedy) LimitToGroups(config, &choice);

  Routing routing;
  routing.experts = TopIndices(choice, config.num_experts_per_tok);
  double sum = 0.0;
  for (const int64_t e : routing.experts) sum += scores[e];
  const double divisor = config.norm_topk_prob ? sum + 1e-20 : 1.0;
  for (const int64_t e : routing.experts) {
    const double weight = scores[e] / divisor * config.routed_scaling_factor;
    routing.weights.push_back(static_cast<float>(weight));
  }
  return routing;
}

}  // namespace fathom::reference
