// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// linear and experts on GPUs: what their workgroups make of the grid.
#include "compiler/kernels/ExpertBank.h"
#include "compiler/kernels/simt/Emitters.h"
#include "compiler/kernels/simt/Norm.h"
#include "compiler/kernels/simt/Projection.h"
#include "compiler/kernels/simt/SplitMerge.h"

using namespace mlir;

namespace fathom::kernels::simt {

namespace {

/// `linear`: batches of matrices, and what its activations may be made of on the way.
class LinearKernel {
 public:
  explicit LinearKernel(SimtBuilder& k)
      : k_(k),
        batch_(k.cfg().in("batch", 1, kMaxExtent, 1, 1)),
        p_(k, {"store", "residual", "swiglu"}, batch_),
        normed_(k, "norm", "norm_stride", p_.cols()) {}

  LogicalResult emit() {
    read();
    if (k_.cfg().failed()) return failure();
    check();
    if (k_.cfg().failed()) return failure();
    bind();
    if (normed_) normalise();
    if (splits_) merge();
    int64_t matrixWords = WeightLayout(readEnc(k_.cfg()), p_.rows(), p_.cols()).matrixBytes / 4;
    Val actFrom = splits_ ? k_.idx(0) : matrix() * (actBatchStride_ / 4);
    Val outFrom = p_.makesRecords() ? k_.idx(0) : matrix() * p_.rows();
    Val group = matrix() * (p_.rows() / kGroup);
    p_.emit(k_.x(), matrix() * matrixWords, token(), tokens_, [&](Val t) {
      Val act = splits_ ? actFrom : actFrom + t * (p_.actStride() / 4);
      return Projection::Row{act, outFrom + t * p_.outStep(), group};
    });
    return success();
  }

 private:
  void read() {
    Config& cfg = k_.cfg();
    if (cfg.failed()) return;
    bias_ = cfg.b("bias", false);
    splits_ = cfg.in("splits", 0, 4096, 1, 0);
    bool strided = batch_ > 1 && !splits_;
    actBatchStride_ = cfg.in("act_batch_stride", 0, kMaxOffset, 4,
                             strided ? std::nullopt : std::optional(int64_t{0}));
    p_.readHeads();
    eps_ = normed_ ? cfg.f("eps") : 0;
  }

  void check() {
    Config& cfg = k_.cfg();
    cfg.require(!(bias_ && p_.swiglu()),
                "config entry 'bias' must be false with epilogue = 'swiglu'");
    if (batch_ > 1) {
      cfg.require(p_.rows() % kTileRows == 0,
                  "config entry 'rows' must be a multiple of 16 with batch > 1");
      cfg.require(p_.makesRecords() || batch_ * p_.rows() <= p_.outStep(),
                  "config entry 'out_ld' must be at least batch x rows");
      cfg.require(!p_.makesHeads(), "config entry 'head_act' must be 'none' with batch > 1");
      p_.input.usesOffset(actBatchStride_);
    }
    bool few = p_.shape().tokens == 1;
    cfg.require(
        !normed_ || (few && batch_ == 1 && p_.actForm() == Act::f32 && !splits_ &&
                     cfg.s("epilogue") == "store"),
        "config entry 'norm' must be 'none' unless act = 'f32', epilogue = 'store', batch = "
        "1, splits = 0 and form = 'few'");
    cfg.require(
        !splits_ || (few && p_.actOffset() == 0 && p_.cols() % 16 == 0),
        "config entry 'splits' must be 0 unless cols is a multiple of 16, act_offset = 0 and "
        "form = 'few'");
  }

  void bind() {
    p_.input.binding = k_.input();
    p_.weight = k_.input();
    if (p_.swiglu()) p_.weight2 = k_.input();
    if (normed_) gamma_ = k_.input();
    if (bias_) p_.bias = k_.input();
    if (k_.cfg().s("epilogue") == "residual") p_.residual = k_.binding();
    p_.out = k_.binding();
    if (p_.makesHeads()) p_.headRecords = k_.binding();
    if (normed_) normed_.bind();
    tokens_ = k_.push();
  }

