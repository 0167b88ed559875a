// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// route and route_plan on GPUs: a workgroup chooses the experts of a token; one sorts all pairs.
// Where one does both, it takes the tokens in turn.
#include <limits>

#include "compiler/kernels/RouteConfig.h"
#include "compiler/kernels/simt/Emitters.h"

using namespace mlir;

namespace fathom::kernels::simt {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// The plan of pairs of (token, slot) by expert: [n_active | active ids | first pair of each active
/// expert, end | pairs]. A counting sort.
class Plan {
 public:
  Plan(SimtBuilder& k, int64_t experts) : k_(k), experts_(experts) {}
  void begin(Buf plan) {
    plan_ = plan;
    next_ = k_.shared(k_.i32(), experts_);
  }

  int64_t experts() const { return experts_; }
  Val next(Val e) { return k_.load(next_, e); }
  void setNext(Val e, Val count) { k_.store(count, next_, e); }
  void addOne(Val e) { setNext(e, next(e) + 1); }
  /// One lane: counts become the places where each expert's next pair goes.
  void place();
  void putPair(Val pair, Val place) {
    k_.store(toInt(pair, k_.i32()), plan_, toIndex(place) + (2 + 2 * experts_));
  }

 private:
  SimtBuilder& k_;
  int64_t experts_;
  Buf plan_, next_;
};

void Plan::place() {
  Val zero = k_.idx(0), none = k_.constant(k_.i32(), 0);
  Vals end = k_.forLoop(zero, k_.idx(experts_), 1, {zero, none}, [&](Val e, ArrayRef<Val> in) {
    Val active = in[0], first = in[1], count = next(e);
    setNext(e, first);
    Val some = count != 0;
    k_.ifThen(some, [&] {
      k_.store(toInt(e, k_.i32()), plan_, active + 1);
      k_.store(first, plan_, active + (1 + experts_));
    });
    return Vals{select(some, active + 1, active), first + count};
  });
  k_.store(toInt(end[0], k_.i32()), plan_, zero);
  k_.store(end[1], plan_, end[0] + (1 + experts_));
}

/// The router of one token. Scores and what selection looks at lie in workgroup memory.
class Router {
 public:
  explicit Router(SimtBuilder& k) : k_(k) {}
  LogicalResult emit();

 private:
  void route(Val t);
  void score(Val from);
  void limitGroups();
  void pick(Val t);
  void planAll(Val tokens);
  Val bestOf(Buf buf, int64_t n);
  Val never() { return k_.constant(k_.f32(), kNever); }

