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

// From the outputs that lie in workgroup memory: a lane has a group of a token.
void Projection::writeRecords(Val panel, Val first, Val end, function_ref<Row(Val)> at) {
  int64_t groups = shape_.tiles * kTileRows / kGroup, all = rows_ / kGroup;
  k_.barrier();
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

Projection::Place Projection::headPlace(Val group, Val token) {
  int64_t perHead = heads_.width / kGroup, used = heads_.cols / kGroup;
  Val head = group / perHead, inHead = group % perHead;
  Val to = token * (heads_.stride / 4) + head * (heads_.batchStride / 4);
  return {to, inHead, (head < heads_.heads) & (inHead < used), heads_.cols};
}

void Projection::writeHeadGroup(Val group, Val token, function_ref<Val(int64_t)> element) {
  int64_t used = heads_.cols / kGroup;
  Place place = headPlace(group, token);
  Buf words = k_.i32View(headRecords);
  k_.ifThen(place.there, [&] {
    writeRecordGroup(k_, *heads_.form, words, place.at, place.group, heads_.cols, element);
    // What fills the record up to whole superblocks.
    if (*heads_.form != RowForm::kI8 || used % 2 == 0) return;
    k_.ifThen(place.group == used - 1, [&] {
      writeRecordGroup(k_, *heads_.form, words, place.at, place.group + 1, heads_.cols,
                       [&](int64_t) { return k_.constant(k_.f32(), 0); });
    });
  });
}

// Lanes side by side have the rows of a group, and tell each other the largest of theirs and their
// sum alone. `fours` are the lane's outputs.
void Projection::writeOwnRecords(ArrayRef<Val> fours, Val panel, Val token,
                                 function_ref<Row(Val)> at) {
  int64_t sharing = kGroup / shape_.ownRows, groups = shape_.lanes / sharing;
  Val part = k_.lane() % sharing, group = panel * groups + k_.lane() / sharing;
  Place place;
  if (makesHeads()) {
    place = headPlace(group, token);
  } else {
    Row row = at(token);
    place = {row.out, row.group + group, group < rows_ / kGroup, outWidth_};
  }
  RowForm form = makesHeads() ? *heads_.form : *outForm_;
  Buf words = k_.i32View(makesHeads() ? headRecords : out);
  Vals x;
  for (Val four : fours)
    for (int64_t i = 0; i < 4; ++i) x.push_back(kernels::lane(four, i));
  if (form == RowForm::kBf16) {
    Val to = place.at + place.group * (kGroup / 2) + part * (shape_.ownRows / 2);
    return k_.ifThen(place.there, [&] {
      for (size_t i = 0; i < x.size(); i += 2)
        k_.store(packBf16(x[i], x[i + 1]), words, to + i / 2);
    });
  }
  Val mine, sum, start = k_.lane() - part;
  for (Val v : x) mine = mine ? max(mine, abs(v)) : abs(v);
  // All of a group's lanes' numbers, of which each lane left one at `from`.
  auto ofGroup = [&](int64_t from, Val own) {
    k_.barrier();
    k_.store(own, stage_, k_.lane() + from);
    k_.barrier();
    Vals all;
    for (int64_t i = 0; i < sharing; ++i) all.push_back(k_.load(stage_, start + (from + i)));
    return all;
  };
  Val amax;
  for (Val v : ofGroup(0, mine)) amax = amax ? max(amax, v) : v;
  GroupScale scale(amax);
  Vals packed;
  for (size_t j = 0; j < fours.size(); ++j)
    packed.push_back(recordWord(k_, ArrayRef<Val>(x).slice(4 * j, 4), scale.inverse, sum));
  // Whole numbers below 2^24.
  Val total;
  for (Val v : ofGroup(shape_.lanes, toFloat(sum))) total = total ? total + v : v;

  int64_t padded = roundUp(place.elements, kSuperblock), own = shape_.ownRows / 4;
  auto write = [&](Val group, ArrayRef<Val> packed, Val scale, Val bias) {
    for (int64_t j = 0; j < own; ++j)
      k_.store(packed[j], words, place.at + group * 8 + part * own + j);
    k_.ifThen(part == 0, [&] {
      k_.store(bitcast(scale, k_.i32()), words, place.at + group + padded / 4);
      k_.store(bias, words, place.at + group + (padded / 4 + padded / 32));
    });
  };
  k_.ifThen(place.there, [&] {
    write(place.group, packed, scale.scale, truncToI32(total) * -8);
    int64_t used = place.elements / kGroup;
    if (!makesHeads() || used % 2 == 0) return;
    Val none = k_.constant(k_.i32(), 0);
    // What fills the record up to whole superblocks.
    k_.ifThen(place.group == used - 1, [&] {
      write(place.group + 1, Vals(own, none), k_.constant(k_.f32(), 0), none);
    });
  });
}

}  // namespace fathom::kernels::simt
