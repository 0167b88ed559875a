// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights and kernels of a program: one per distinct expression or configuration.
#include "compiler/lower/ProgramLowering.h"

#include "compiler/lower/EntryLowering.h"
#include <algorithm>

#include "llvm/Support/raw_ostream.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace fathom::lower {
namespace {

// The ops that `value` is made of, in order.
SmallVector<Operation*> expressionOf(Value value) {
  llvm::SetVector<Operation*> ops;
  BackwardSliceOptions options;
  options.inclusive = true;
  (void)getBackwardSlice(value, &ops, options);
  return SmallVector<Operation*>(ops.begin(), ops.end());
}

// The published names in an expression, experts' numbers cut out: "layers.0.q_proj.weight", or
// "layers.0.q_proj.weight+k_proj.weight" where weights were joined.
std::string nameOf(ArrayRef<Operation*> expression) {
  std::string names, first;
  for (Operation* op : expression) {
    auto param = dyn_cast<graph::ParamOp>(op);
    if (!param) continue;
    std::string name = cast<StringAttr>(param.getNames()[0]).str();
    if (const size_t at = name.find(".experts.0."); param.getNames().size() > 1 && at != std::string::npos)
      name.replace(at, 11, ".experts.");
    if (first.empty()) {
      names = first = name;
      continue;
    }
    const auto differs = std::mismatch(first.begin(), first.end(), name.begin(), name.end()).second;
    const size_t module = name.rfind('.', differs - name.begin());
    names += "+" + name.substr(module == std::string::npos ? 0 : module + 1);
  }
  return names.empty() ? "rope_table" : names;
}

}  // namespace

StringRef name(Activation form) {
  switch (form) {
    case Activation::kF32:
      return "f32";
    case Activation::kBf16:
      return "bf16";
    case Activation::kI8:
      return "i8";
  }
  return "";
}

FailureOr<FlatSymbolRefAttr> WeightTable::get(graph::EncodeOp encode) {
  SmallVector<Operation*> expression = expressionOf(encode.getW());
  // Equal expressions print equally: the ops, in order, then the encoded type.
  IRMapping mapping;
  OpBuilder builder(module.getContext());
  // Weights stand in front of everything else, in the order of their first use.
  builder.setInsertionPoint(module.getBody(), llvm::find_if(*module.getBody(), [](Operation& op) {
    return !isa<schedule::WeightOp>(op);
  }));
  auto type = cast<RankedTensorType>(encode.getResult().getType());
  auto weight = schedule::WeightOp::create(builder, module.getLoc(), "key", type);
  Block& body = weight.getBody().front();
  builder.setInsertionPointToStart(&body);
  for (Operation* op : expression) builder.clone(*op, mapping);
  schedule::YieldOp::create(builder, module.getLoc(), mapping.lookup(encode.getW()));
  std::string key;
  llvm::raw_string_ostream(key) << *weight.getOperation();

  auto [it, inserted] = symbolOfExpression.try_emplace(key);
  if (!inserted) {
    weight.erase();
    return FlatSymbolRefAttr::get(module.getContext(), it->second);
  }
  std::string symbol = nameOf(expression);
  if (int count = taken[symbol]++) symbol += "." + std::to_string(count);
  it->second = symbol;
  weight.setSymName(symbol);
  return FlatSymbolRefAttr::get(module.getContext(), symbol);
}

FlatSymbolRefAttr ProgramLowering::kernel(StringRef family, DictionaryAttr config, unsigned bindings,
                                          unsigned push) {
  MLIRContext* context = program.getContext();
  FlatSymbolRefAttr& symbol = kernels[{StringAttr::get(context, family), config}];
  if (symbol) return symbol;
  std::string name = family.str();
  auto append = [&](StringRef key) {
    Attribute value = config.get(key);
    if (auto text = dyn_cast_or_null<StringAttr>(value)) name += ("_" + text.getValue()).str();
    if (auto number = dyn_cast_or_null<IntegerAttr>(value)) name += "_" + std::to_string(number.getInt());
  };
  for (StringRef key : {"enc", "rows", "cols", "n", "heads", "rank", "head_dim", "experts"}) append(key);
  if (int count = kernelNames[name]++) name += "." + std::to_string(count);
  OpBuilder builder(context);
  // Kernels come before entries.
  builder.setInsertionPoint(&program.getBody().front(), kernelEnd());
  schedule::KernelOp::create(builder, program.getLoc(), builder.getStringAttr(name),
                             builder.getStringAttr(family), config, builder.getI64IntegerAttr(bindings),
                             builder.getI64IntegerAttr(push));
  return symbol = FlatSymbolRefAttr::get(context, name);
}

Block::iterator ProgramLowering::kernelEnd() {
  Block& body = program.getBody().front();
  return llvm::find_if(body, [](Operation& op) { return !isa<schedule::KernelOp>(op); });
}

Activation ProgramLowering::activationFor(graph::Encoding encoding) const {
  const StringRef form = profile.activationFor(graph::stringifyEncoding(encoding));
  if (form == "i8") return Activation::kI8;
  return form == "bf16" ? Activation::kBf16 : Activation::kF32;
}

LogicalResult ProgramLowering::lowerEntry(func::FuncOp function) {
  OpBuilder builder = OpBuilder::atBlockEnd(&program.getBody().front());
  auto entry = schedule::EntryOp::create(builder, function.getLoc(), function.getName());
  return EntryLowering(*this, function, entry).run();
}

}  // namespace fathom::lower
