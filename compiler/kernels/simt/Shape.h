// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How GPU kernels cut their work: what the grids and the emitters must agree on.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_SHAPE_H_
#define FATHOM_COMPILER_KERNELS_SIMT_SHAPE_H_

#include <algorithm>

#include "compiler/kernels/WeightLayout.h"
#include "compiler/target/TargetProfile.h"

namespace fathom::kernels::simt {

/// A workgroup of a projection: `lanes` lanes for `tiles` tiles of 16 outputs times `tokens` tokens.
/// A lane computes 4 outputs of each of `together` tiles; four lanes share a tile, and `slices` such
/// groups of lanes share its K.
///
/// With few tokens the weights are read once and there is nothing to reuse: the lanes of a tile
/// work on different groups of its K, and their sums are added at the end. With many tokens each
/// weight that a lane decodes serves several tokens, and no lane shares its sum.
///
/// A device that runs lanes one after the other has `ownRows`: so many outputs of a lane, side by
/// side, each over all of K. What it makes of its activations serves 16 of them: rows of two
/// matrices, of one, or where that would leave lanes without work 8. Nothing passes between lanes
/// but records of their outputs.
///
/// Matrix units multiply int8 records with q4 and q8, and bf16 with bf16: a subgroup of 32 lanes
/// has two tiles and all tokens of its workgroup. Few tokens of an expert come together, and two
/// weights need two sums: half as many tokens then.
struct ProjectionShape {
  int64_t lanes, tiles, slices, tokens, together = 1;
  bool matrixUnits = false;
  int64_t ownRows = 0;

  /// What the config says. `records`: the workgroup writes records, whose groups of 32 are the
  /// outputs of two tiles. The sum of an output is the same either way.
  struct Work {
    llvm::StringRef form, enc, act, epilogue;
    bool experts = false, records = false;
    int64_t rows = 0;
  };

  static ProjectionShape of(const GpuProfile& gpu, const Work& work) {
    int64_t lanes = gpu.workgroupSize;
    if (work.form == "many") {
      bool pairs = work.act == "i8" || (work.act == "bf16" && work.enc == "bf16");
      // The copies to workgroup memory are cut for 128 lanes.
      bool units = gpu.mma == "mma_sync" && gpu.asyncCopy && gpu.subgroupSize == 32 && lanes == 128;
      if (!pairs || !units) return {lanes, lanes / 4, 1, gpu.tokensPerLane};
      int64_t tokens = work.epilogue == "swiglu" || work.experts ? 32 : 64;
      return {lanes, lanes / 16, 1, tokens, 1, true};
    }
    if (!gpu.sharesSums && work.act == "i8") {
      int64_t own = work.epilogue != "swiglu" && work.rows >= 16 * kOwnLanes ? 16 : 8;
      return {kOwnLanes, kOwnLanes * own / kTileRows, 1, 1, 1, false, own};
    }
    if (work.records) return {lanes, 2, lanes / 4, 1, 2};
    return {lanes, 1, lanes / 4, 1};
  }

 private:
  // Few, so that small matrices make workgroups enough.
  static constexpr int64_t kOwnLanes = 8;
};

/// A workgroup of attention: `queries` rows of queries against pages of keys. A lane has a key
/// while scores are made and some columns of the values afterwards.
struct AttentionShape {
  int64_t queries;

  /// Of `heads` query heads over the same keys, for one token.
  static AttentionShape decode(const GpuProfile& gpu, int64_t heads, int64_t keyWidth,
                               int64_t valueWidth) {
    return {std::min(heads, most(gpu, keyWidth, valueWidth))};
  }
  /// Of one head, for several tokens.
  static AttentionShape prefill(const GpuProfile& gpu, int64_t keyWidth, int64_t valueWidth) {
    return {most(gpu, keyWidth, valueWidth)};
  }

 private:
  // A query row takes keyWidth floats of workgroup memory, and 64 for its scores; the sums of all
  // rows should stay in registers: 64 of a lane.
  static int64_t most(const GpuProfile& gpu, int64_t keyWidth, int64_t valueWidth) {
    int64_t byMemory = gpu.sharedBytes * 3 / 4 / (4 * (keyWidth + 80));
    int64_t columns = (valueWidth + gpu.workgroupSize - 1) / gpu.workgroupSize;
    return std::clamp<int64_t>(std::min(byMemory, 64 / std::max<int64_t>(columns, 1)), 1, 16);
  }
};

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_SHAPE_H_