  SimtBuilder& k_;
  RouteConfig c_;
  Buf logits_, bias_, index_, weight_;
  Buf scores_, choice_, groupScores_, keep_;
  std::optional<Plan> plan_;
};

// log(1 + u) for u in [0, 1], also where 1 + u rounds u away.
Val log1p(Val u) {
  Val w = u + 1.0;
  Val d = w - 1.0;
  Val none = d == number(d, 0);
  return select(none, u, log(w) * (u / select(none, number(d, 1), d)));
}

// The place of the largest of buf[0 .. n - 1], the first of equal ones; 0 when all are -inf. Known
// to all lanes.
Val Router::bestOf(Buf buf, int64_t n) {
  Val zero = k_.constant(k_.i32(), 0);
  Vals best = k_.forLanes(k_.idx(n), {never(), zero}, [&](Val i, ArrayRef<Val> in) {
    Val v = k_.load(buf, i);
    Val better = v > in[0];
    return Vals{select(better, v, in[0]), select(better, toInt(i, k_.i32()), in[1])};
  });
  Val top = k_.maxOfLanes(best[0]);
  // Indices are exact as floats. A lane that had nothing says -inf at 0, which can only tie where
  // all places are -inf.
  Val first = k_.maxOfLanes(select(best[0] == top, -toFloat(best[1]), never()));
  return toIndex(truncToI32(-first));
}

void Router::score(Val from) {
  auto logit = [&](Val e) { return k_.load(logits_, from + e); };
  Val top, sum;
  if (c_.scoring == Scoring::kSoftmax) {
    Vals best = k_.forLanes(k_.idx(c_.experts), {never()},
                            [&](Val e, ArrayRef<Val> in) { return Vals{max(in[0], logit(e))}; });
    top = k_.maxOfLanes(best[0]);
    Vals part =
        k_.forLanes(k_.idx(c_.experts), {k_.constant(k_.f32(), 0)},
                    [&](Val e, ArrayRef<Val> in) { return Vals{in[0] + exp(logit(e) - top)}; });
    sum = k_.sumOfLanes(part[0]);
  }
  k_.forLanes(c_.experts, [&](Val e) {
    Val x = logit(e), s;
    if (c_.scoring == Scoring::kSoftmax)
      s = exp(x - top) / sum;
    else if (c_.scoring == Scoring::kSigmoid)
      s = sigmoid(x);
    else
      s = sqrt(max(x, number(x, 0)) + log1p(exp(-abs(x))));
    k_.store(s, scores_, e);
    k_.store(c_.biased() ? s + k_.load(bias_, e) : s, choice_, e);
  });
  k_.barrier();
}

// Leaves -inf for the experts outside the best groups. A group's score is its largest choice, or
// the sum of its two largest (noaux_tc).
void Router::limitGroups() {
  int64_t size = c_.experts / c_.groups;
  k_.forLanes(c_.groups, [&](Val g) {
    Vals two =
        k_.forLoop(k_.idx(0), k_.idx(size), 1, {never(), never()}, [&](Val i, ArrayRef<Val> in) {
          Val v = k_.load(choice_, g * size + i);
          return Vals{max(in[0], v), max(in[1], min(in[0], v))};
        });
    bool sumOfTwo = c_.biased() && size > 1;
    k_.store(sumOfTwo ? two[0] + two[1] : two[0], groupScores_, g);
  });
  k_.forLanes(c_.groups, [&](Val g) { k_.store(k_.constant(k_.i32(), 0), keep_, g); });
  k_.barrier();
  k_.forLoop(k_.idx(0), k_.idx(c_.topGroups), 1, [&](Val) {
    Val g = bestOf(groupScores_, c_.groups);
    k_.ifThen(k_.lane() == 0, [&] {
      k_.store(never(), groupScores_, g);
      k_.store(k_.constant(k_.i32(), 1), keep_, g);
    });
    k_.barrier();
  });
  k_.forLanes(c_.experts, [&](Val e) {
    Val kept = k_.load(keep_, e / size) != 0;
    k_.store(select(kept, k_.load(choice_, e), never()), choice_, e);
  });
  k_.barrier();
}

void Router::pick(Val t) {
  Val first = t * c_.slots();
  k_.ifThen(k_.lane() == 0, [&] {
    for (int64_t i = c_.topK; i < c_.topK + c_.shared; ++i) {
      int64_t expert = c_.experts + i - c_.topK;
      k_.store(k_.constant(k_.i32(), static_cast<double>(expert)), index_, first + i);
      k_.store(k_.constant(k_.f32(), 1), weight_, first + i);
      if (plan_) plan_->addOne(k_.idx(expert));
    }
  });
  Vals sum = k_.forLoop(k_.idx(0), k_.idx(c_.topK), 1, {k_.constant(k_.f32(), 0)},
                        [&](Val j, ArrayRef<Val> in) {
                          Val e = bestOf(choice_, c_.experts);
                          Val w = k_.load(scores_, e);
                          k_.ifThen(k_.lane() == 0, [&] {
                            k_.store(never(), choice_, e);
                            k_.store(toInt(e, k_.i32()), index_, first + j);
                            if (plan_) plan_->addOne(e);
                            if (!c_.normalize) k_.store(w * c_.scale, weight_, first + j);
                          });
                          k_.barrier();
                          return Vals{in[0] + w};
                        });
  if (!c_.normalize) return;
  Val factor = k_.constant(k_.f32(), c_.scale) / (sum[0] + c_.normEps);
  k_.ifThen(k_.lane() == 0, [&] {
    k_.forLoop(k_.idx(0), k_.idx(c_.topK), 1, [&](Val j) {
      Val e = toIndex(k_.load(index_, first + j));
      k_.store(k_.load(scores_, e) * factor, weight_, first + j);
    });
  });
}

LogicalResult Router::emit() {
  c_ = RouteConfig::read(k_.cfg(), kMaxOffset);
  bool plan = k_.cfg().b("plan", false);
  if (k_.cfg().failed()) return failure();
  logits_ = k_.f32View(k_.input());
  if (c_.biased()) bias_ = k_.f32View(k_.input());
  index_ = k_.i32View(k_.binding());
  weight_ = k_.f32View(k_.binding());
  if (plan) plan_.emplace(k_, c_.experts + c_.shared);
  if (plan) plan_->begin(k_.i32View(k_.binding()));
  scores_ = k_.shared(k_.f32(), c_.experts);
  choice_ = k_.shared(k_.f32(), c_.experts);
  if (c_.limitsGroups()) {
    groupScores_ = k_.shared(k_.f32(), c_.groups);
    keep_ = k_.shared(k_.i32(), c_.groups);
  }
  if (plan)
    planAll(k_.push());
  else
    route(k_.x());
  return success();
}

void Router::route(Val t) {
  score(t * c_.inLd + c_.inOffset);
  if (c_.limitsGroups()) limitGroups();
  pick(t);
}

// The lane that writes a token's choice also counts and places the pairs: it reads back its own
// writes, and few tokens leave nothing to share.
void Router::planAll(Val tokens) {
  k_.forLanes(plan_->experts(), [&](Val e) { plan_->setNext(e, k_.constant(k_.i32(), 0)); });
  k_.forLoop(k_.idx(0), tokens, 1, [&](Val t) {
    k_.barrier();
    route(t);
  });
  k_.barrier();
  k_.ifThen(k_.lane() == 0, [&] {
    plan_->place();
    k_.forLoop(k_.idx(0), tokens * c_.slots(), 1, [&](Val p) {
      Val e = toIndex(k_.load(index_, p));
      Val place = plan_->next(e);
      plan_->putPair(p, place);
      plan_->setNext(e, place + 1);
    });
  });
}

}  // namespace

