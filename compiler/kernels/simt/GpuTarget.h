// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GpuTarget: what the compiler's sides of all GPU backends do alike.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_GPUTARGET_H_
#define FATHOM_COMPILER_KERNELS_SIMT_GPUTARGET_H_

#include "compiler/target/CompileRequests.h"

namespace fathom::kernels::simt {

/// What a code image tells of a kernel beside its code (the attributes of SimtBuilder.h).
struct EntryFacts {
  std::string entry;  // its function in the module
  int64_t bindings = 0, push = 0, workgroup = 0, sharedBytes = 0;
  std::vector<uint8_t> views;   // the binding of each view
  std::vector<uint8_t> texels;  // of each view; empty: none is read as texels
};

/// A backend whose kernels the emitters of this folder write, in one kind of operations.
class GpuTarget : public Target {
 public:
  std::vector<std::string> names() const override { return profileNames_(); }
  llvm::Expected<TargetProfile> profileFor(llvm::StringRef name) const override;

 protected:
  using ProfileNames = std::vector<std::string> (*)();
  using ProfileNamed = std::optional<TargetProfile> (*)(llvm::StringRef name);

  /// `isa` is the GpuProfile::isa of the profiles that the backend compiles for.
  GpuTarget(llvm::StringRef isa, ProfileNames names, ProfileNamed named)
      : isa_(isa), profileNames_(names), profileNamed_(named) {}

  /// The name of the function of a kernel, which no other kernel of the program has.
  virtual std::string entryOf(const RequestInThread& request) const { return request.name; }

  /// Emits every request and calls `lower` with what was emitted, on several threads
  /// (compileRequests). Refuses a profile without this backend's operations: it may come from a
  /// file.
  mlir::LogicalResult compileKernels(
      llvm::ArrayRef<KernelRequest> requests, const TargetProfile& profile,
      const CodegenOptions& options, mlir::DialectRegistry& loweringDialects,
      llvm::function_ref<mlir::LogicalResult(const RequestInThread&, EntryFacts)> lower) const;

 private:
  const std::string isa_;
  const ProfileNames profileNames_;
  const ProfileNamed profileNamed_;
};

/// A module's text, as dumps show it.
std::string textOf(mlir::ModuleOp module);

}  // namespace fathom::kernels::simt

#endif  // FATHOM_COMPILER_KERNELS_SIMT_GPUTARGET_H_
