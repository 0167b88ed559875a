// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// route: scores, group limits and top-k of the router; route_plan: pairs sorted by expert.
#include <limits>

#include "compiler/kernels/RouteConfig.h"
#include "compiler/kernels/simd/Emitters.h"

using namespace mlir;

namespace fathom::kernels {

constexpr double kNever = -std::numeric_limits<double>::infinity();

namespace {

/// The router of one token. Scores and what selection looks at are kept in scratch, padded to 16.
class Router {
 public:
  explicit Router(KernelBuilder& k) : k_(k) {}
  LogicalResult emit();

 private:
  void score(Val from);
  void limitGroups();
  Val groupScore(Val group);
  void pick(Val t);
  void route(Val t);

  // Lanes >= count replaced by -inf.
  Val orNever(Val v, Val count) {
    if (!count) return v;
    return select(maskBelow(k_, count), v, number(v, kNever));
  }

  KernelBuilder& k_;
  RouteConfig c_;
  Buf logits_, bias_, index_, weight_;
  Buf scores_, choice_, groupScores_;
};

struct Best {
  Val value, index;
};

// The largest lane; among equal ones the one of the lowest index.
Best bestLane(Val values, Val indices) {
  Val value = reduceMax(values);
  Val none = number(indices, std::numeric_limits<int32_t>::max());
  return {value, reduceMin(select(values == value, indices, none))};
}

// The largest of buf[0 .. n - 1], the first of equal ones. All -inf gives 0.
Best bestOf(KernelBuilder& k, Buf buf, int64_t n) {
  Val lanes = k.iota();
  Vals best = {k.constant(lanes.k().vec(k.f32()), kNever), lanes};
  best = k.forLoop(k.idx(0), k.idx(n), 16, best, [&](Val i, ArrayRef<Val> b) {
    Val v = k.load(buf, i, 16);
    Val better = v > b[0];
    Val at = lanes + toInt(i, k.i32());
    return Vals{select(better, v, b[0]), select(better, at, b[1])};
  });
  return bestLane(best[0], best[1]);
}

int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

// log(1 + u) for u in [0, 1], also where 1 + u rounds u away.
Val log1p(Val u) {
  Val w = u + 1.0;
  Val d = w - 1.0;
  return select(d == number(d, 0), u, log(w) * (u / d));
}

}  // namespace

// scores_ = the scoring function of the logits; choice_ = scores (+ bias), -inf in the padding.
void Router::score(Val from) {
  Val top, sum;
  if (c_.scoring == Scoring::kSoftmax) {
    k_.forRow(c_.experts, 16, [&](Val i, Val count) {
      k_.store(orNever(k_.load(logits_, from + i, 16, count), count), choice_, i);
    });
    top = bestOf(k_, choice_, padded(c_.experts)).value;
    Vals s = k_.forLoop(k_.idx(0), k_.idx(padded(c_.experts)), 16, {k_.zero()},
                        [&](Val i, ArrayRef<Val> acc) {
                          Val e = exp(k_.load(choice_, i, 16) - top);
                          k_.store(e, scores_, i);
                          return Vals{acc[0] + e};
                        });
    sum = reduceAdd(s[0]);
  }
  k_.forRow(c_.experts, 16, [&](Val i, Val count) {
    Val s;
    if (c_.scoring == Scoring::kSoftmax) {
      s = k_.load(scores_, i, 16) / sum;
    } else {
      Val x = k_.load(logits_, from + i, 16, count);
      s = c_.scoring == Scoring::kSigmoid ? sigmoid(x)
                                          : sqrt(max(x, number(x, 0)) + log1p(exp(-abs(x))));
    }
    k_.store(s, scores_, i);
    if (c_.biased()) s = s + k_.load(bias_, i, 16, count);
    k_.store(orNever(s, count), choice_, i);
  });
}

// The largest of a group's choices, or the sum of its two largest (noaux_tc).
Val Router::groupScore(Val group) {
  int64_t size = c_.experts / c_.groups;
  Val never = k_.constant(k_.vec(k_.f32()), kNever);
  Val first = never, second = never;
  for (int64_t i = 0; i < size; i += 16) {
    Val count = size - i < 16 ? k_.idx(size - i) : Val();
    Val v = orNever(k_.load(choice_, group * size + i, 16, count), count);
    second = max(second, min(first, v));
    first = max(first, v);
  }
  for (int64_t half = 8; half >= 1; half /= 2) {
    Val f = slice(first, half, half), s = slice(second, half, half);
    first = slice(first, 0, half);
    second = max(max(slice(second, 0, half), s), min(first, f));
    first = max(first, f);
  }
  bool sumOfTwo = c_.biased() && size > 1;
  return sumOfTwo ? lane(first, 0) + lane(second, 0) : lane(first, 0);
}

void Router::limitGroups() {
  int64_t size = c_.experts / c_.groups;
  k_.forLoop(k_.idx(0), k_.idx(padded(c_.groups)), 16,
             [&](Val i) { k_.store(k_.constant(k_.vec(k_.f32()), kNever), groupScores_, i); });
  k_.forLoop(k_.idx(0), k_.idx(c_.groups), 1,
             [&](Val g) { k_.store(groupScore(g), groupScores_, g); });
  Buf keep = k_.scratch(k_.i32(), c_.groups * 4);
  k_.forLoop(k_.idx(0), k_.idx(c_.groups), 1,
             [&](Val g) { k_.store(k_.constant(k_.i32(), 0), keep, g); });
  k_.forLoop(k_.idx(0), k_.idx(c_.topGroups), 1, [&](Val) {
    Val g = toIndex(bestOf(k_, groupScores_, padded(c_.groups)).index);
    k_.store(k_.constant(k_.f32(), kNever), groupScores_, g);
    k_.store(k_.constant(k_.i32(), 1), keep, g);
  });
  k_.forLoop(k_.idx(0), k_.idx(c_.groups), 1, [&](Val g) {
    k_.ifThen(k_.load(keep, g) == 0, [&] {
      k_.forRow(size, 16, [&](Val i, Val count) {
        k_.store(k_.constant(k_.vec(k_.f32()), kNever), choice_, g * size + i, count);
      });
    });
  });
}

void Router::pick(Val t) {
  Val first = t * c_.slots();
  for (int64_t i = 0; i < c_.shared; ++i) {
    k_.store(k_.constant(k_.i32(), static_cast<double>(c_.experts + i)), index_,
             first + (c_.topK + i));
    k_.store(k_.constant(k_.f32(), 1), weight_, first + (c_.topK + i));
  }
  Vals sum = k_.forLoop(k_.idx(0), k_.idx(c_.topK), 1, {k_.constant(k_.f32(), 0)},
                        [&](Val j, ArrayRef<Val> acc) {
                          Val e = bestOf(k_, choice_, padded(c_.experts)).index;
                          Val w = k_.load(scores_, toIndex(e));
                          k_.store(k_.constant(k_.f32(), kNever), choice_, toIndex(e));
                          k_.store(e, index_, first + j);
                          k_.store(w, weight_, first + j);
                          return Vals{acc[0] + w};
                        });
  Val factor = k_.constant(k_.f32(), c_.scale);
  if (c_.normalize)
    factor = factor / (sum[0] + c_.normEps);
  else if (c_.scale == 1)
    return;
  k_.forRow(c_.topK, 16, [&](Val j, Val count) {
    k_.store(k_.load(weight_, first + j, 16, count) * factor, weight_, first + j, count);
  });
}

void Router::route(Val t) {
  score(t * c_.inLd + c_.inOffset);
  if (c_.limitsGroups()) limitGroups();
  pick(t);
}

// A counting sort of the pairs of `tokens` tokens, `slots` each, by expert.
// plan = [n_active | active ids | first pair of each active expert, end | pairs].
static void planRoutes(KernelBuilder& k, int64_t experts, int64_t slots, Buf index, Buf plan,
                       Val tokens) {
  Buf next = k.scratch(k.i32(), 4 * experts);
  Val zero = k.idx(0), all = tokens * slots, none = k.constant(k.i32(), 0);
  k.forLoop(zero, k.idx(experts), 1, [&](Val e) { k.store(none, next, e); });
  k.forLoop(zero, all, 1, [&](Val p) {
    Val e = toIndex(k.load(index, p));
    k.store(k.load(next, e) + 1, next, e);
  });
  // Counts become the places where each expert's next pair goes.
  Vals end = k.forLoop(zero, k.idx(experts), 1, {zero, none}, [&](Val e, ArrayRef<Val> it) {
    Val active = it[0], first = it[1];
    Val count = k.load(next, e);
    k.store(first, next, e);
    k.ifThen(count != 0, [&] {
      k.store(toInt(e, k.i32()), plan, active + 1);
      k.store(first, plan, active + (1 + experts));
    });
    return Vals{select(count != 0, active + 1, active), first + count};
  });
  k.store(toInt(end[0], k.i32()), plan, zero);
  k.store(end[1], plan, end[0] + (1 + experts));
  k.forLoop(zero, all, 1, [&](Val p) {
    Val e = toIndex(k.load(index, p));
    Val at = k.load(next, e);
    k.store(at + 1, next, e);
    k.store(toInt(p, k.i32()), plan, toIndex(at) + (2 + 2 * experts));
  });
}

LogicalResult Router::emit() {
  c_ = RouteConfig::read(k_.cfg(), kMaxStride);
  if (k_.cfg().failed()) return failure();
  logits_ = k_.in(k_.f32());
  if (c_.biased()) bias_ = k_.in(k_.f32());
  index_ = k_.out(k_.i32());
  weight_ = k_.out(k_.f32());
  Buf plan;
  Val tokens;
  if (c_.plan) {
    plan = k_.out(k_.i32());
    tokens = k_.push();
  }
  scores_ = k_.scratch(k_.f32(), 4 * padded(c_.experts));
  choice_ = k_.scratch(k_.f32(), 4 * padded(c_.experts));
  if (c_.limitsGroups()) groupScores_ = k_.scratch(k_.f32(), 4 * padded(c_.groups));
  if (!c_.plan) {
    route(k_.x());
    return success();
  }
  k_.forLoop(k_.idx(0), tokens, 1, [&](Val t) { route(t); });
  planRoutes(k_, c_.experts + c_.shared, c_.slots(), index_, plan, tokens);
  return success();
}

LogicalResult emitRoute(KernelBuilder& k) { return Router(k).emit(); }

LogicalResult emitRoutePlan(KernelBuilder& k) {
  int64_t experts = k.cfg().in("experts", 1, 1 << 16);
  int64_t topK = k.cfg().in("top_k", 1, 256);
  if (k.cfg().failed()) return failure();
  Buf index = k.in(k.i32()), plan = k.out(k.i32());
  planRoutes(k, experts, topK, index, plan, k.push());
  return success();
}

}  // namespace fathom::kernels
