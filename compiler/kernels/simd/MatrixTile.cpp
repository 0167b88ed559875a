// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of tiles by MLIR's amx dialect.
#include "compiler/kernels/simd/MatrixTile.h"

#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;

namespace fathom::kernels {

void matrixProduct(KernelBuilder& k, ArrayRef<MatrixTerm> terms, const MatrixSums& sums,
                   function_ref<void(size_t, int64_t)> beside) {
  ImplicitLocOpBuilder& b = k.b();
  auto halves = amx::TileType::get({kMatrixRows, 2 * kMatrixWords}, b.getBF16Type());
  auto floats = amx::TileType::get({kMatrixRows, 16}, b.getF32Type());
  auto load = [&](amx::TileType type, Buf buf, Val from, Val stride) -> Value {
    return amx::TileLoadOp::create(b, type, buf.mem, ValueRange{from.v()}, stride.v());
  };
  int64_t down = terms[0].left.size(), across = terms[0].right.size(), part = down * across;
  int64_t tiles = sums.parts * part;
  assert(tiles <= 4 && !(sums.accumulate && sums.parts > 1));
  auto at = [&](int64_t tile) {
    int64_t i = tile % part / across, j = tile % across;
    return sums.at + sums.stride * (16 * i) + (tile / part * sums.partStride + 16 * j);
  };
  SmallVector<Value, 4> sum;
  for (int64_t tile = 0; tile < tiles; ++tile)
    sum.push_back(sums.accumulate ? load(floats, sums.out, at(tile), sums.stride)
                                  : Value(amx::TileZeroOp::create(b, floats)));
  int64_t steps = 0;
  for (auto [number, term] : llvm::enumerate(terms)) {
    assert(term.words % kMatrixWords == 0);
    for (int64_t line = 0; line < term.words; line += kMatrixWords) {
      int64_t first = steps++ % sums.parts * part;
      auto leftTile = [&, &term = term](int64_t i) {
        const MatrixRows& rows = term.left[i];
        return load(halves, rows.halves, rows.at + 2 * line, rows.stride);
      };
      auto rightTile = [&, &term = term](int64_t j) {
        const MatrixOperand& operand = term.right[j];
        return load(halves, operand.halves, (operand.at + line * operand.lineWords) * 2,
                    k.idx(2 * operand.lineWords));
      };
      // The shorter side waits in its tiles for the other.
      bool keepLeft = down <= across;
      SmallVector<Value, 2> kept;
      for (int64_t i = 0; i < std::min(down, across); ++i)
        kept.push_back(keepLeft ? leftTile(i) : rightTile(i));
      for (int64_t j = 0; j < std::max(down, across); ++j) {
        Value other = keepLeft ? rightTile(j) : leftTile(j);
        for (auto [i, mine] : llvm::enumerate(kept)) {
          Value& to = sum[first + (keepLeft ? i * across + j : j * across + i)];
          to = amx::TileMulFOp::create(b, floats, keepLeft ? mine : other, keepLeft ? other : mine,
                                       to);
        }
      }
      if (beside) beside(number, line / kMatrixWords);
    }
  }
  for (int64_t tile = 0; tile < tiles; ++tile)
    amx::TileStoreOp::create(b, sums.out.mem, ValueRange{at(tile).v()}, sum[tile], sums.stride.v());
}

}  // namespace fathom::kernels
