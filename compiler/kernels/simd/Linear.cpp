// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The `linear` kernel: out = act w^T (+ bias) (+ residual), or silu(gate) * up of two weights.
#include "compiler/kernels/simd/Emitters.h"
#include "compiler/kernels/simd/LinearPanel.h"
#include "compiler/kernels/simd/Norm.h"
#include "compiler/kernels/simd/SplitMerge.h"

using namespace mlir;

namespace fathom::kernels {
namespace {

/// One linear kernel: what its activations are made from, then the panel.
class Linear {
 public:
  explicit Linear(KernelBuilder& k) : k_(k) {}
  LogicalResult emit();

 private:
  void readConfig();
  void emitNormalised(Buf gamma, Buf normed);
  void emitMerged(Val tokens);

  KernelBuilder& k_;
  LinearConfig c_{};
  LinearPanel panel_;
  int64_t batch_ = 1, actBatchStride_ = 0, splits_ = 0;
  bool residual_ = false, bias_ = false;
  RowOutput norm_;  // the rows are normalised first, and go out as well
  double eps_ = 0;
};

void Linear::readConfig() {
  Config& cfg = k_.cfg();
  batch_ = cfg.in("batch", 1, kMaxExtent, 1, 1);
  c_ = LinearConfig::read(k_, {"store", "residual", "swiglu"}, batch_);
  if (cfg.failed()) return;
  residual_ = cfg.s("epilogue") == "residual";
  bias_ = cfg.b("bias", false);
  splits_ = cfg.in("splits", 0, 4096, 1, 0);
  actBatchStride_ = cfg.in("act_batch_stride", 0, kMaxStride, 4,
                           batch_ > 1 && !splits_ ? std::nullopt : std::optional(0l));
  norm_ = RowOutput::read(cfg, "norm", "norm_stride", c_.cols, kMaxStride);
  if (norm_) eps_ = cfg.f("eps");
  panel_.config = c_;
  panel_.heads = HeadRecords::read(k_, c_.rows);
  if (cfg.failed()) return;
  cfg.require(!(bias_ && c_.swiglu), "config entry 'bias' must be false with epilogue = 'swiglu'");
  cfg.require(!norm_ || (c_.act == Act::f32 && batch_ == 1 && !splits_ && !residual_),
              "norm needs act = 'f32', batch 1, no splits and no residual");
  cfg.require(!panel_.heads.form || (batch_ == 1 && !c_.records),
              "head_act needs batch 1 and out_act = 'none'");
  cfg.require(!splits_ || c_.cols % 16 == 0, "splits need cols in multiples of 16");
  if (batch_ == 1) return;
  cfg.require(c_.rows % kTileRows == 0,
              "config entry 'rows' must be a multiple of 16 with batch > 1");
  cfg.require(c_.records || batch_ * c_.rows <= c_.outLd,
              "config entry 'out_ld' must be at least batch x rows");
}

LogicalResult Linear::emit() {
  readConfig();
  if (k_.cfg().failed()) return failure();
  panel_.act = k_.in(norm_ || splits_ ? k_.f32() : k_.i8());
  panel_.weight = k_.in(k_.i8());
  if (c_.swiglu) panel_.weight2 = k_.in(k_.i8());
  Buf gamma, normed;
  if (norm_) gamma = k_.in(k_.f32());
  if (bias_) panel_.bias = k_.in(k_.f32());
  if (residual_) panel_.residual = k_.in(k_.f32(), /*mayAlias=*/true);
  panel_.out = k_.out(c_.records ? k_.i8() : k_.f32(), /*mayAlias=*/residual_);
  if (norm_) normed = k_.out(norm_.isRecord() ? k_.i8() : k_.f32());
  if (panel_.heads.form) panel_.heads.out = k_.out(k_.i8());
  Val tokens = k_.push();

  if (norm_) {
    panel_.matrix = panel_.recordColumn = k_.idx(0);
    emitNormalised(gamma, normed);
    return success();
  }
  panel_.matrix = k_.y() * WeightLayout(c_.enc, c_.rows, c_.cols).matrixBytes;
  panel_.recordColumn = k_.y() * c_.rows;
  if (splits_) {
    emitMerged(tokens);
    return success();
  }
  Val actFrom = k_.y() * actBatchStride_;
  Val outFrom = c_.records ? k_.idx(0) : k_.y() * c_.rows;
  int64_t outStride = c_.records ? c_.records.stride : c_.outLd;
  panel_.emit(k_, k_.x(), k_.idx(0), tokens, [&](Val t) {
    return LinearPanel::Row{actFrom + t * c_.actStride, outFrom + t * outStride, t};
  });
  return success();
}

// Row y of x. Every workgroup normalises it for itself, which is little beside its weights; the
// first one hands it on.
void Linear::emitNormalised(Buf gamma, Buf normed) {
  Buf x = panel_.act, row = k_.scratch(k_.i8(), 4 * roundUp(c_.cols, 16));
  Val t = k_.y(), from = t * (c_.actStride / 4);
  RowSink own;
  own.rows = k_.view(row, k_.idx(0), k_.f32());
  own.to = k_.idx(0);
  normaliseRow(k_, x, from, gamma, c_.cols, eps_, own);
  k_.ifThen(k_.x() == 0, [&] {
    RowSink sink = RowSink::at(k_, norm_, normed, t);
    normaliseRow(k_, x, from, gamma, c_.cols, eps_, sink);
  });
  panel_.act = row;
  panel_.emitRow(k_, k_.x(), {k_.idx(0), t * (c_.records ? c_.records.stride : c_.outLd), t});
}

// Head y: the splits of its attention become its activations, token by token.
void Linear::emitMerged(Val tokens) {
  SplitMerge merge(k_, panel_.act, splits_, batch_, c_.cols);
  RowForm form = rowForm(c_.act);
  Buf row = k_.scratch(k_.i8(), rowBytes(form, c_.cols));
  panel_.act = row;
  int64_t outStride = c_.records ? c_.records.stride : c_.outLd;
  Val outFrom = c_.records ? k_.idx(0) : k_.y() * c_.rows;
  k_.forLoop(k_.idx(0), tokens, 1, [&](Val t) {
    merge.begin(t, k_.y());
    if (c_.act == Act::f32) {
      merge.write(k_.view(row, k_.idx(0), k_.f32()), k_.idx(0));
    } else {
      RecordWriter record(k_, form, row, k_.idx(0), c_.cols);
      merge.write(record, k_.idx(0));
      record.fill();
    }
    panel_.emitRow(k_, k_.x(), {k_.idx(0), outFrom + t * outStride, t});
  });
}

}  // namespace

LogicalResult emitLinear(KernelBuilder& k) { return Linear(k).emit(); }

}  // namespace fathom::kernels