LogicalResult emitRoute(SimtBuilder& k) { return Router(k).emit(); }

// A lane counts, and later places, the pairs of an expert in their order.
LogicalResult emitRoutePlan(SimtBuilder& k) {
  int64_t experts = k.cfg().in("experts", 1, 1 << 16);
  int64_t topK = k.cfg().in("top_k", 1, 256);
  if (k.cfg().failed()) return failure();
  Buf index = k.i32View(k.binding());
  Plan plan(k, experts);
  plan.begin(k.i32View(k.binding()));
  Val all = k.push() * topK, zero = k.idx(0), none = k.constant(k.i32(), 0);
  k.forLanes(experts, [&](Val e) {
    Val own = toInt(e, k.i32());
    Val count = k.forLoop(zero, all, 1, {none}, [&](Val p, ArrayRef<Val> in) {
      return Vals{select(k.load(index, p) == own, in[0] + 1, in[0])};
    })[0];
    plan.setNext(e, count);
  });
  k.barrier();
  k.ifThen(k.lane() == 0, [&] { plan.place(); });
  k.barrier();
  k.forLanes(experts, [&](Val e) {
    Val own = toInt(e, k.i32());
    k.forLoop(zero, all, 1, {plan.next(e)}, [&](Val p, ArrayRef<Val> in) {
      Val mine = k.load(index, p) == own;
      k.ifThen(mine, [&] { plan.putPair(p, in[0]); });
      return Vals{select(mine, in[0] + 1, in[0])};
    });
  });
  return success();
}

}  // namespace fathom::kernels::simt
