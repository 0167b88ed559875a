// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The configuration of `route`, for every kind of target.
#ifndef FATHOM_COMPILER_KERNELS_ROUTECONFIG_H_
#define FATHOM_COMPILER_KERNELS_ROUTECONFIG_H_

#include "compiler/kernels/Config.h"

namespace fathom::kernels {

enum class Scoring { kSoftmax, kSigmoid, kSqrtSoftplus };
enum class Method { kGreedy, kGroupLimitedGreedy, kNoauxTc };

struct RouteConfig {
  int64_t experts = 0, topK = 0;
  int64_t shared = 0;  // experts behind the routed ones that every token visits
  int64_t groups = 1, topGroups = 1;
  int64_t inLd = 0, inOffset = 0;
  Scoring scoring = Scoring::kSoftmax;
  Method method = Method::kGreedy;
  bool normalize = false;
  bool plan = false;  // one workgroup routes all tokens and makes the plan of the experts
  double scale = 1, normEps = 0;

  /// Reads and checks the entries; strides are at most `maxStride`. See Config::failed().
  static RouteConfig read(Config& cfg, int64_t maxStride);

  bool biased() const { return method == Method::kNoauxTc; }
  bool limitsGroups() const { return method != Method::kGreedy && topGroups < groups; }
  int64_t slots() const { return topK + shared; }
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_ROUTECONFIG_H_
