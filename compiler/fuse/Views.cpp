// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Slices, stacks and concatenations.
#include "compiler/fuse/Views.h"

#include "dialects/graph/Graph.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace fathom::fuse {

Value sliceOf(ImplicitLocOpBuilder& b, Value source, int64_t dim, int64_t offset, int64_t size) {
  auto type = cast<RankedTensorType>(source.getType());
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(type.getRank(), b.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes;
  for (int64_t d = 0; d < type.getRank(); ++d) {
    if (type.isDynamicDim(d))
      sizes.push_back(tensor::DimOp::create(b, source, d).getResult());
    else
      sizes.push_back(b.getIndexAttr(type.getDimSize(d)));
  }
  offsets[dim] = b.getIndexAttr(offset);
  sizes[dim] = b.getIndexAttr(size);
  return tensor::ExtractSliceOp::create(b, source, offsets, sizes, strides);
}

Value stackOf(ImplicitLocOpBuilder& b, Value source, int64_t rows) {
  auto type = cast<RankedTensorType>(source.getType());
  auto stack = RankedTensorType::get({type.getDimSize(0) / rows, rows, type.getDimSize(1)},
                                     type.getElementType());
  return tensor::ExpandShapeOp::create(b, stack, source,
                                       SmallVector<ReassociationIndices>{{0, 1}, {2}});
}

Value sourceOf(Value encoded) {
  auto encode = encoded.getDefiningOp<graph::EncodeOp>();
  return encode ? encode.getW() : Value();
}

Value concatEncoded(ImplicitLocOpBuilder& b, ValueRange sources, Value like) {
  Value all = tensor::ConcatOp::create(b, /*dim=*/0, sources);
  auto type = cast<RankedTensorType>(like.getType());
  auto encoding = cast<graph::EncodingAttr>(type.getEncoding()).getKind();
  return graph::EncodeOp::create(b, all, encoding);
}

}  // namespace fathom::fuse
