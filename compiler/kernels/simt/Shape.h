// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How GPU kernels cut their work: what the grids and the emitters must agree on.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_SHAPE_H_
#define FATHOM_COMPILER_KERNELS_SIMT_SHAPE_H_

#include <algorithm>

#include "compiler/target/TargetProfile.h"

namespace fathom::kernels::simt {

/// A workgroup of a projection: `tiles` tiles of 16 outputs times `tokens` tokens. Four lanes share
/// a tile, one for each four rows; `slices` such groups of lanes share the K of a tile.
///
/// With few tokens the weights are read once and there is nothing to reuse: all lanes work on one
/// tile, each on every 16th group of K, and their sums are added at the end. With many tokens each
/// weight that a lane decodes serves several tokens, and no lane shares its sum.
struct ProjectionShape {
  int64_t tiles, slices, tokens;

  static ProjectionShape of(const GpuProfile& gpu, llvm::StringRef form) {
    int64_t quads = gpu.workgroupSize / 4;
    if (form == "many") return {quads, 1, gpu.tokensPerLane};
    return {1, quads, 1};
  }
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
