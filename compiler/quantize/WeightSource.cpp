// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row readers for each op a weight expression may hold. Every view is a map from its rows to its
// source's rows; only a transposition of the last two dimensions keeps one matrix in memory.
#include "compiler/quantize/WeightSource.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dialects/graph/Graph.h"
#include "frontend/weights/checkpoint.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;

namespace fathom::quantize {
namespace {

using Shape = std::vector<int64_t>;

Shape shapeOf(Value value) {
  auto shape = cast<RankedTensorType>(value.getType()).getShape();
  return Shape(shape.begin(), shape.end());
}
int64_t leadingSize(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end() - 1, int64_t{1}, std::multiplies<int64_t>());
}

// One published tensor, or several of one shape stacked along a new leading dimension.
class ParamSource final : public WeightSource {
 public:
  ParamSource(const Shape& shape, std::vector<const TensorInfo*> pieces, const Checkpoint& checkpoint)
      : WeightSource(leadingSize(shape), shape.back()),
        pieces(std::move(pieces)),
        checkpoint(checkpoint),
        rowsPerPiece(rows() / static_cast<int64_t>(this->pieces.size())) {}

  absl::Status read(int64_t begin, int64_t end, float* out) override {
    while (begin < end) {
      const int64_t piece = begin / rowsPerPiece, first = begin % rowsPerPiece;
      const int64_t count = std::min(end - begin, rowsPerPiece - first);
      absl::Status status = checkpoint.ReadRows(*pieces[piece], first, first + count, out);
      if (!status.ok()) return status;
      // Everything of a tensor that has been read is not read again soon: keep the resident set small.
      if (first + count == rowsPerPiece) checkpoint.DropPages(*pieces[piece]);
      begin += count;
      out += count * cols();
    }
    return absl::OkStatus();
  }

 private:
  std::vector<const TensorInfo*> pieces;
  const Checkpoint& checkpoint;
  int64_t rowsPerPiece;
};

// RoPE angles in two levels (docs/spec/kernels.md): row j < 512 is j f_i, row 512 + j is 512 j f_i.
class RopeTableSource final : public WeightSource {
 public:
  RopeTableSource(const Shape& shape, ArrayRef<double> frequencies)
      : WeightSource(shape[0], shape[1]), frequencies(frequencies.begin(), frequencies.end()) {}

  absl::Status read(int64_t begin, int64_t end, float* out) override {
    const int64_t half = cols() / 2;
    for (int64_t row = begin; row < end; ++row, out += cols()) {
      const double position = static_cast<double>(row < 512 ? row : (row - 512) * 512);
      for (int64_t i = 0; i < half; ++i) {
        out[i] = static_cast<float>(std::cos(position * frequencies[i]));
        out[half + i] = static_cast<float>(std::sin(position * frequencies[i]));
      }
    }
    return absl::OkStatus();
  }

 private:
  std::vector<double> frequencies;
};

// Rows of several sources in an order given by a map; equal column counts.
class RowMapSource final : public WeightSource {
 public:
  struct Origin {
    int32_t source;
    int64_t row;
  };
  RowMapSource(std::vector<std::unique_ptr<WeightSource>> sources, std::vector<Origin> map)
      : WeightSource(static_cast<int64_t>(map.size()), sources[0]->cols()),
        sources(std::move(sources)),
        map(std::move(map)) {}

  absl::Status read(int64_t begin, int64_t end, float* out) override {
    while (begin < end) {
      // Rows that follow each other in the source are read together.
      int64_t count = 1;
      const Origin origin = map[begin];
      while (begin + count < end && map[begin + count].source == origin.source &&
             map[begin + count].row == origin.row + count) {
        ++count;
      }
      absl::Status status = sources[origin.source]->read(origin.row, origin.row + count, out);
      if (!status.ok()) return status;
      begin += count;
      out += count * cols();
    }
    return absl::OkStatus();
  }

 private:
  std::vector<std::unique_ptr<WeightSource>> sources;
  std::vector<Origin> map;
};

// Columns [offset, offset + cols) of every row.
class ColumnSliceSource final : public WeightSource {
 public:
  ColumnSliceSource(std::unique_ptr<WeightSource> source, int64_t offset, int64_t cols)
      : WeightSource(source->rows(), cols), source(std::move(source)), offset(offset) {}

