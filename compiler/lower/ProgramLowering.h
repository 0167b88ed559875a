// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The state of lowering a module for one target: its program, its kernels, the weights it shares with
// other targets. Internal to compiler/lower.
#ifndef FATHOM_COMPILER_LOWER_PROGRAMLOWERING_H
#define FATHOM_COMPILER_LOWER_PROGRAMLOWERING_H

#include <algorithm>
#include <string>

#include "compiler/target/TargetProfile.h"
#include "dialects/graph/Graph.h"
#include "dialects/schedule/Schedule.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"

namespace fathom::lower {

/// The form activations take at the door of a matrix product (docs/spec/encodings.md).
enum class Activation { kF32, kBf16, kI8 };
mlir::StringRef name(Activation form);

/// Weights of a module: one schedule.weight per distinct weight expression, whatever number of entry
/// points, programs and uses it has.
class WeightTable {
 public:
  explicit WeightTable(mlir::ModuleOp module) : module(module) {}
  /// The symbol of the weight that `encode` names; made on first use.
  mlir::FailureOr<mlir::FlatSymbolRefAttr> get(graph::EncodeOp encode);

 private:
  mlir::ModuleOp module;
  llvm::StringMap<std::string> symbolOfExpression;
  llvm::StringMap<int> taken;
};

class ProgramLowering {
 public:
  ProgramLowering(schedule::ProgramOp program, const TargetProfile& profile, WeightTable& weights)
      : program(program), profile(profile), weights(weights) {}

  mlir::LogicalResult lowerEntry(mlir::func::FuncOp function);

  /// The kernel of this family and config; made on first use, named after both.
  mlir::FlatSymbolRefAttr kernel(mlir::StringRef family, mlir::DictionaryAttr config, unsigned bindings,
                                 unsigned push);
  /// The form of the activations of a product with weights of this encoding on this target.
  Activation activationFor(graph::Encoding encoding) const;

  /// A dispatch binds so many bytes of a weight.
  void noteBinding(int64_t bytes) { longestBinding = std::max(longestBinding, bytes); }

  schedule::ProgramOp program;
  const TargetProfile& profile;
  WeightTable& weights;
  /// Element type of the cache: "f32" when the model is compiled in float32, else "bf16".
  mlir::StringRef cacheElement;
  int64_t pageTokens = 64, rowBytes = 0;
  int64_t longestBinding = 0;

 private:
  mlir::Block::iterator kernelEnd();

  llvm::DenseMap<std::pair<mlir::StringAttr, mlir::DictionaryAttr>, mlir::FlatSymbolRefAttr> kernels;
  llvm::StringMap<int> kernelNames;
};

}  // namespace fathom::lower

#endif  // FATHOM_COMPILER_LOWER_PROGRAMLOWERING_H
