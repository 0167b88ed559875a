// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes of encoded tensors.
#include "runtime/artifact/encoding.h"

#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

struct Step {
  uint64_t cols;   // columns of K per step
  uint64_t bytes;  // of one step of one tile of 16 rows
};

bool TileStep(schema::Encoding encoding, Step* step) {
  switch (encoding) {
    case schema::Encoding::f32:
      *step = {1, 64};
      return true;
    case schema::Encoding::bf16:
      *step = {2, 64};
      return true;
    case schema::Encoding::q8:
      *step = {64, 1088};
      return true;
    case schema::Encoding::q4:
      *step = {64, 576};
      return true;
    default:
      return false;
  }
}

constexpr uint64_t kMaxBytes = uint64_t{1} << 63;

bool MultiplyWithin(uint64_t* value, uint64_t factor) {
  return CheckedMul(*value, factor, value) && *value <= kMaxBytes;
}

}  // namespace

absl::StatusOr<uint64_t> EncodedBytes(schema::Encoding encoding, absl::Span<const uint64_t> shape) {
  if (shape.empty() || shape.size() > 8) {
    return InputError("shape", "rank is out of range", "1 to 8", shape.size());
  }
  for (uint64_t dim : shape) {
    if (dim == 0 || dim > kMaxBytes) {
      return InputError("shape", "dimension is out of range", "1 to 2^63", dim);
    }
  }
  uint64_t bytes = 1;
  bool fits = true;
  Step step;
  if (encoding == schema::Encoding::raw_f32 || encoding == schema::Encoding::raw_i32) {
    bytes = 4;
    for (uint64_t dim : shape) fits = fits && MultiplyWithin(&bytes, dim);
  } else if (TileStep(encoding, &step)) {
    if (shape.size() < 2 || shape.size() > 3) {
      return InputError("shape", "rank of a tiled tensor", "2 or 3", shape.size());
    }
    const size_t rows = shape.size() - 2;
    bytes = CeilDiv(shape[rows], kTileRows);
    fits = MultiplyWithin(&bytes, CeilDiv(shape[rows + 1], step.cols)) &&
           MultiplyWithin(&bytes, step.bytes) && (rows == 0 || MultiplyWithin(&bytes, shape[0]));
  } else {
    return InputError("encoding", "unknown encoding", "at most 5", static_cast<int>(encoding));
  }
  if (!fits) return InputError("shape", "the size of the tensor exceeds 2^63 bytes");
  return bytes;
}

}  // namespace fathom
