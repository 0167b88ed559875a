// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Views of rows and weights that the fusions make.
#ifndef FATHOM_COMPILER_FUSE_VIEWS_H
#define FATHOM_COMPILER_FUSE_VIEWS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace fathom::fuse {

/// Elements [offset, offset + size) of dimension `dim` of `source`.
mlir::Value sliceOf(mlir::ImplicitLocOpBuilder& b, mlir::Value source, int64_t dim, int64_t offset,
                    int64_t size);

/// A static [n, k] as [n / rows, rows, k].
mlir::Value stackOf(mlir::ImplicitLocOpBuilder& b, mlir::Value source, int64_t rows);

/// What the weight `encoded` is before its encoding; null when it is not a graph.encode.
mlir::Value sourceOf(mlir::Value encoded);

/// `sources` one after another along the first dimension, encoded as `like` is.
mlir::Value concatEncoded(mlir::ImplicitLocOpBuilder& b, mlir::ValueRange sources,
                          mlir::Value like);

}  // namespace fathom::fuse

#endif  // FATHOM_COMPILER_FUSE_VIEWS_H
