// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What `linear` and `experts` share: one workgroup's walk over its panel of tiles and its tokens.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_LINEARPANEL_H
#define FATHOM_COMPILER_KERNELS_SIMD_LINEARPANEL_H

#include "compiler/kernels/RowOutput.h"
#include "compiler/kernels/simd/LinearTile.h"
#include "compiler/kernels/simd/Record.h"

namespace fathom::kernels {

/// The config entries both families have.
struct LinearConfig {
  int64_t rows, cols, actStride, outLd, panelTiles;
  Enc enc;
  Act act;
  bool swiglu;
  bool many, exact;   // form: by matrix units, where there are any for the encoding
  RowOutput records;  // what `out` is instead of float32 rows: a record of `matrices` x rows

  /// Reads and checks them; `epilogues` are the allowed values of `epilogue`.
  static LinearConfig read(KernelBuilder& k, llvm::ArrayRef<llvm::StringRef> epilogues,
                           int64_t matrices);
};

/// Records of the first `cols` columns of every head, beside the float32 rows.
struct HeadRecords {
  RowOutput form;  // of one head; the stride is that of tokens
  int64_t heads = 0, width = 0, headStride = 0;
  Buf out;

  /// Reads the entries head_act, heads, head_width, head_cols and the strides.
  static HeadRecords read(KernelBuilder& k, int64_t rows);
};

struct LinearPanel {
  /// Where a token's activation row and output row begin.
  struct Row {
    Val act;    // byte of `act`
    Val out;    // element of `out` and `residual`; byte of `out` when it holds records
    Val token;  // of HeadRecords
  };

  LinearConfig config{};
  Buf act;
  Buf weight, weight2;  // weight2 with swiglu
  Val matrix;           // byte at which the (rows, cols) matrix begins in each of them
  Buf bias, residual;   // without memory: not there
  Buf out;
  Val recordColumn;  // the element of a record that row 0 of the matrix is
  HeadRecords heads;

  /// Computes the panel `panel` (panel_tiles tiles from tile panel x panel_tiles on) for rows
  /// [begin, end). `at(p)` gives the places of row p; it is called where p is known.
  void emit(KernelBuilder& k, Val panel, Val begin, Val end, llvm::function_ref<Row(Val p)> at);
  /// The same for one row.
  void emitRow(KernelBuilder& k, Val panel, const Row& row);

 private:
  using Places = llvm::function_ref<Row(Val p)>;

  void start(KernelBuilder& k, Val panel, int64_t chunk);
  void emitVectors(KernelBuilder& k, Val begin, Val end, int64_t chunk, Places at) const;
  template <typename Matrices>
  void emitMatrices(KernelBuilder& k, Matrices& matrices, Val begin, Val end, Places at) const;
  static bool besideEachOther(const KernelBuilder& k, const LinearTile& tile, size_t rows);
  void emitSingle(KernelBuilder& k, LinearTile& tile, const Row& row, Val staged) const;
  void emitBlock(KernelBuilder& k, LinearTile& tile, llvm::ArrayRef<Row> rows, Val staged,
                 llvm::ArrayRef<Val> tiles, bool behind = false) const;
  void finishBlock(KernelBuilder& k, llvm::ArrayRef<Row> rows, Val staged,
                   llvm::ArrayRef<Val> tiles, Vals sums, llvm::ArrayRef<Val> ups) const;
  void writeRecords(KernelBuilder& k, const Row& row, Val staged) const;

  // Tiles of either weight that matrix units multiply at a time: with swiglu half of them are the
  // second weight's.
  int64_t matrixGroup() const { return kMatrixTiles / (config.swiglu ? 2 : 1); }
  int64_t panelColumns() const { return config.panelTiles * kTileRows; }

  Val first_, last_;  // tiles of the panel
  Buf staged_;        // float32 [rows of a chunk][columns of the panel], with config.records
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_LINEARPANEL_H
