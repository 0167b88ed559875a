// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Evaluates a weight expression (graph.param and view ops) row by row, without ever holding the tensor.
#ifndef FATHOM_COMPILER_QUANTIZE_WEIGHTSOURCE_H
#define FATHOM_COMPILER_QUANTIZE_WEIGHTSOURCE_H

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "mlir/IR/Value.h"
#include "mlir/Support/LLVM.h"

namespace fathom {
class Checkpoint;

namespace quantize {

/// A tensor seen as rows() = product of its leading dimensions, of cols() = its last dimension each.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// Reads rows [begin, end) as float32 into `out`, which holds (end - begin) x cols() values.
  virtual absl::Status read(int64_t begin, int64_t end, float* out) = 0;

  int64_t rows() const { return numRows; }
  int64_t cols() const { return numCols; }

 protected:
  WeightSource(int64_t rows, int64_t cols) : numRows(rows), numCols(cols) {}

 private:
  int64_t numRows, numCols;
};

/// Builds the reader of `value`: a tree of graph.param, graph.rope_table, tensor.extract_slice,
/// tensor.expand_shape, tensor.collapse_shape, tensor.concat and linalg.transpose. Any other op is a
/// located error on that op. `checkpoint` must outlive the result.
mlir::FailureOr<std::unique_ptr<WeightSource>> makeWeightSource(mlir::Value value,
                                                                const Checkpoint& checkpoint);

}  // namespace quantize
}  // namespace fathom

#endif  // FATHOM_COMPILER_QUANTIZE_WEIGHTSOURCE_H
