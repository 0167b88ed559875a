// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// route and route_plan on GPUs: a workgroup chooses the experts of a token; one sorts all pairs.
#include <limits>

#include "compiler/kernels/simt/Emitters.h"

using namespace mlir;

namespace fathom::kernels::simt {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

enum class Scoring { kSoftmax, kSigmoid, kSqrtSoftplus };
enum class Method { kGreedy, kGroupLimitedGreedy, kNoauxTc };

/// The router of one token. Scores and what selection looks at lie in workgroup memory.
class Router {
 public:
  explicit Router(SimtBuilder& k) : k_(k) {}
  LogicalResult emit();

 private:
  void readConfig();
  void score(Val from);
  void limitGroups();
  void pick(Val t);
  Val bestOf(Buf buf, int64_t n);
  Val never() { return k_.constant(k_.f32(), kNever); }

  SimtBuilder& k_;
  int64_t experts_ = 0, topK_ = 0, shared_ = 0, groups_ = 1, topGroups_ = 1;
  int64_t inLd_ = 0, inOffset_ = 0;
  Scoring scoring_ = Scoring::kSoftmax;
  Method method_ = Method::kGreedy;
  bool normalize_ = false;
  double scale_ = 1, normEps_ = 0;
  Buf logits_, bias_, index_, weight_;
  Buf scores_, choice_, groupScores_, laneBest_, laneIndex_;
};

// log(1 + u) for u in [0, 1], also where 1 + u rounds u away.
Val log1p(Val u) {
  Val w = u + 1.0;
  Val d = w - 1.0;
  Val none = d == number(d, 0);
  return select(none, u, log(w) * (u / select(none, number(d, 1), d)));
}

void Router::readConfig() {
  Config& cfg = k_.cfg();
  experts_ = cfg.in("experts", 1, 1 << 16);
  topK_ = cfg.in("top_k", 1, 256);
  shared_ = cfg.in("shared", 0, 256, 1, 0);
  groups_ = cfg.in("n_group", 1, 1 << 16);
  topGroups_ = cfg.in("topk_group", 1, 1 << 16);
  scoring_ = static_cast<Scoring>(cfg.oneOf("scoring", {"softmax", "sigmoid", "sqrt_softplus"}));
  method_ =
      static_cast<Method>(cfg.oneOf("method", {"greedy", "group_limited_greedy", "noaux_tc"}));
  normalize_ = cfg.b("normalize");
  scale_ = cfg.f("scale");
  normEps_ = cfg.f("norm_eps");
  inLd_ = cfg.in("in_ld", experts_, kMaxOffset);
  inOffset_ = cfg.in("in_offset", 0, kMaxOffset, 1, 0);
  if (cfg.failed()) return;
  cfg.require(experts_ % groups_ == 0,
              "experts " + Twine(experts_) + " is not a multiple of n_group " + Twine(groups_));
  cfg.require(topGroups_ <= groups_,
              "topk_group " + Twine(topGroups_) + " exceeds n_group " + Twine(groups_));
  bool limited = method_ != Method::kGreedy;
  int64_t candidates = limited ? topGroups_ * (experts_ / groups_) : experts_;
  cfg.require(topK_ <= candidates, "top_k " + Twine(topK_) + " exceeds the " + Twine(candidates) +
                                       " experts that it chooses from");
}

// The place of the largest of buf[0 .. n - 1], the first of equal ones; 0 when all are -inf. Known
// to all lanes. Every lane's best first, then halves against halves.
Val Router::bestOf(Buf buf, int64_t n) {
  Val zero = k_.constant(k_.i32(), 0);
  Vals best = k_.forLanes(k_.idx(n), {never(), zero}, [&](Val i, ArrayRef<Val> in) {
    Val v = k_.load(buf, i);
    Val better = v > in[0];
    return Vals{select(better, v, in[0]), select(better, toInt(i, k_.i32()), in[1])};
  });
  k_.store(best[0], laneBest_, k_.lane());
  k_.store(best[1], laneIndex_, k_.lane());
  k_.barrier();
  for (int64_t half = k_.lanes() / 2; half >= 1; half /= 2) {
    k_.ifThen(k_.lane() < half, [&] {
      Val a = k_.load(laneBest_, k_.lane()), b = k_.load(laneBest_, k_.lane() + half);
      Val ia = k_.load(laneIndex_, k_.lane()), ib = k_.load(laneIndex_, k_.lane() + half);
      Val other = (b > a) | ((b == a) & (ib < ia));
      // A lane that had nothing says -inf at 0, which must not win over a place that is -inf too.
      k_.store(select(other, b, a), laneBest_, k_.lane());
      k_.store(select(other, ib, ia), laneIndex_, k_.lane());
    });
    k_.barrier();
  }
  Val index = toIndex(k_.load(laneIndex_, k_.idx(0)));
  k_.barrier();
  return index;
}

void Router::score(Val from) {
  auto logit = [&](Val e) { return k_.load(logits_, from + e); };
  Val top, sum;
  if (scoring_ == Scoring::kSoftmax) {
    Vals best = k_.forLanes(k_.idx(experts_), {never()}, [&](Val e, ArrayRef<Val> in) {
      return Vals{max(in[0], logit(e))};
    });
    top = k_.maxOfLanes(best[0]);
    Vals part = k_.forLanes(k_.idx(experts_), {k_.constant(k_.f32(), 0)},
                            [&](Val e, ArrayRef<Val> in) {
                              return Vals{in[0] + exp(logit(e) - top)};
                            });
    sum = k_.sumOfLanes(part[0]);
  }
  k_.forLanes(experts_, [&](Val e) {
    Val x = logit(e), s;
    if (scoring_ == Scoring::kSoftmax)
      s = exp(x - top) / sum;
    else if (scoring_ == Scoring::kSigmoid)
      s = sigmoid(x);
    else
      s = sqrt(max(x, number(x, 0)) + log1p(exp(-abs(x))));
    k_.store(s, scores_, e);
    k_.store(method_ == Method::kNoauxTc ? s + k_.load(bias_, e) : s, choice_, e);
  });
  k_.barrier();
}

// Leaves -inf for the experts outside the best groups. A group's score is its largest choice, or
// the sum of its two largest (noaux_tc).
void Router::limitGroups() {
  int64_t size = experts_ / groups_;
  k_.forLanes(groups_, [&](Val g) {
    Vals two = k_.forLoop(k_.idx(0), k_.idx(size), 1, {never(), never()},
                          [&](Val i, ArrayRef<Val> in) {
                            Val v = k_.load(choice_, g * size + i);
                            return Vals{max(in[0], v), max(in[1], min(in[0], v))};
                          });
    bool sumOfTwo = method_ == Method::kNoauxTc && size > 1;
    k_.store(sumOfTwo ? two[0] + two[1] : two[0], groupScores_, g);
  });
  Buf keep = k_.shared(k_.i32(), groups_);
  k_.forLanes(groups_, [&](Val g) { k_.store(k_.constant(k_.i32(), 0), keep, g); });
  k_.barrier();
  k_.forLoop(k_.idx(0), k_.idx(topGroups_), 1, [&](Val) {
    Val g = bestOf(groupScores_, groups_);
    k_.ifThen(k_.lane() == 0, [&] {
      k_.store(never(), groupScores_, g);
      k_.store(k_.constant(k_.i32(), 1), keep, g);
    });
    k_.barrier();
  });
  k_.forLanes(experts_, [&](Val e) {
    Val kept = k_.load(keep, e / size) != 0;
    k_.store(select(kept, k_.load(choice_, e), never()), choice_, e);
  });
  k_.barrier();
}

void Router::pick(Val t) {
  Val first = t * (topK_ + shared_);
  k_.ifThen(k_.lane() == 0, [&] {
    for (int64_t i = topK_; i < topK_ + shared_; ++i) {
      int64_t expert = experts_ + i - topK_;
      k_.store(k_.constant(k_.i32(), static_cast<double>(expert)), index_, first + i);
      k_.store(k_.constant(k_.f32(), 1), weight_, first + i);
    }
  });
  Vals sum = k_.forLoop(k_.idx(0), k_.idx(topK_), 1, {k_.constant(k_.f32(), 0)},
                        [&](Val j, ArrayRef<Val> in) {
                          Val e = bestOf(choice_, experts_);
                          Val w = k_.load(scores_, e);
                          k_.ifThen(k_.lane() == 0, [&] {
                            k_.store(never(), choice_, e);
                            k_.store(toInt(e, k_.i32()), index_, first + j);
                            if (!normalize_) k_.store(w * scale_, weight_, first + j);
                          });
                          k_.barrier();
                          return Vals{in[0] + w};
                        });
  if (!normalize_) return;
  Val factor = k_.constant(k_.f32(), scale_) / (sum[0] + normEps_);
  k_.ifThen(k_.lane() == 0, [&] {
    k_.forLoop(k_.idx(0), k_.idx(topK_), 1, [&](Val j) {
      Val e = toIndex(k_.load(index_, first + j));
      k_.store(k_.load(scores_, e) * factor, weight_, first + j);
    });
  });
}

LogicalResult Router::emit() {
  readConfig();
  if (k_.cfg().failed()) return failure();
  logits_ = k_.f32View(k_.binding());
  if (method_ == Method::kNoauxTc) bias_ = k_.f32View(k_.binding());
  index_ = k_.i32View(k_.binding());
  weight_ = k_.f32View(k_.binding());
  scores_ = k_.shared(k_.f32(), experts_);
  choice_ = k_.shared(k_.f32(), experts_);
  laneBest_ = k_.shared(k_.f32(), k_.lanes());
  laneIndex_ = k_.shared(k_.i32(), k_.lanes());
  Val t = k_.x();
  score(t * inLd_ + inOffset_);
  if (method_ != Method::kGreedy && topGroups_ < groups_) {
    groupScores_ = k_.shared(k_.f32(), groups_);
    limitGroups();
  }
  pick(t);
  return success();
}

}  // namespace

