// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Records of a projection's outputs: two tiles of a workgroup are a group of 32.
#include "compiler/kernels/simt/Projection.h"

using namespace mlir;

namespace fathom::kernels::simt {

void Projection::readHeads() {
  Config& cfg = k_.cfg();
  heads_.form = recordForm(cfg, "head_act");
  if (!heads_.form) return;
  heads_.heads = cfg.in("heads", 1, 1 << 16);
  heads_.width = cfg.in("head_width", kGroup, kMaxExtent, kGroup);
  heads_.cols = cfg.in("head_cols", kGroup, kMaxExtent, kGroup);
  if (cfg.failed()) return;
  heads_.batchStride =
      cfg.in("head_act_batch_stride", rowBytes(*heads_.form, heads_.cols), kMaxOffset, 64);
  heads_.stride = cfg.in("head_act_stride", 64, kMaxOffset, 64);
  cfg.require(heads_.cols <= heads_.width, "config entry 'head_cols' must be at most head_width " +
                                               Twine(heads_.width) + ", found " +
                                               Twine(heads_.cols));
  cfg.require(heads_.heads * heads_.width <= rows_,
              "config entry 'head_width' must be at most rows / heads = " +
                  Twine(rows_ / heads_.heads) + ", found " + Twine(heads_.width));
  cfg.require(!outForm_, "config entry 'head_act' must be 'none' with 'out_act'");
}

// From the outputs that lie in workgroup memory: a lane has a group of a token; with ownRows the one
// that it computed.
void Projection::writeRecords(Val panel, Val first, Val end, function_ref<Row(Val)> at) {
  int64_t groups = shape_.tiles * kTileRows / kGroup, all = rows_ / kGroup;
  if (!shape_.ownRows) k_.barrier();
  k_.forLanes(shape_.tokens * groups, [&](Val i) {
    Val inToken = i % groups, token = first + i / groups, group = panel * groups + inToken;
    Val there = group < all;
    if (shape_.tokens > 1) there = there & (token < end);
    k_.ifThen(there, [&] {
      auto element = [&](int64_t e) { return k_.load(stage_, i * (kGroup + 1) + e); };
      if (makesHeads()) return writeHeadGroup(group, token, element);
      Row row = at(token);
      writeRecordGroup(k_, *outForm_, k_.i32View(out), row.out, row.group + group, outWidth_,
                       element);
    });
  });
}

void Projection::writeHeadGroup(Val group, Val token, function_ref<Val(int64_t)> element) {
  int64_t perHead = heads_.width / kGroup, used = heads_.cols / kGroup;
  Val head = group / perHead, inHead = group % perHead;
  Buf words = k_.i32View(headRecords);
  k_.ifThen((head < heads_.heads) & (inHead < used), [&] {
    Val to = token * (heads_.stride / 4) + head * (heads_.batchStride / 4);
    writeRecordGroup(k_, *heads_.form, words, to, inHead, heads_.cols, element);
    // What fills the record up to whole superblocks.
    if (*heads_.form != RowForm::kI8 || used % 2 == 0) return;
    k_.ifThen(inHead == used - 1, [&] {
      writeRecordGroup(k_, *heads_.form, words, to, inHead + 1, heads_.cols,
                       [&](int64_t) { return k_.constant(k_.f32(), 0); });
    });
  });
}

}  // namespace fathom::kernels::simt
