// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The compilation of a model, phase by phase: the only place that knows the order of passes.
#ifndef FATHOM_COMPILER_PIPELINE_PIPELINE_H
#define FATHOM_COMPILER_PIPELINE_PIPELINE_H

#include <string>

#include "absl/status/status.h"
#include "compiler/pipeline/options.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"

namespace fathom {

/// Every dialect that a phase reads or makes.
void registerFathomDialects(mlir::DialectRegistry& registry);

/// Every pass of ours, for fathom-opt. Once per process.
void registerFathomPasses();

/// The passes of a phase between import and codegen, appended to `manager` (of builtin.module).
void addPhasePasses(mlir::OpPassManager& manager, Phase phase, const CompileOptions& options);

/// Runs the phases options.compile_from .. options.compile_to. Progress goes to stderr unless
/// options.quiet. What was wrong with the module was printed as diagnostics where it was found; the status
/// says the kind of error (runtime/base/status.h) and names the phase.
absl::Status compileModel(const CompileOptions& options);

/// Prints the profile that `target`, a --target value, names to stdout as JSON.
absl::Status printProfile(const std::string& target);

}  // namespace fathom

#endif  // FATHOM_COMPILER_PIPELINE_PIPELINE_H