  // Of the workgroup: its matrix, and its first token.
  Val matrix() { return normed_ ? k_.idx(0) : k_.y(); }
  Val token() { return normed_ ? k_.y() : k_.z() * p_.shape().tokens; }

  // Rows are normalised as they are read; the first panel's workgroup gives them out.
  void normalise() {
    Buf x = k_.f32View(p_.input.binding), gamma = k_.f32View(gamma_);
    Val t = token(), from = t * (p_.actStride() / 4) + p_.actOffset() / 4;
    Val scale = inverseRms(k_, x, from, p_.cols(), eps_);
    k_.ifThen(k_.x() == 0, [&] {
      normed_.write(t, [&](Val i) { return k_.load(x, from + i) * scale * k_.load(gamma, i); });
    });
    p_.input.normalise(gamma_, scale);
  }

  // The head's activations: the splits of attention, merged in workgroup memory.
  void merge() {
    SplitMerge merge(k_, k_.f32View(p_.input.binding), splits_, batch_, p_.cols());
    merge.begin(token(), matrix());
    auto element = [&](Val i) { return merge.element(i); };
    Buf own;
    if (p_.actForm() == Act::f32) {
      own = k_.shared(k_.f32(), p_.cols());
      k_.forLanes(p_.cols(), [&](Val i) { k_.store(element(i), own, i); });
    } else {
      RowForm form = rowForm(p_.actForm());
      own = k_.shared(k_.i32(), rowBytes(form, p_.cols()) / 4);
      writeRecord(k_, form, own, k_.idx(0), p_.cols(), element);
    }
    k_.barrier();
    p_.input.useShared(own);
  }

  SimtBuilder& k_;
  int64_t batch_, actBatchStride_ = 0, splits_ = 0;
  bool bias_ = false;
  double eps_ = 0;
  Projection p_;
  NormedRow normed_;
  SimtBuilder::Binding gamma_;
  Val tokens_;
};

}  // namespace

LogicalResult emitLinear(SimtBuilder& k) { return LinearKernel(k).emit(); }

LogicalResult emitExperts(SimtBuilder& k) {
  Config& cfg = k.cfg();
  Projection p(k, {"store", "swiglu"});
  int64_t experts = cfg.in("experts", 1, kMaxExtent);
  int64_t topK = cfg.in("top_k", 1, kMaxExtent);
  bool gather = cfg.b("gather");
  ExpertBank bank = ExpertBank::read(cfg, experts);
  if (cfg.failed()) return failure();
  p.input.binding = k.input();
  p.weight = k.input();
  if (p.swiglu()) p.weight2 = k.input();
  Buf plan = k.i32View(k.input());
  p.out = k.binding();
  k.push();  // T: the plan holds all that this kernel asks of it

  int64_t matrixWords = WeightLayout(readEnc(cfg), p.rows(), cfg.i("cols")).matrixBytes / 4;
  auto planned = [&](Val i) { return toIndex(k.load(plan, i)); };
  Val active = k.y();
  k.ifThen(active < planned(k.idx(0)), [&] {
    bank.serve(k, planned(active + 1), [&](Val expert) {
      Val matrix = expert * matrixWords;
      Val begin = planned(active + (1 + experts)), end = planned(active + (2 + experts));
      k.forLoop(begin, end, p.shape().tokens, [&](Val first) {
        p.emit(k.x(), matrix, first, end, [&](Val row) {
          Val pair = planned(row + (2 * experts + 2));
          Val from = gather ? pair / topK : row, to = gather ? row : pair;
          return Projection::Row{from * (p.actStride() / 4), to * p.outStep(), k.idx(0)};
        });
      });
    });
  });
  return success();
}

}  // namespace fathom::kernels::simt
