// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The inner products of `linear` and `experts`: rows of activations times tiles of encoded weights.
#ifndef FATHOM_COMPILER_KERNELS_SIMD_LINEARTILE_H
#define FATHOM_COMPILER_KERNELS_SIMD_LINEARTILE_H

#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/KernelBuilder.h"

namespace fathom::kernels {

/// Emits sums of products over all of K for a register tile of `rows` activation rows and `tiles`
/// weight tiles of 16 outputs each.
///
/// Every sum is formed in one order, whatever the register tile it is part of and whatever the
/// number of tokens: one accumulator per output, K ascending, and for q4 and q8 an exact int32 sum
/// per group of 32 columns, scaled into the accumulator by one fma. So a token's result does not
/// depend on which other tokens share its batch: prefill in chunks, prefill at once and decode
/// agree bit for bit, unless matrix units do the prefill (LinearMatrix.h).
class LinearTile {
 public:
  /// A tile of weights: a byte buffer and where in it the tile begins.
  struct Weight {
    Buf buf;
    Val at;
  };

  LinearTile(KernelBuilder& k, Enc enc, Act act, int64_t cols);

  /// True for the combinations that encodings.md allows.
  static bool allowed(Enc enc, Act act);
  /// The element type of the activation binding; offsets of rows are in bytes all the same.
  mlir::Type actType() { return k_.i8(); }

  /// The register tile for many tokens: its accumulators, operands and temporaries fit the
  /// registers.
  int64_t manyRows() const { return manyRows_; }
  int64_t manyTiles() const { return manyTiles_; }

  /// sums[m * tiles.size() + j], 16 lanes each, of the activation rows that begin at byte rows[m]
  /// of `act` and the tiles. Never reads beyond a row's K elements, rounded up as its record is.
  /// The tiles are asked for ahead of their use, or, where they are in the cache, `later` is, a
  /// tile like them.
  Vals sums(Buf act, llvm::ArrayRef<Val> rows, llvm::ArrayRef<Weight> tiles,
            const Weight* later = nullptr);

  /// Asks for the beginnings of streams of tiles that go through sums() together, whose first lines
  /// would come one after another otherwise.
  void open(llvm::ArrayRef<Weight> streams);

 private:
  struct Operands {
    Buf act;
    llvm::ArrayRef<Val> rows;
    llvm::ArrayRef<Weight> tiles;
    const Weight* later;
  };

  // body(i, acc) for i in [0, steps), `unroll` of them in a loop iteration.
  Vals overSteps(int64_t steps, int64_t unroll, Vals acc,
                 llvm::function_ref<void(Val i, Vals& acc)> body);
  // How many bytes ahead each of so many streams asks for its weights: less for more of them.
  int64_t ahead(size_t streams) const;
  int64_t aheadOfRows(size_t streams) const;
  void prefetch(const Operands& o, Val step);
  // Lines [first, last) of a step, of which several rows ask for some beside each word.
  void prefetch(const Operands& o, Val step, int64_t first, int64_t last);
  void stepF32(const Operands& o, Val step, Vals& acc);
  void stepBf16(const Operands& o, Val step, Vals& acc);
  void stepWidened(const Operands& o, Val step, int64_t columns, Vals& acc);
  void groupI8(const Operands& o, Val step, int64_t group, Vals& acc);
  void groupF32(const Operands& o, Val step, int64_t group, int64_t columns, Vals& acc);

  // The group's f16 scales of the 16 rows as float32.
  Val scales(const Weight& tile, Val step, int64_t group);
  // The 64 bytes of line `at` of a group: 4 columns of each row, or with nibbles twice 4.
  Val line(const Weight& tile, Val step, int64_t group, Val at);

  KernelBuilder& k_;
  Act act_;
  int64_t cols_;
  WeightLayout layout_;
  int64_t manyRows_ = 6, manyTiles_ = 2;
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMD_LINEARTILE_H
