// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of tiles by MLIR's amx dialect.
#include "compiler/kernels/simd/MatrixTile.h"

#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;

namespace fathom::kernels {

void matrixProduct(KernelBuilder& k, Buf rows, Val at, Val stride, ArrayRef<MatrixOperand> right,
                   int64_t words, Buf out, Val outAt, Val outStride, bool accumulate) {
  assert(words % kMatrixWords == 0 && right.size() <= 4);
  ImplicitLocOpBuilder& b = k.b();
  auto halves = amx::TileType::get({kMatrixRows, 2 * kMatrixWords}, b.getBF16Type());
  auto floats = amx::TileType::get({kMatrixRows, 16}, b.getF32Type());
  auto load = [&](amx::TileType type, Buf buf, Val from, Val step) -> Value {
    return amx::TileLoadOp::create(b, type, buf.mem, ValueRange{from.v()}, step.v());
  };
  SmallVector<Value, 4> sums;
  for (size_t j = 0; j < right.size(); ++j)
    sums.push_back(accumulate ? load(floats, out, outAt + 16 * j, outStride)
                              : Value(amx::TileZeroOp::create(b, floats)));
  for (int64_t line = 0; line < words; line += kMatrixWords) {
    Value left = load(halves, rows, at + 2 * line, stride);
    for (auto [sum, operand] : llvm::zip_equal(sums, right)) {
      Val from = (operand.at + line * operand.lineWords) * 2;
      Value tile = load(halves, operand.halves, from, k.idx(2 * operand.lineWords));
      sum = amx::TileMulFOp::create(b, floats, left, tile, sum);
    }
  }
  for (auto [j, sum] : llvm::enumerate(sums))
    amx::TileStoreOp::create(b, out.mem, ValueRange{(outAt + 16 * static_cast<int64_t>(j)).v()},
                             sum, outStride.v());
}

}  // namespace fathom::kernels
