// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What `linear` and `experts` share: one workgroup's walk over its panel of tiles and its tokens.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_LINEARPANEL_H
#define FATHOM_COMPILER_KERNELS_SIMD_LINEARPANEL_H

#include "compiler/kernels/simd/LinearTile.h"

namespace fathom::kernels {

/// The config entries both families have.
struct LinearConfig {
  int64_t rows, cols, actStride, outLd, panelTiles;
  Enc enc;
  Act act;
  bool swiglu;

  /// Reads and checks them; `epilogues` are the allowed values of `epilogue`.
  static LinearConfig read(KernelBuilder& k, llvm::ArrayRef<llvm::StringRef> epilogues);
};

struct LinearPanel {
  /// Where a token's activation row and output row begin.
  struct Row {
    Val act;  // byte of `act`
    Val out;  // element of `out` and `residual`
  };

  const LinearConfig& config;
  Buf act;
  Buf weight, weight2;  // weight2 with swiglu
  Val matrix;           // byte at which the (rows, cols) matrix begins in each of them
  Buf bias, residual;   // without memory: not there
  Buf out;

  /// Computes the panel `panel` (panel_tiles tiles from tile panel x panel_tiles on) for rows
  /// [begin, end). `at(p)` gives the places of row p; it is called where p is known.
  void emit(KernelBuilder& k, Val panel, Val begin, Val end,
            llvm::function_ref<Row(Val p)> at) const;

 private:
  void emitBlock(KernelBuilder& k, LinearTile& tile, llvm::ArrayRef<Row> rows,
                 llvm::ArrayRef<Val> tiles) const;
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_LINEARPANEL_H