  absl::Status read(int64_t begin, int64_t end, float* out) override {
    std::vector<float> row(source->cols());
    for (; begin < end; ++begin, out += cols()) {
      absl::Status status = source->read(begin, begin + 1, row.data());
      if (!status.ok()) return status;
      std::memcpy(out, row.data() + offset, cols() * sizeof(float));
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<WeightSource> source;
  int64_t offset;
};

// Last two dimensions swapped: (..., n, k) read as (..., k, n). Holds the matrix it is reading from.
class TransposeSource final : public WeightSource {
 public:
  TransposeSource(std::unique_ptr<WeightSource> source, int64_t n)
      : WeightSource(source->rows() / n * source->cols(), n), source(std::move(source)) {}

  absl::Status read(int64_t begin, int64_t end, float* out) override {
    const int64_t n = cols(), k = source->cols();
    for (; begin < end; ++begin, out += n) {
      const int64_t matrix = begin / k, column = begin % k;
      if (matrix != held) {
        buffer.resize(n * k);
        absl::Status status = source->read(matrix * n, (matrix + 1) * n, buffer.data());
        if (!status.ok()) return status;
        held = matrix;
      }
      for (int64_t i = 0; i < n; ++i) out[i] = buffer[i * k + column];
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<WeightSource> source;
  std::vector<float> buffer;
  int64_t held = -1;
};

using Result = FailureOr<std::unique_ptr<WeightSource>>;

// Walks the leading indices of `shape` in row order, giving each to `visit`.
template <typename Visit>
void forEachLeadingIndex(const Shape& shape, Visit visit) {
  Shape index(shape.size() - 1, 0);
  const int64_t count = leadingSize(shape);
  for (int64_t i = 0; i < count; ++i) {
    visit(index);
    for (int64_t d = static_cast<int64_t>(index.size()) - 1; d >= 0; --d) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
}
int64_t rowOf(const Shape& index, const Shape& shape) {
  int64_t row = 0;
  for (size_t d = 0; d < index.size(); ++d) row = row * shape[d] + index[d];
  return row;
}

std::unique_ptr<WeightSource> remap(std::unique_ptr<WeightSource> source,
                                    std::vector<RowMapSource::Origin> map) {
  std::vector<std::unique_ptr<WeightSource>> sources;
  sources.push_back(std::move(source));
  return std::make_unique<RowMapSource>(std::move(sources), std::move(map));
}

Result makeParam(graph::ParamOp op, const Checkpoint& checkpoint) {
  const Shape shape = shapeOf(op.getResult());
  std::vector<const TensorInfo*> pieces;
  for (Attribute name : op.getNames()) {
    const StringRef text = cast<StringAttr>(name).getValue();
    const TensorInfo* info = checkpoint.Find({text.data(), text.size()});
    if (!info) return op.emitOpError("the checkpoint has no tensor '") << text << "'";
    // A dump may have been edited, or name another checkpoint: its shapes are not to be trusted.
    const size_t stacked = op.getNames().size() > 1 ? 1 : 0;
    if (!std::equal(info->shape.begin(), info->shape.end(), shape.begin() + stacked, shape.end()))
      return op.emitOpError("tensor '") << text << "' has another shape in the checkpoint than in its type";
    pieces.push_back(info);
  }
  return Result(std::make_unique<ParamSource>(shape, std::move(pieces), checkpoint));
}

Result makeReshape(Operation* op, Value from, Value to, const Checkpoint& checkpoint) {
  if (shapeOf(from).back() != shapeOf(to).back())
    return op->emitOpError("a weight view may not reshape the last dimension");
  return makeWeightSource(from, checkpoint);
}

Result makeSlice(tensor::ExtractSliceOp op, const Checkpoint& checkpoint) {
  for (int64_t v : op.getStaticOffsets())
    if (ShapedType::isDynamic(v)) return op.emitOpError("a weight view must have static offsets");
  for (int64_t v : op.getStaticStrides())
    if (v != 1) return op.emitOpError("a weight view must have stride 1");
  if (op.getType().getRank() != op.getSourceType().getRank())
    return op.emitOpError("a weight view may not drop dimensions");
  auto source = makeWeightSource(op.getSource(), checkpoint);
  if (failed(source)) return failure();
  const Shape from = shapeOf(op.getSource()), to = shapeOf(op.getResult());
  ArrayRef<int64_t> offsets = op.getStaticOffsets();
  std::vector<RowMapSource::Origin> map;
  forEachLeadingIndex(to, [&](Shape index) {
    for (size_t d = 0; d < index.size(); ++d) index[d] += offsets[d];
    map.push_back({0, rowOf(index, from)});
  });
  std::unique_ptr<WeightSource> rows = remap(std::move(*source), std::move(map));
  if (from.back() == to.back()) return Result(std::move(rows));
  return Result(std::make_unique<ColumnSliceSource>(std::move(rows), offsets.back(), to.back()));
}

Result makeConcat(tensor::ConcatOp op, const Checkpoint& checkpoint) {
  const size_t dim = op.getDim();
  const Shape to = shapeOf(op.getResult());
  if (dim + 1 == to.size()) return op.emitOpError("a weight view may not concatenate columns");
  std::vector<std::unique_ptr<WeightSource>> sources;
  std::vector<Shape> shapes;
  for (Value input : op.getInputs()) {
    auto source = makeWeightSource(input, checkpoint);
    if (failed(source)) return failure();
    sources.push_back(std::move(*source));
    shapes.push_back(shapeOf(input));
  }
  std::vector<RowMapSource::Origin> map;
  forEachLeadingIndex(to, [&](Shape index) {
    int32_t input = 0;
    while (index[dim] >= shapes[input][dim]) index[dim] -= shapes[input++][dim];
    map.push_back({input, rowOf(index, shapes[input])});
  });
  return Result(std::make_unique<RowMapSource>(std::move(sources), std::move(map)));
}

Result makeTranspose(linalg::TransposeOp op, const Checkpoint& checkpoint) {
  auto source = makeWeightSource(op.getInput(), checkpoint);
  if (failed(source)) return failure();
  const Shape from = shapeOf(op.getInput());
  ArrayRef<int64_t> permutation = op.getPermutation();
  const int64_t rank = static_cast<int64_t>(permutation.size());
  if (permutation.back() == rank - 1) {  // rows change places
    Shape to(rank);
    for (int64_t d = 0; d < rank; ++d) to[d] = from[permutation[d]];
    std::vector<RowMapSource::Origin> map;
    forEachLeadingIndex(to, [&](const Shape& index) {
      Shape origin(rank - 1);
      for (int64_t d = 0; d + 1 < rank; ++d) origin[permutation[d]] = index[d];
      map.push_back({0, rowOf(origin, from)});
    });
    return Result(remap(std::move(*source), std::move(map)));
  }
  for (int64_t d = 0; d + 2 < rank; ++d)
    if (permutation[d] != d) return op.emitOpError("a weight view may transpose rows or the last two dimensions");
  return Result(std::make_unique<TransposeSource>(std::move(*source), from[rank - 2]));
}

}  // namespace

Result makeWeightSource(Value value, const Checkpoint& checkpoint) {
  Operation* op = value.getDefiningOp();
  if (!op) return emitError(value.getLoc(), "a weight may not depend on an argument"), failure();
  if (auto param = dyn_cast<graph::ParamOp>(op)) return makeParam(param, checkpoint);
  if (auto table = dyn_cast<graph::RopeTableOp>(op))
    return Result(std::make_unique<RopeTableSource>(shapeOf(value), table.getInvFreq()));
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    return makeReshape(op, expand.getSrc(), value, checkpoint);
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
    return makeReshape(op, collapse.getSrc(), value, checkpoint);
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) return makeSlice(slice, checkpoint);
  if (auto concat = dyn_cast<tensor::ConcatOp>(op)) return makeConcat(concat, checkpoint);
  if (auto transpose = dyn_cast<linalg::TransposeOp>(op)) return makeTranspose(transpose, checkpoint);
  return op->emitOpError("is not a weight view: expected graph.param, graph.rope_table, a slice, a "
                         "reshape, a concatenation or a transposition");
}

}  // namespace fathom::quantize