LogicalResult emitRoute(SimtBuilder& k) { return Router(k).emit(); }

// A counting sort in which a lane counts, and later places, the pairs of an expert in their order.
// plan = [n_active | active ids | first pair of each active expert, end | pairs].
LogicalResult emitRoutePlan(SimtBuilder& k) {
  int64_t experts = k.cfg().in("experts", 1, 1 << 16);
  int64_t topK = k.cfg().in("top_k", 1, 256);
  if (k.cfg().failed()) return failure();
  Buf index = k.i32View(k.binding()), plan = k.i32View(k.binding());
  Val all = k.push() * topK, zero = k.idx(0), none = k.constant(k.i32(), 0);
  Buf next = k.shared(k.i32(), experts);
  k.forLanes(experts, [&](Val e) {
    Val own = toInt(e, k.i32());
    Val count = k.forLoop(zero, all, 1, {none}, [&](Val p, ArrayRef<Val> in) {
      return Vals{select(k.load(index, p) == own, in[0] + 1, in[0])};
    })[0];
    k.store(count, next, e);
  });
  k.barrier();
  // Counts become the places where each expert's next pair goes.
  k.ifThen(k.lane() == 0, [&] {
    Vals end = k.forLoop(zero, k.idx(experts), 1, {zero, none}, [&](Val e, ArrayRef<Val> in) {
      Val active = in[0], first = in[1], count = k.load(next, e);
      k.store(first, next, e);
      Val some = count != 0;
      k.ifThen(some, [&] {
        k.store(toInt(e, k.i32()), plan, active + 1);
        k.store(first, plan, active + (1 + experts));
      });
      return Vals{select(some, active + 1, active), first + count};
    });
    k.store(toInt(end[0], k.i32()), plan, zero);
    k.store(end[1], plan, end[0] + (1 + experts));
  });
  k.barrier();
  k.forLanes(experts, [&](Val e) {
    Val own = toInt(e, k.i32());
    k.forLoop(zero, all, 1, {k.load(next, e)}, [&](Val p, ArrayRef<Val> in) {
      Val mine = k.load(index, p) == own;
      k.ifThen(mine, [&] {
        k.store(toInt(p, k.i32()), plan, toIndex(in[0]) + (2 + 2 * experts));
      });
      return Vals{select(mine, in[0] + 1, in[0])};
    });
  });
  return success();
}

}  // namespace fathom::kernels::simt
