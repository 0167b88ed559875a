// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles the kernels of a program on several threads.
#ifndef FATHOM_COMPILER_TARGET_COMPILEREQUESTS_H
#define FATHOM_COMPILER_TARGET_COMPILEREQUESTS_H

#include "compiler/target/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"

namespace fathom {

/// A request in the context of the thread that serves it, with a module to build it in and a way to
/// show what becomes of it (CodegenOptions::dump, serialised; null when nothing is to be shown).
struct RequestInThread {
  size_t number;  // in the list of requests
  std::string name, family;
  mlir::DictionaryAttr config;
  mlir::ModuleOp module;  // empty; its location names the kernel
  std::function<void(llvm::StringRef stage, llvm::StringRef text)> dump;
};

/// Calls `compile` once for every request, on up to options.threads threads, each with a context of
/// its own over `dialects`. Errors become diagnostics at the requests' locations, in their order;
/// two requests of one name are an error. `compile` must not touch what another call writes.
mlir::LogicalResult compileRequests(
    llvm::ArrayRef<KernelRequest> requests, const CodegenOptions& options,
    const mlir::DialectRegistry& dialects,
    llvm::function_ref<mlir::LogicalResult(const RequestInThread& request)> compile);

}  // namespace fathom

#endif  // FATHOM_COMPILER_TARGET_COMPILEREQUESTS_H
