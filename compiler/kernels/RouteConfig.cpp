// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads the configuration of `route`.
#include "compiler/kernels/RouteConfig.h"

using llvm::Twine;

namespace fathom::kernels {

RouteConfig RouteConfig::read(Config& cfg, int64_t maxStride) {
  RouteConfig c;
  c.experts = cfg.in("experts", 1, 1 << 16);
  c.topK = cfg.in("top_k", 1, 256);
  c.shared = cfg.in("shared", 0, 256, 1, 0);
  c.groups = cfg.in("n_group", 1, 1 << 16);
  c.topGroups = cfg.in("topk_group", 1, 1 << 16);
  c.scoring = static_cast<Scoring>(cfg.oneOf("scoring", {"softmax", "sigmoid", "sqrt_softplus"}));
  c.method =
      static_cast<Method>(cfg.oneOf("method", {"greedy", "group_limited_greedy", "noaux_tc"}));
  c.normalize = cfg.b("normalize");
  c.plan = cfg.b("plan", false);
  c.scale = cfg.f("scale");
  c.normEps = cfg.f("norm_eps");
  c.inLd = cfg.in("in_ld", c.experts, maxStride);
  c.inOffset = cfg.in("in_offset", 0, maxStride, 1, 0);
  if (cfg.failed()) return c;
  cfg.require(c.experts % c.groups == 0,
              "experts " + Twine(c.experts) + " is not a multiple of n_group " + Twine(c.groups));
  cfg.require(c.topGroups <= c.groups,
              "topk_group " + Twine(c.topGroups) + " exceeds n_group " + Twine(c.groups));
  bool limited = c.method != Method::kGreedy;
  int64_t candidates = limited ? c.topGroups * (c.experts / c.groups) : c.experts;
  cfg.require(c.topK <= candidates, "top_k " + Twine(c.topK) + " exceeds the " + Twine(candidates) +
                                        " experts that it chooses from");
  return c;
}

}  // namespace fathom::kernels
