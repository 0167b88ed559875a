// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The numbers of docs/spec/encodings.md that emitters compute addresses with.
#ifndef FATHOM_COMPILER_KERNELS_WEIGHTLAYOUT_H
#define FATHOM_COMPILER_KERNELS_WEIGHTLAYOUT_H

#include <algorithm>
#include <cstdint>

#include "compiler/kernels/Config.h"

namespace fathom::kernels {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kMatrixTiles = 4;  // that matrix units of a CPU multiply at a time
inline constexpr int64_t kGroup = 32;       // columns that share a scale
inline constexpr int64_t kSuperblock = 64;  // columns of one q4/q8 step
inline constexpr int64_t kScaleBytes = 64;  // f16 scales at the head of a superblock

/// Bound on every extent of a config: products of three such numbers stay below 2^63.
inline constexpr int64_t kMaxExtent = int64_t{1} << 20;

constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t roundUp(int64_t a, int64_t b) { return ceilDiv(a, b) * b; }

enum class Enc { f32, bf16, q8, q4 };
enum class Act { f32, bf16, i8 };

/// The config entries `enc` and `act`.
inline Enc readEnc(Config& cfg) {
  return static_cast<Enc>(std::max(0, cfg.oneOf("enc", {"f32", "bf16", "q8", "q4"})));
}
inline Act readAct(Config& cfg) {
  return static_cast<Act>(std::max(0, cfg.oneOf("act", {"f32", "bf16", "i8"})));
}

/// A (rows, cols) matrix in tile16.
struct WeightLayout {
  WeightLayout(Enc enc, int64_t rows, int64_t cols)
      : enc(enc),
        stepCols(enc == Enc::f32    ? 1
                 : enc == Enc::bf16 ? 2
                                    : kSuperblock),
        stepBytes(enc == Enc::q8   ? 1088
                  : enc == Enc::q4 ? 576
                                   : 64),
        steps(ceilDiv(cols, stepCols)),
        tileBytes(steps * stepBytes),
        tiles(ceilDiv(rows, kTileRows)),
        matrixBytes(tiles * tileBytes) {}

  Enc enc;
  int64_t stepCols;   // columns of one step of K
  int64_t stepBytes;  // bytes of one step of one tile
  int64_t steps;      // of a tile
  int64_t tileBytes;  // tiles follow each other
  int64_t tiles;
  int64_t matrixBytes;  // matrices of a batch follow each other
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_WEIGHTLAYOUT_H
