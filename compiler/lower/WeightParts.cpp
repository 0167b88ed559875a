// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights as arguments of dispatches: whole, or in parts where a target cannot bind them as they are.
#include "compiler/lower/EntryLowering.h"

using namespace mlir;

namespace fathom::lower {
namespace {

// A part of a matrix begins at a multiple of so many rows: four tiles, a multiple of 256 bytes in every
// encoding, and 256 bytes of a float32 row as well.
constexpr int64_t kRows = 64;
static_assert(4 * kRows == GpuProfile::kBindingAlignment);

RankedTensorType typeOf(Value encoded) { return cast<RankedTensorType>(encoded.getType()); }

}  // namespace

FailureOr<FlatSymbolRefAttr> EntryLowering::weightSymbol(Value encoded, Operation* user) {
  auto encode = encoded.getDefiningOp<graph::EncodeOp>();
  if (!encode)
    return user->emitOpError("cannot be lowered: its weight has no encoding; run "
                             "fathom-assign-encodings first");
  return program.weights.get(encode);
}

int64_t EntryLowering::bytesOf(Value encoded, int64_t count) {
  SmallVector<int64_t> shape(typeOf(encoded).getShape());
  if (count == 0) return 0;
  shape[0] = count;
  return kernels::weightBytes(graph::stringifyEncoding(encodingOf(encoded)), shape);
}

bool EntryLowering::bindsWhole(Value encoded) {
  return bytesOf(encoded, typeOf(encoded).getDimSize(0)) <= program.profile.maxBinding();
}

LogicalResult EntryLowering::refuse(Operation* user, Value encoded, StringRef what, int64_t bytes) {
  return user->emitOpError("cannot be lowered for target '")
         << program.profile.name << "': " << what << " of its weight of type " << typeOf(encoded) << " takes "
         << bytes << " bytes, a kernel of this target can be given " << program.profile.maxBinding()
         << " (phase lower); fewer bits (--quantize) or a target that binds more (--target=cpu:native binds "
            "all there is) would help";
}

FailureOr<Value> EntryLowering::weight(Value encoded, Operation* user) {
  Value& use = weights[encoded];
  if (use) return use;
  auto symbol = weightSymbol(encoded, user);
  if (failed(symbol)) return failure();
  if (!bindsWhole(encoded))
    return refuse(user, encoded, "all", bytesOf(encoded, typeOf(encoded).getDimSize(0)));
  program.noteBinding(bytesOf(encoded, typeOf(encoded).getDimSize(0)));
  use = schedule::UseWeightOp::create(builder, function.getLoc(), *symbol);
  return use;
}

void EntryLowering::describeMatrix(Value encoded, Config& config) {
  auto type = typeOf(encoded);
  const graph::Encoding encoding = encodingOf(encoded);
  config.set("rows", builder.getI64IntegerAttr(type.getDimSize(type.getRank() - 2)));
  config.set("cols", builder.getI64IntegerAttr(type.getShape().back()));
  config.set("enc", builder.getStringAttr(graph::stringifyEncoding(encoding)));
  config.set("act", builder.getStringAttr(name(program.activationFor(encoding))));
}

FailureOr<Value> EntryLowering::matrix(Value encoded, Operation* user, Config& config) {
  describeMatrix(encoded, config);
  return weight(encoded, user);
}

FailureOr<SmallVector<Part>> EntryLowering::partsOf(ValueRange encoded, Operation* user,
                                                    bool columns) {
  auto type = typeOf(encoded[0]);
  const int64_t extent = type.getDimSize(0);
  if (llvm::all_of(encoded, [&](Value w) { return bindsWhole(w); })) return SmallVector<Part>{{0, extent}};
  const bool matrices = type.getRank() == 3;
  int64_t step = matrices ? 1 : kRows;
  auto aligned = [&](Value w) {
    return bytesOf(w, step) % GpuProfile::kBindingAlignment == 0 &&
           (!columns || 4 * step * type.getDimSize(1) % GpuProfile::kBindingAlignment == 0);
  };
  while (matrices && !llvm::all_of(encoded, aligned)) ++step;
  int64_t most = extent;
  for (Value w : encoded) {
    const int64_t bytes = bytesOf(w, std::min(step, extent));
    if (bytes > program.profile.maxBinding()) {
      const std::string what = std::to_string(step) + (matrices ? " of the matrices" : " rows");
      return refuse(user, w, what, bytes);
    }
    most = std::min(most, program.profile.maxBinding() / bytes * step);
  }
  const int64_t count = llvm::divideCeil(extent, most);
  const int64_t each = llvm::alignTo(llvm::divideCeil(extent, count), step);
  SmallVector<Part> parts;
  for (int64_t first = 0; first < extent; first += each)
    parts.push_back({first, std::min(each, extent - first)});
  return parts;
}

LogicalResult EntryLowering::launchParts(StringRef family, const Config& config, const Launch& launched,
                                         unsigned at, ValueRange encoded, ArrayRef<Part> parts,
                                         llvm::function_ref<void(const Part&, Config&, Launch&)> cut,
                                         Operation* user) {
  for (const Part& part : parts) {
    Config own = config;
    Launch dispatch = launched;
    for (auto [i, w] : llvm::enumerate(encoded)) {
      if (parts.size() == 1) {
        auto whole = weight(w, user);
        if (failed(whole)) return failure();
        dispatch.args[at + i].buffer = *whole;
        continue;
      }
      auto symbol = weightSymbol(w, user);
      if (failed(symbol)) return failure();
      const int64_t begin = bytesOf(w, part.first), bytes = bytesOf(w, part.first + part.count) - begin;
      program.noteBinding(bytes);
      dispatch.args[at + i].buffer =
          schedule::UseWeightOp::create(builder, function.getLoc(), *symbol, begin, bytes);
    }
    cut(part, own, dispatch);
    launch(family, own, std::move(dispatch));
  }
  return success();
}

}  // namespace fathom::lower
